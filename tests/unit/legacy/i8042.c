#include "legacy/i8042.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

enum { DATA = 0x60, COMMAND = 0x64, OUTPUT_FULL = 1, NOT_LOCKED = 0x10 };

struct board {
    struct bus *bus;
    struct i8042 *i8042;
    bool irq;
    unsigned irq_edges;
    unsigned resets;
};

static void irq_set(void *chip, uint32_t gsi, bool level)
{
    struct board *board = chip;

    cr_assert_eq(gsi, 1);
    cr_assert_neq(level, board->irq, "only changes");
    board->irq = level;
    board->irq_edges += level;
}

static const struct irq_line_ops irq_ops = {.set = irq_set};

static void report(void *arg, enum machine_report report)
{
    cr_assert_eq(report, MACHINE_RESET_I8042);
    ((struct board *)arg)->resets++;
}

static struct board *board_create(void)
{
    struct board *board = calloc(1, sizeof(*board));
    struct i8042_config config = {
        .data_port = DATA,
        .command_port = COMMAND,
        .irq = {.ops = &irq_ops, .chip = board, .gsi = 1},
        .machine = {.report = report, .arg = board},
    };

    cr_assert_not_null(board);
    cr_assert_eq(bus_create(&board->bus, "port", NULL), 0);
    config.bus = board->bus;
    cr_assert_eq(i8042_create(&board->i8042, &config, NULL), 0);
    return board;
}

static void board_destroy(struct board *board)
{
    i8042_destroy(board->i8042);
    bus_destroy(board->bus);
    free(board);
}

static uint8_t in(struct board *board, uint16_t port)
{
    struct bus_access access = {.addr = port, .size = 1};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
    return (uint8_t)access.value;
}

static void out(struct board *board, uint16_t port, uint8_t value)
{
    struct bus_access access = {.addr = port, .size = 1, .is_write = true, .value = value};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
}

/* Waits for nothing: an answer is there at once, or never. */
static int answer(struct board *board)
{
    return in(board, COMMAND) & OUTPUT_FULL ? in(board, DATA) : -1;
}

static int command(struct board *board, uint8_t value)
{
    out(board, COMMAND, value);
    return answer(board);
}

static void expect_answers(struct board *board, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(answer(board), (uint8_t)bytes[i], "byte %zu", i);
    cr_assert_eq(answer(board), -1);
}

/* i8042.c of Linux: i8042_controller_check, i8042_controller_init, i8042_check_aux. */
Test(i8042, linux_finds_a_controller_without_second_port_at_once)
{
    struct board *board = board_create();
    int mode;

    cr_assert_eq(answer(board), -1, "flush ends");
    cr_assert_eq(command(board, 0xaa), 0x55);
    mode = command(board, 0x20);
    cr_assert_geq(mode, 0);
    cr_assert_eq(in(board, COMMAND) & NOT_LOCKED, NOT_LOCKED);
    cr_assert_eq(mode & 0x40, 0x40, "translated");
    out(board, COMMAND, 0x60);
    out(board, DATA, (uint8_t)(mode | 0x10));
    cr_assert_eq(command(board, 0x20), mode | 0x10);
    out(board, COMMAND, 0xd3);
    out(board, DATA, 0x5a);
    cr_assert_eq(in(board, COMMAND) & 0x21, OUTPUT_FULL, "an answer without the mark of port 2");
    cr_assert_eq(in(board, DATA), 0x5a);
    cr_assert_eq(command(board, 0xa9), 0x01, "no port 2");
    cr_assert_eq(command(board, 0xab), 0x00);
    board_destroy(board);
}

/* atkbd.c of Linux: atkbd_probe and atkbd_activate. */
Test(i8042, linux_finds_a_keyboard_at_once)
{
    struct board *board = board_create();

    out(board, DATA, 0xf2);
    expect_answers(board, "\xfa\xab\x41", 3);
    out(board, COMMAND, 0x60);
    out(board, DATA, 0x01);
    out(board, DATA, 0xf2);
    expect_answers(board, "\xfa\xab\x83", 3);
    out(board, DATA, 0xed);
    expect_answers(board, "\xfa", 1);
    out(board, DATA, 0x02);
    expect_answers(board, "\xfa", 1);
    out(board, DATA, 0xf0);
    expect_answers(board, "\xfa", 1);
    out(board, DATA, 0x00);
    expect_answers(board, "\xfa\x02", 2);
    out(board, DATA, 0xff);
    expect_answers(board, "\xfa\xaa", 2);
    out(board, DATA, 0xee);
    expect_answers(board, "\xee", 1);
    out(board, DATA, 0xf4);
    expect_answers(board, "\xfa", 1);
    out(board, DATA, 0x01);
    expect_answers(board, "\xfe", 1);
    board_destroy(board);
}

