#include "legacy/pl031.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/clock.h"

enum {
    BASE = 0x9010000,
    DATA = 0x00,
    MATCH = 0x04,
    LOAD = 0x08,
    CONTROL = 0x0c,
    MASK = 0x10,
    RAW = 0x14,
    STATUS = 0x18,
    CLEAR = 0x1c,
};

/* Saturday 2026-11-21 03:25:59.5 UTC */
#define START_S  1795231559U
#define START_NS (START_S * NS_PER_S + NS_PER_S / 2)

struct board {
    struct executor *executor;
    struct bus *bus;
    struct pl031 *pl031;
    uint64_t now_ns;
    bool irq;
};

static uint64_t board_now_ns(void *arg)
{
    return ((struct board *)arg)->now_ns;
}

static void irq_set(void *chip, uint32_t gsi, bool level)
{
    cr_assert_eq(gsi, 4);
    ((struct board *)chip)->irq = level;
}

static const struct irq_line_ops irq_ops = {.set = irq_set};

static struct board *board_create(bool fake_clock)
{
    struct board *board = calloc(1, sizeof(*board));
    struct pl031_config config = {.base = BASE,
                                  .irq = {.ops = &irq_ops, .chip = board, .gsi = 4},
                                  .now_ns = fake_clock ? board_now_ns : NULL,
                                  .now_arg = board};
    struct err err = {""};

    cr_assert_not_null(board);
    board->now_ns = START_NS;
    cr_assert_eq(executor_create(&board->executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(bus_create(&board->bus, "memory", &err), 0);
    config.executor = board->executor;
    config.bus = board->bus;
    cr_assert_eq(pl031_create(&board->pl031, &config, &err), 0, "%s", err.text);
    return board;
}

static void board_destroy(struct board *board)
{
    pl031_stop(board->pl031);
    cr_assert_eq(executor_run(board->executor), 0, "nothing is left to run");
    pl031_destroy(board->pl031);
    bus_destroy(board->bus);
    executor_destroy(board->executor);
    free(board);
}

static uint32_t get(struct board *board, uint64_t offset)
{
    struct bus_access access = {.addr = BASE + offset, .size = 4};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
    return (uint32_t)access.value;
}

static void put(struct board *board, uint64_t offset, uint32_t value)
{
    struct bus_access access = {.addr = BASE + offset, .size = 4, .is_write = true, .value = value};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
}

static bool irq_is_up(void *arg)
{
    return ((struct board *)arg)->irq;
}

Test(pl031, drivers_find_the_identity_that_they_look_for)
{
    static const uint8_t id[] = {0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
    struct board *board = board_create(true);

    for (unsigned i = 0; i < 8; i++)
        cr_assert_eq(get(board, 0xfe0 + 4 * i), id[i]);
    cr_assert_eq(get(board, CONTROL), 1, "it runs");
    board_destroy(board);
}

Test(pl031, time_is_the_hosts_until_the_guest_sets_it)
{
    struct board *board = board_create(true);

    cr_assert_eq(get(board, DATA), START_S);
    put(board, LOAD, 1000);
    cr_assert_eq(get(board, LOAD), 1000);
    cr_assert_eq(get(board, DATA), 1000);
    board->now_ns += 5 * NS_PER_S;
    cr_assert_eq(get(board, DATA), 1005);
    pl031_reset(board->pl031);
    cr_assert_eq(get(board, DATA), 1005, "a reset leaves the time");
    board_destroy(board);
}

Test(pl031, without_a_clock_of_its_own_it_shows_the_hosts)
{
    struct board *board = board_create(false);
    uint32_t before = (uint32_t)time(NULL), now = get(board, DATA);

    cr_assert(now >= before && now <= (uint32_t)time(NULL));
    board_destroy(board);
}

Test(pl031, match_with_the_present_second_interrupts_when_enabled)
{
    struct board *board = board_create(true);

    put(board, MATCH, START_S);
    cr_assert_eq(get(board, RAW), 1);
    cr_assert_eq(get(board, STATUS), 0, "masked");
    cr_assert(!board->irq);
    put(board, MASK, 1);
    cr_assert_eq(get(board, STATUS), 1);
    cr_assert(board->irq);
    put(board, CLEAR, 1);
    cr_assert_eq(get(board, RAW), 0);
    cr_assert(!board->irq);
    board_destroy(board);
}

Test(pl031, match_in_the_past_never_comes)
{
    struct board *board = board_create(true);

    put(board, MASK, 1);
    put(board, MATCH, START_S - 1);
    cr_assert_eq(get(board, RAW), 0);
    board_destroy(board);
}

Test(pl031, alarm_comes_when_its_second_begins)
{
    struct board *board = board_create(false);

    put(board, MASK, 1);
    put(board, MATCH, get(board, DATA) + 1);
    cr_assert_eq(executor_run_until(board->executor, irq_is_up, board), 0);
    cr_assert_geq(get(board, DATA), get(board, MATCH));
    board_destroy(board);
}

Test(pl031, reset_takes_the_alarm_back)
{
    struct board *board = board_create(true);

    put(board, MASK, 1);
    put(board, MATCH, START_S);
    cr_assert(board->irq);
    pl031_reset(board->pl031);
    cr_assert(!board->irq);
    cr_assert_eq(get(board, MASK) | get(board, MATCH) | get(board, RAW), 0);
    board_destroy(board);
}

Test(pl031, odd_accesses_read_zeros_and_write_nothing)
{
    struct board *board = board_create(true);
    struct bus_access byte = {.addr = BASE + MASK, .size = 1, .is_write = true, .value = 1};
    struct bus_access odd = {.addr = BASE + DATA + 2, .size = 4};

    cr_assert_eq(bus_dispatch(board->bus, &byte), BUS_DONE);
    cr_assert_eq(get(board, MASK), 0);
    cr_assert_eq(bus_dispatch(board->bus, &odd), BUS_DONE);
    cr_assert_eq(odd.value, 0);
    cr_assert_eq(get(board, 0x20), 0);
    board_destroy(board);
}
