#include "legacy/serial.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "exec/op.h"

/* Registers and bits as the Linux driver names them. */
enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };
enum {
    IER_RDI = 1,
    IER_THRI = 2,
    IER_RLSI = 4,
    IER_MSI = 8,
    MCR_DTR = 1,
    MCR_RTS = 2,
    MCR_OUT1 = 4,
    MCR_OUT2 = 8,
    MCR_LOOP = 16,
    LSR_DR = 1,
    LSR_OE = 2,
    LSR_BI = 0x10,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
    FCR_TRIGGER_8 = 0x81,
    LCR_DLAB = 0x80,
    BASE = 0x3f8,
    MEGABYTE = 1 << 20,
};

struct board {
    struct executor *executor;
    struct bus *bus;
    struct chardev *chardev;
    struct serial *serial;
    int input, output; /* the host's ends of the port's pipes */
    bool irq;
    unsigned irq_edges;
};

static void irq_set(void *chip, uint32_t gsi, bool level)
{
    struct board *board = chip;

    cr_assert_eq(gsi, 4);
    cr_assert_neq(level, board->irq, "only changes");
    board->irq = level;
    board->irq_edges += level;
}

static const struct irq_line_ops irq_ops = {.set = irq_set};

static struct board *board_create(void)
{
    struct board *board = calloc(1, sizeof(*board));
    struct chardev_config chardev_config = {.type = CHARDEV_FDS, .name = "COM1"};
    struct serial_config config = {
        .name = "COM1", .base = BASE, .irq = {.ops = &irq_ops, .chip = board, .gsi = 4}};
    struct err err = {""};
    int in[2], out[2];