Test(i8042, each_byte_interrupts_once_it_is_enabled)
{
    struct board *board = board_create();

    out(board, DATA, 0xf2);
    cr_assert_not(board->irq);
    out(board, COMMAND, 0x60);
    out(board, DATA, 0x45);
    cr_assert(board->irq);
    cr_assert_eq(in(board, DATA), 0xfa);
    cr_assert(board->irq);
    cr_assert_eq(board->irq_edges, 2);
    cr_assert_eq(in(board, DATA), 0xab);
    cr_assert_eq(in(board, DATA), 0x41);
    cr_assert_not(board->irq);
    cr_assert_eq(board->irq_edges, 3);
    cr_assert_eq(in(board, DATA), 0x41, "the buffer keeps its last byte");
    board_destroy(board);
}

Test(i8042, the_reset_line_is_pulled_by_pulse_and_by_output_port)
{
    struct board *board = board_create();

    out(board, COMMAND, 0xfe);
    cr_assert_eq(board->resets, 1);
    out(board, COMMAND, 0xff);
    cr_assert_eq(board->resets, 1, "pulses nothing");
    out(board, COMMAND, 0xf0);
    cr_assert_eq(board->resets, 2, "pulses everything");
    cr_assert_eq(command(board, 0xd0) & 1, 1);
    out(board, COMMAND, 0xd1);
    out(board, DATA, 0xdf);
    cr_assert_eq(board->resets, 2);
    out(board, COMMAND, 0xd1);
    out(board, DATA, 0xde);
    cr_assert_eq(board->resets, 3);
    board_destroy(board);
}

Test(i8042, ctrl_alt_del_is_typed_to_a_guest_that_listens)
{
    struct board *board = board_create();

    cr_assert_eq(i8042_ctrl_alt_del(board->i8042), -EAGAIN, "no driver");
    out(board, COMMAND, 0x60);
    out(board, DATA, 0x45);
    cr_assert_eq(i8042_ctrl_alt_del(board->i8042), 0);
    cr_assert(board->irq);
    cr_assert_eq(i8042_ctrl_alt_del(board->i8042), -EBUSY);
    expect_answers(board, "\x1d\x38\xe0\x53\xe0\xd3\xb8\x9d", 8);
    out(board, COMMAND, 0x60);
    out(board, DATA, 0x05);
    cr_assert_eq(i8042_ctrl_alt_del(board->i8042), 0);
    expect_answers(board, "\x14\x11\xe0\x71\xe0\xf0\x71\xf0\x11\xf0\x14", 11);
    out(board, DATA, 0xf5);
    expect_answers(board, "\xfa", 1);
    cr_assert_eq(i8042_ctrl_alt_del(board->i8042), -EAGAIN, "scanning is off");
    out(board, DATA, 0xf4);
    out(board, COMMAND, 0xad);
    expect_answers(board, "\xfa", 1);
    cr_assert_eq(i8042_ctrl_alt_del(board->i8042), -EAGAIN, "the port is off");
    board_destroy(board);
}

Test(i8042, reset_brings_back_the_initial_state)
{
    struct board *board = board_create();
    int mode = command(board, 0x20);

    out(board, COMMAND, 0x60);
    out(board, DATA, 0x01);
    out(board, DATA, 0xf2);
    out(board, DATA, 0xed);
    cr_assert(board->irq);
    i8042_reset(board->i8042);
    cr_assert_not(board->irq);
    cr_assert_eq(answer(board), -1);
    cr_assert_eq(command(board, 0x20), mode);
    out(board, DATA, 0xee);
    expect_answers(board, "\xee", 1);
    board_destroy(board);
}

Test(i8042, random_accesses_leave_a_controller_that_works)
{
    enum { ROUNDS = 500000, SEED = 42 };
    struct board *board = board_create();
    unsigned seed = SEED;

    for (int i = 0; i < ROUNDS; i++) {
        unsigned random = (unsigned)rand_r(&seed);
        struct bus_access access = {.addr = random & 4 ? COMMAND : DATA,
                                    .size = (uint8_t)(1 << random % 3),
                                    .is_write = random >> 3 & 1,
                                    .value = random >> 8};

        cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
        if (random >> 4 & 1)
            cr_assert_leq(i8042_ctrl_alt_del(board->i8042), 0);
        if (board->irq)
            cr_assert_eq(in(board, COMMAND) & OUTPUT_FULL, OUTPUT_FULL, "seed %d", SEED);
    }
    for (int i = 0; i < 64 && answer(board) >= 0; i++)
        ;
    cr_assert_eq(command(board, 0xaa), 0x55, "seed %d", SEED);
    board_destroy(board);
}