    cr_assert(board && !pipe(in) && !pipe(out));
    board->input = in[1];
    board->output = out[0];
    chardev_config.input_fd = in[0];
    chardev_config.output_fd = out[1];
    cr_assert_eq(executor_create(&board->executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(chardev_create(&board->chardev, board->executor, &chardev_config, &err), 0, "%s",
                 err.text);
    cr_assert_eq(bus_create(&board->bus, "port", &err), 0);
    config.executor = board->executor;
    config.bus = board->bus;
    config.chardev = board->chardev;
    cr_assert_eq(serial_create(&board->serial, &config, &err), 0, "%s", err.text);
    chardev_start(board->chardev);
    return board;
}

static void board_destroy(struct board *board)
{
    serial_stop(board->serial);
    chardev_stop(board->chardev, clock_now_ns() + NS_PER_S, NULL, NULL);
    cr_assert_eq(executor_run(board->executor), 0);
    serial_destroy(board->serial);
    chardev_destroy(board->chardev);
    bus_destroy(board->bus);
    executor_destroy(board->executor);
    free(board);
}

static uint64_t read_reg(struct board *board, unsigned reg)
{
    struct bus_access access = {.addr = BASE + reg, .size = 1};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
    return access.value;
}

static void write_reg(struct board *board, unsigned reg, uint8_t value)
{
    struct bus_access access = {.addr = BASE + reg, .size = 1, .is_write = true, .value = value};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
}

struct waited {
    struct board *board;
    size_t available;
};

static bool input_is_there(void *arg)
{
    const struct waited *waited = arg;

    return chardev_available(waited->board->chardev) >= waited->available;
}

static void type(struct board *board, const char *text, size_t available)
{
    struct waited waited = {.board = board, .available = available};

    cr_assert_eq(write(board->input, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(executor_run_until(board->executor, input_is_there, &waited), 0);
}

static bool irq_is_high(void *arg)
{
    return ((struct board *)arg)->irq;
}

/* ---- what the Linux driver probes: 8250_port.c, autoconfig() and startup ---- */

Test(serial, linux_finds_a_16550a)
{
    struct board *board = board_create();

    write_reg(board, IER, 0);
    cr_assert_eq(read_reg(board, IER) & 0x0f, 0);
    write_reg(board, IER, 0xff);
    cr_assert_eq(read_reg(board, IER), 0x0f, "no sleep mode, no XScale unit enable");
    write_reg(board, IER, 0);
    write_reg(board, MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
    cr_assert_eq(read_reg(board, MSR) & 0xf0, 0x90);
    write_reg(board, MCR, 0);
    cr_assert_eq(read_reg(board, MSR) & 0xf0, 0xb0);
    write_reg(board, IIR_FCR, 1);
    cr_assert_eq(read_reg(board, IIR_FCR) >> 6, 3, "16550A");
    /* EFR of a 16650 and friends would read 0 here. */
    write_reg(board, LCR, 0x80);
    cr_assert_neq(read_reg(board, IIR_FCR), 0);
    write_reg(board, LCR, 0xbf);
    cr_assert_neq(read_reg(board, IIR_FCR), 0);
    write_reg(board, LCR, 0);
    /* The 64-byte FIFO of a 16750 is not there with or without DLAB. */
    write_reg(board, IIR_FCR, 0x21);
    cr_assert_eq(read_reg(board, IIR_FCR) >> 5, 6);
    write_reg(board, IIR_FCR, 1);
    write_reg(board, LCR, LCR_DLAB);
    write_reg(board, IIR_FCR, 0x21);
    cr_assert_eq(read_reg(board, IIR_FCR) >> 5, 6);
    write_reg(board, LCR, 3);
    write_reg(board, IIR_FCR, 0);
    cr_assert_eq(read_reg(board, IIR_FCR), 1, "FIFO off, nothing pending");
    board_destroy(board);
}

Test(serial, linux_finds_no_transmitter_bugs)
{
    struct board *board = board_create();

    /* serial8250_THRE_test: a disabled and enabled THRE interrupt comes again. */
    write_reg(board, IER, IER_THRI);
    cr_assert_eq(read_reg(board, IIR_FCR) & 0x0f, 2);
    cr_assert_eq(read_reg(board, IIR_FCR) & 0x0f, 1, "reading it takes it away");
    write_reg(board, IER, 0);
    write_reg(board, IER, IER_THRI);
    cr_assert_eq(read_reg(board, IIR_FCR) & 0x0f, 2);
    /* UART_BUG_TXEN: empty and enabled is pending. */
    write_reg(board, IER, 0);
    write_reg(board, IER, IER_THRI);
    cr_assert_eq(read_reg(board, LSR) & LSR_TEMT, LSR_TEMT);
    cr_assert_eq(read_reg(board, IIR_FCR) & 1, 0);
    board_destroy(board);
}

Test(serial, registers_keep_what_is_written)
{
    struct board *board = board_create();

    for (unsigned value = 0; value < 256; value++) {
        write_reg(board, SCR, (uint8_t)value);
        write_reg(board, LCR, (uint8_t)(value | LCR_DLAB));
        write_reg(board, DATA, (uint8_t)~value);
        write_reg(board, IER, (uint8_t)(value * 7));
        cr_assert_eq(read_reg(board, DATA), (uint8_t)~value);
        cr_assert_eq(read_reg(board, IER), (uint8_t)(value * 7));
        cr_assert_eq(read_reg(board, LCR), value | LCR_DLAB);
        write_reg(board, LCR, 3);
        cr_assert_eq(read_reg(board, IER), 0, "the divisor is another register");
        cr_assert_eq(read_reg(board, SCR), value);
    }
    write_reg(board, MCR, 0xff);
    cr_assert_eq(read_reg(board, MCR), 0x1f);
    board_destroy(board);
}

Test(serial, wide_accesses_are_those_of_consecutive_registers)
{
    struct board *board = board_create();
    struct bus_access access = {.addr = BASE + LCR, .size = 2, .is_write = true, .value = 0x0b03};

    bus_dispatch(board->bus, &access);
    cr_assert_eq(read_reg(board, LCR), 0x03);
    cr_assert_eq(read_reg(board, MCR), 0x0b);
    write_reg(board, SCR, 0x5a);
    access = (struct bus_access){.addr = BASE + 4, .size = 4};
    bus_dispatch(board->bus, &access);
    cr_assert_eq(access.value, 0x5ab0600b);
    access = (struct bus_access){.addr = BASE + 6, .size = 4};
    bus_dispatch(board->bus, &access);
    cr_assert_eq(access.value, 0xffffffff, "beyond the port");
    board_destroy(board);
}

/* ---- loopback ---- */

Test(serial, loopback_receives_what_it_sends)
{
    struct board *board = board_create();

    write_reg(board, IIR_FCR, FCR_TRIGGER_8);
    write_reg(board, MCR, MCR_LOOP);
    for (uint8_t i = 0; i < 16; i++)
        write_reg(board, DATA, i);
    cr_assert_eq(read_reg(board, LSR), LSR_DR | LSR_THRE | LSR_TEMT);
    write_reg(board, DATA, 99);
    cr_assert_eq(read_reg(board, LSR), LSR_DR | LSR_OE | LSR_THRE | LSR_TEMT, "one too many");
    cr_assert_eq(read_reg(board, LSR) & LSR_OE, 0, "reading it takes it away");
    for (uint8_t i = 0; i < 16; i++)
        cr_assert_eq(read_reg(board, DATA), i);
    cr_assert_eq(read_reg(board, LSR) & LSR_DR, 0);
    board_destroy(board);
}

Test(serial, loopback_turns_modem_outputs_into_inputs)
{
    struct board *board = board_create();

    write_reg(board, MCR, MCR_LOOP);
    cr_assert_eq(read_reg(board, MSR), 0x0b, "CTS, DSR and DCD went away");
    cr_assert_eq(read_reg(board, MSR), 0, "once");
    write_reg(board, MCR, MCR_LOOP | MCR_RTS);
    cr_assert_eq(read_reg(board, MSR), 0x11);
    write_reg(board, MCR, MCR_LOOP | MCR_DTR);
    cr_assert_eq(read_reg(board, MSR), 0x23);
    write_reg(board, MCR, MCR_LOOP | MCR_OUT1);
    cr_assert_eq(read_reg(board, MSR), 0x42, "ring has not ended");
    write_reg(board, MCR, MCR_LOOP | MCR_OUT2);
    cr_assert_eq(read_reg(board, MSR), 0x8c, "ring ended, carrier came");
    board_destroy(board);
}

Test(serial, loopback_does_not_take_the_host_s_input)
{
    struct board *board = board_create();

    write_reg(board, MCR, MCR_LOOP);
    type(board, "x", 1);
    cr_assert_eq(read_reg(board, LSR) & LSR_DR, 0);
    write_reg(board, MCR, MCR_RTS);
    cr_assert_eq(read_reg(board, LSR) & LSR_DR, LSR_DR);
    cr_assert_eq(read_reg(board, DATA), 'x');
    board_destroy(board);
}

/* ---- interrupts ---- */

Test(serial, interrupts_pass_only_the_gate_of_out2)
{
    struct board *board = board_create();

    write_reg(board, IER, IER_THRI);
    cr_assert_not(board->irq);
    write_reg(board, MCR, MCR_OUT2);
    cr_assert(board->irq);
    write_reg(board, MCR, 0);
    cr_assert_not(board->irq);
    write_reg(board, MCR, MCR_OUT2 | MCR_LOOP);
    cr_assert_not(board->irq);
    write_reg(board, MCR, MCR_OUT2);
    cr_assert(board->irq);
    write_reg(board, IER, 0);
    cr_assert_not(board->irq);
    board_destroy(board);
}

Test(serial, each_write_to_an_empty_transmitter_interrupts_again)
{
    struct board *board = board_create();

    write_reg(board, MCR, MCR_OUT2);
    write_reg(board, IER, IER_THRI);
    for (unsigned i = 1; i < 100; i++) {
        cr_assert(board->irq);
        cr_assert_eq(board->irq_edges, i);
        cr_assert_eq(read_reg(board, IIR_FCR), 2);
        cr_assert_not(board->irq);
        write_reg(board, DATA, 'a');
    }
    board_destroy(board);
}

Test(serial, received_data_interrupts_at_the_trigger_and_by_time_out)
{
    struct board *board = board_create();

    write_reg(board, IIR_FCR, FCR_TRIGGER_8);
    write_reg(board, MCR, MCR_OUT2 | MCR_RTS);
    write_reg(board, IER, IER_RDI);
    cr_assert_eq(write(board->input, "abc", 3), 3);
    cr_assert_eq(executor_run_until(board->executor, irq_is_high, board), 0);
    cr_assert_eq(read_reg(board, IIR_FCR), 0xcc, "fewer than the trigger, no more at hand");
    cr_assert_eq(read_reg(board, DATA), 'a');
    cr_assert_eq(read_reg(board, DATA), 'b');
    cr_assert(board->irq);
    cr_assert_eq(read_reg(board, DATA), 'c');
    cr_assert_not(board->irq);
    cr_assert_eq(read_reg(board, IIR_FCR), 0xc1);
    cr_assert_eq(write(board->input, "0123456789", 10), 10);
    cr_assert_eq(executor_run_until(board->executor, irq_is_high, board), 0);
    cr_assert_eq(read_reg(board, IIR_FCR), 0xc4);
    for (char c = '0'; c <= '9'; c++)
        cr_assert_eq(read_reg(board, DATA), c);
    cr_assert_not(board->irq);
    board_destroy(board);
}

Test(serial, line_status_comes_first_and_modem_status_last)
{
    struct board *board = board_create();

    write_reg(board, MCR, MCR_LOOP);
    write_reg(board, IER, 0x0f);
    write_reg(board, DATA, 1);
    write_reg(board, DATA, 2);
    cr_assert_eq(read_reg(board, IIR_FCR), 6, "overrun");
    read_reg(board, LSR);
    cr_assert_eq(read_reg(board, IIR_FCR), 4);
    cr_assert_eq(read_reg(board, DATA), 1);
    cr_assert_eq(read_reg(board, IIR_FCR), 2);
    cr_assert_eq(read_reg(board, IIR_FCR), 0, "the modem inputs changed");
    read_reg(board, MSR);
    cr_assert_eq(read_reg(board, IIR_FCR), 1);
    board_destroy(board);
}

/* ---- input ---- */

Test(serial, a_polling_guest_that_never_touches_modem_control_gets_input)
{
    struct board *board = board_create();

    type(board, "hi", 2);
    cr_assert_eq(read_reg(board, LSR) & LSR_DR, LSR_DR);
    cr_assert_eq(read_reg(board, DATA), 'h');
    cr_assert_eq(read_reg(board, LSR) & LSR_DR, LSR_DR);
    cr_assert_eq(read_reg(board, DATA), 'i');
    cr_assert_eq(read_reg(board, LSR) & LSR_DR, 0);
    cr_assert_eq(read_reg(board, DATA), 0);
    board_destroy(board);
}

Test(serial, input_typed_early_survives_the_set_up_of_the_port)
{
    struct board *board = board_create();

    type(board, "early", 5);
    /* autoconfig and startup of the Linux driver, as far as they concern received bytes */
    write_reg(board, MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
    write_reg(board, MCR, 0);
    write_reg(board, IIR_FCR, 1);
    write_reg(board, IIR_FCR, 7);
    write_reg(board, IIR_FCR, 0);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(read_reg(board, LSR) & LSR_DR, 0);
        read_reg(board, DATA);
        read_reg(board, IIR_FCR);
        read_reg(board, MSR);
    }
    write_reg(board, MCR, MCR_OUT2);
    write_reg(board, IER, IER_RDI | IER_RLSI);
    write_reg(board, IIR_FCR, 1);
    write_reg(board, IIR_FCR, FCR_TRIGGER_8);
    write_reg(board, MCR, MCR_OUT2 | MCR_RTS | MCR_DTR);
    for (const char *c = "early"; *c; c++) {
        cr_assert_eq(read_reg(board, LSR) & LSR_DR, LSR_DR);
        cr_assert_eq(read_reg(board, DATA), *c);
    }
    cr_assert_eq(read_reg(board, LSR) & LSR_DR, 0);
    board_destroy(board);
}

/* What the Linux driver does with one interrupt, unless it gives up after so many rounds. */
static size_t handle_receive_interrupt(struct board *board, int rounds)
{
    size_t received = 0;

    while (rounds-- && read_reg(board, IIR_FCR) != 0xc1)
        for (int i = 0; i < 256 && read_reg(board, LSR) & LSR_DR; i++, received++)
            read_reg(board, DATA);
    return received;
}

static struct board *board_with_much_input(void)
{
    static const char much[1000];
    struct board *board = board_create();
    struct waited waited = {.board = board, .available = sizeof(much) - 16};

    write_reg(board, IIR_FCR, FCR_TRIGGER_8);
    write_reg(board, MCR, MCR_OUT2 | MCR_RTS);
    write_reg(board, IER, IER_RDI);
    cr_assert_eq(write(board->input, much, sizeof(much)), (ssize_t)sizeof(much));
    cr_assert_eq(executor_run_until(board->executor, input_is_there, &waited), 0);
    return board;
}

Test(serial, a_handler_ends_however_much_input_there_is_and_is_called_again)
{
    struct board *board = board_with_much_input();

    for (unsigned edges = 1; edges < 20; edges++) {
        cr_assert(board->irq);
        cr_assert_eq(board->irq_edges, edges);
        cr_assert_eq(handle_receive_interrupt(board, 512), 16);
    }
    board_destroy(board);
}

Test(serial, a_handler_that_gives_up_is_called_again)
{
    struct board *board = board_with_much_input();

    for (unsigned edges = 1; edges < 20; edges++) {
        cr_assert_eq(executor_run_until(board->executor, irq_is_high, board), 0);
        cr_assert_eq(board->irq_edges, edges);
        cr_assert_eq(handle_receive_interrupt(board, 1), 16);
        cr_assert_not(board->irq);
    }
    board_destroy(board);
}

Test(serial, a_guest_that_turns_interrupts_off_in_a_gap_can_poll)
{
    struct board *board = board_with_much_input();

    cr_assert_eq(handle_receive_interrupt(board, 1), 16);
    cr_assert_eq(read_reg(board, LSR) & LSR_DR, 0);
    write_reg(board, IER, 0);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(read_reg(board, LSR) & LSR_DR, LSR_DR);
        read_reg(board, DATA);
    }
    board_destroy(board);
}

/* ---- streams ---- */

static uint8_t pattern(size_t index)
{
    return (uint8_t)((index * 2654435761U) >> 11);
}

/* A guest that sends by interrupt, 16 bytes at a time, and the host's reader. */
struct sender {
    struct task task;
    struct op op;
    struct board *board;
    size_t sent, received;
    unsigned held; /* times that the transmitter was busy after 16 bytes */
    bool is_wrong;
    uint8_t bytes[5000];
};

static void sender_interrupt(struct sender *sender)
{
    struct board *board = sender->board;

    while (board->irq && sender->sent < MEGABYTE) {
        cr_assert_eq(read_reg(board, IIR_FCR), 0xc2);
        cr_assert_eq(read_reg(board, LSR) & LSR_THRE, LSR_THRE);
        for (unsigned i = 0; i < 16; i++)
            write_reg(board, DATA, pattern(sender->sent++));
        sender->held += !(read_reg(board, LSR) & LSR_THRE);
    }
}

static bool sender_is_done(void *arg)
{
    struct sender *sender = arg;

    sender_interrupt(sender);
    return sender->received == MEGABYTE;
}

enum { SENDER_READ = 1 };

static enum task_verdict sender_poll(struct task *task)
{
    struct sender *const sender = container_of(task, struct sender, task);

    ASYNC_BEGIN(task)
        while (sender->received < MEGABYTE) {
            op_read(&sender->op, task, io_file_plain(sender->board->output), sender->bytes,
                    sizeof(sender->bytes), UINT64_MAX);
            AWAIT(task, SENDER_READ, op_is_done(&sender->op));
            for (int32_t i = 0; i < sender->op.result; i++)
                sender->is_wrong |= sender->bytes[i] != pattern(sender->received++);
        }
        ASYNC_END(task);
}

Test(serial, a_megabyte_of_output_by_interrupt_arrives_unharmed)
{
    static const struct task_type type = {.name = "sender", .poll = sender_poll};
    struct board *board = board_create();
    struct sender sender = {.board = board};

    write_reg(board, IIR_FCR, FCR_TRIGGER_8);
    write_reg(board, MCR, MCR_OUT2 | MCR_RTS | MCR_DTR);
    write_reg(board, IER, IER_THRI);
    sender_interrupt(&sender);
    cr_assert_lt(sender.sent, MEGABYTE, "a reader that does not read holds the transmitter");
    cr_assert_eq(read_reg(board, LSR) & (LSR_THRE | LSR_TEMT), 0);
    cr_assert_not(board->irq);
    task_spawn(&sender.task, board->executor, &type);
    cr_assert_eq(executor_run_until(board->executor, sender_is_done, &sender), 0);
    cr_assert_not(sender.is_wrong);
    cr_assert_gt(sender.held, 0);
    board_destroy(board);
}

/* The host's writer, and a guest that receives by interrupt. */
struct receiver {
    struct task task;
    struct op op;
    struct board *board;
    size_t sent, received;
    bool is_wrong;
    uint8_t bytes[3000];
};

static bool receiver_is_done(void *arg)
{
    struct receiver *receiver = arg;
    struct board *board = receiver->board;
    uint64_t id;

    while (board->irq) {
        while ((id = read_reg(board, IIR_FCR)) != 0xc1) {
            cr_assert(id == 0xc4 || id == 0xcc);
            for (int i = 0; i < 256 && read_reg(board, LSR) & LSR_DR; i++)
                receiver->is_wrong |= read_reg(board, DATA) != pattern(receiver->received++);
        }
    }
    return receiver->received == MEGABYTE;
}

enum { RECEIVER_WRITE = 1 };

static enum task_verdict receiver_poll(struct task *task)
{
    struct receiver *const receiver = container_of(task, struct receiver, task);

    ASYNC_BEGIN(task)
        while (receiver->sent < MEGABYTE) {
            for (size_t i = 0; i < sizeof(receiver->bytes); i++)
                receiver->bytes[i] = pattern(receiver->sent + i);
            op_write(&receiver->op, task, io_file_plain(receiver->board->input), receiver->bytes,
                     (uint32_t)(MEGABYTE - receiver->sent < sizeof(receiver->bytes)
                                    ? MEGABYTE - receiver->sent
                                    : sizeof(receiver->bytes)),
                     UINT64_MAX);
            AWAIT(task, RECEIVER_WRITE, op_is_done(&receiver->op));
            receiver->sent += (size_t)receiver->op.result;
        }
        ASYNC_END(task);
}

Test(serial, a_megabyte_of_input_by_interrupt_arrives_unharmed)
{
    static const struct task_type type = {.name = "receiver", .poll = receiver_poll};
    struct board *board = board_create();
    struct receiver receiver = {.board = board};

    write_reg(board, IIR_FCR, FCR_TRIGGER_8);
    write_reg(board, MCR, MCR_OUT2 | MCR_RTS | MCR_DTR);
    write_reg(board, IER, IER_RDI | IER_RLSI);
    task_spawn(&receiver.task, board->executor, &type);
    cr_assert_eq(executor_run_until(board->executor, receiver_is_done, &receiver), 0);
    cr_assert_not(receiver.is_wrong);
    board_destroy(board);
}

/* ---- reset, and misuse ---- */

Test(serial, reset_brings_back_the_initial_state)
{
    struct board *board = board_create();

    write_reg(board, IIR_FCR, FCR_TRIGGER_8);
    write_reg(board, LCR, 0x1b);
    write_reg(board, MCR, MCR_OUT2);
    write_reg(board, IER, 0x0f);
    write_reg(board, SCR, 0x77);
    cr_assert(board->irq);
    serial_reset(board->serial);
    cr_assert_not(board->irq);
    cr_assert_eq(read_reg(board, IER), 0);
    cr_assert_eq(read_reg(board, IIR_FCR), 1);
    cr_assert_eq(read_reg(board, LCR), 0);
    cr_assert_eq(read_reg(board, MCR), 0);
    cr_assert_eq(read_reg(board, LSR), LSR_THRE | LSR_TEMT);
    cr_assert_eq(read_reg(board, MSR), 0xb0);
    cr_assert_eq(read_reg(board, SCR), 0);
    board_destroy(board);
}

Test(serial, a_port_without_host_side_swallows_output)
{
    struct serial *serial;
    struct board board = {0};
    struct serial_config config = {
        .name = "COM4", .base = BASE, .irq = {.ops = &irq_ops, .chip = &board, .gsi = 4}};

    cr_assert_eq(bus_create(&board.bus, "port", NULL), 0);
    config.bus = board.bus;
    cr_assert_eq(serial_create(&serial, &config, NULL), 0);
    for (int i = 0; i < 1000; i++)
        write_reg(&board, DATA, 'x');
    cr_assert_eq(read_reg(&board, LSR), LSR_THRE | LSR_TEMT);
    serial_destroy(serial);
    cr_assert_eq(read_reg(&board, LSR), 0xff, "gone from the bus");
    bus_destroy(board.bus);
}

/* Accesses of every kind, some each turn, so that the chardev takes part. */
struct hammer {
    struct task task;
    struct board *board;
    unsigned turns, seed;
};

static enum task_verdict hammer_poll(struct task *task)
{
    struct hammer *hammer = container_of(task, struct hammer, task);
    struct board *board = hammer->board;

    for (int i = 0; i < 500; i++) {
        unsigned random = (unsigned)rand_r(&hammer->seed);
        struct bus_access access = {.addr = BASE + random % 8,
                                    .size = (uint8_t)(1 << (random >> 3) % 3),
                                    .is_write = random >> 5 & 1,
                                    .value = (uint64_t)rand_r(&hammer->seed)};

        cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
        if (board->irq)
            cr_assert_eq(read_reg(board, MCR) & (MCR_OUT2 | MCR_LOOP), MCR_OUT2);
    }
    if (!--hammer->turns)
        return TASK_DONE;
    task_wake(task);
    return TASK_PENDING;
}

static bool hammer_is_done(void *arg)
{
    return !task_is_live(&((struct hammer *)arg)->task);
}

Test(serial, random_accesses_leave_a_port_that_works)
{
    enum { TURNS = 2000, SEED = 20261121 };
    static const struct task_type type = {.name = "hammer", .poll = hammer_poll};
    struct board *board = board_create();
    struct hammer hammer = {.board = board, .turns = TURNS, .seed = SEED};

    cr_assert_eq(write(board->input, "some input to be had", 20), 20);
    task_spawn(&hammer.task, board->executor, &type);
    cr_assert_eq(executor_run_until(board->executor, hammer_is_done, &hammer), 0);
    serial_reset(board->serial);
    cr_assert_not(board->irq, "seed %d", SEED);
    cr_assert_eq(read_reg(board, LSR) & LSR_TEMT, LSR_TEMT, "seed %d", SEED);
    write_reg(board, MCR, MCR_LOOP);
    while (read_reg(board, LSR) & LSR_DR)
        read_reg(board, DATA);
    write_reg(board, DATA, 0x42);
    cr_assert_eq(read_reg(board, DATA), 0x42);
    board_destroy(board);
}
