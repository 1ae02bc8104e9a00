#include "legacy/rtc.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

enum {
    BASE = 0x70,
    SECONDS = 0,
    SECONDS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    HOURS,
    HOURS_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CENTURY = RTC_CENTURY_INDEX,

    B_SET = 0x80,
    B_PERIODIC = 0x40,
    B_ALARM = 0x20,
    B_UPDATE = 0x10,
    B_BINARY = 0x04,
    B_24_HOURS = 0x02,
};

/* Saturday 2026-11-21 03:25:59.5 UTC */
#define START_S  1795231559ULL
#define START_NS (START_S * NS_PER_S + NS_PER_S / 2)

struct board {
    struct executor *executor;
    struct bus *bus;
    struct rtc *rtc;
    uint64_t now_ns;
    uint64_t step_ns; /* by which the clock goes on at each look */
    bool irq;
    unsigned irq_edges;
};

static uint64_t board_now_ns(void *arg)
{
    struct board *board = arg;

    board->now_ns += board->step_ns;
    return board->now_ns;
}

static void irq_set(void *chip, uint32_t gsi, bool level)
{
    struct board *board = chip;

    cr_assert_eq(gsi, 8);
    cr_assert_neq(level, board->irq, "only changes");
    board->irq = level;
    board->irq_edges += level;
}

static const struct irq_line_ops irq_ops = {.set = irq_set};

static struct board *board_create_with(uint64_t below, uint64_t above, bool fake_clock)
{
    struct board *board = calloc(1, sizeof(*board));
    struct rtc_config config = {.base = BASE,
                                .irq = {.ops = &irq_ops, .chip = board, .gsi = 8},
                                .mem_below_4g = below,
                                .mem_above_4g = above,
                                .now_ns = fake_clock ? board_now_ns : NULL,
                                .now_arg = board};
    struct err err = {""};

    cr_assert_not_null(board);
    board->now_ns = START_NS;
    cr_assert_eq(executor_create(&board->executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(bus_create(&board->bus, "port", &err), 0);
    config.executor = board->executor;
    config.bus = board->bus;
    cr_assert_eq(rtc_create(&board->rtc, &config, &err), 0, "%s", err.text);
    return board;
}

static struct board *board_create(void)
{
    return board_create_with(1ULL << 30, 0, true);
}

static void board_destroy(struct board *board)
{
    rtc_stop(board->rtc);
    cr_assert_eq(executor_run(board->executor), 0, "nothing is left to run");
    rtc_destroy(board->rtc);
    bus_destroy(board->bus);
    executor_destroy(board->executor);
    free(board);
}

static uint8_t get(struct board *board, uint8_t index)
{
    struct bus_access select = {.addr = BASE, .size = 1, .is_write = true, .value = index};
    struct bus_access access = {.addr = BASE + 1, .size = 1};

    cr_assert_eq(bus_dispatch(board->bus, &select), BUS_DONE);
    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
    return (uint8_t)access.value;
}

static void put(struct board *board, uint8_t index, uint8_t value)
{
    struct bus_access select = {.addr = BASE, .size = 1, .is_write = true, .value = index};
    struct bus_access access = {.addr = BASE + 1, .size = 1, .is_write = true, .value = value};

    cr_assert_eq(bus_dispatch(board->bus, &select), BUS_DONE);
    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
}

/* Eight registers in the order century, year, month, day, weekday, hours, minutes, seconds. */
static const uint8_t time_registers[] = {CENTURY, YEAR,  MONTH,   DAY,
                                         WEEKDAY, HOURS, MINUTES, SECONDS};

static void expect_time(struct board *board, const uint8_t expected[8])
{
    for (unsigned i = 0; i < 8; i++)
        cr_assert_eq(get(board, time_registers[i]), expected[i], "register %d: 0x%02x",
                     time_registers[i], get(board, time_registers[i]));
}

/* As mc146818_set_time of Linux: stopped, and the divider in reset, while the registers change. */
static void set_time(struct board *board, const uint8_t values[8])
{
    uint8_t b = get(board, REG_B), a = get(board, REG_A);

    put(board, REG_B, b | B_SET);
    put(board, REG_A, a | 0x70);
    for (unsigned i = 0; i < 8; i++)
        put(board, time_registers[i], values[i]);
    put(board, REG_B, b);
    put(board, REG_A, a);
}

Test(rtc, tells_the_host_s_time_in_every_format)
{
    struct board *board = board_create();

    cr_assert_eq(get(board, REG_D), 0x80);
    expect_time(board, (uint8_t[]){0x20, 0x26, 0x11, 0x21, 7, 0x03, 0x25, 0x59});
    put(board, REG_B, B_24_HOURS | B_BINARY);
    expect_time(board, (uint8_t[]){20, 26, 11, 21, 7, 3, 25, 59});
    board->now_ns += 12 * 3600 * NS_PER_S;
    expect_time(board, (uint8_t[]){20, 26, 11, 21, 7, 15, 25, 59});
    put(board, REG_B, 0);
    expect_time(board, (uint8_t[]){0x20, 0x26, 0x11, 0x21, 7, 0x83, 0x25, 0x59});
    board->now_ns += 9 * 3600 * NS_PER_S;
    expect_time(board, (uint8_t[]){0x20, 0x26, 0x11, 0x22, 1, 0x12, 0x25, 0x59});
    put(board, REG_B, B_BINARY);
    cr_assert_eq(get(board, HOURS), 12);
    board_destroy(board);
}

Test(rtc, without_a_clock_of_the_caller_s_it_is_that_of_the_host)
{
    struct board *board = board_create_with(1ULL << 30, 0, false);
    struct tm tm;
    time_t now, before;

    /* Between two equal looks at the host's clock. */
    do {
        now = time(NULL);
        cr_assert_not_null(gmtime_r(&now, &tm));
        put(board, REG_B, B_24_HOURS | B_BINARY);
        tm.tm_isdst = get(board, MINUTES) == tm.tm_min && get(board, HOURS) == tm.tm_hour &&
                      get(board, DAY) == tm.tm_mday && get(board, YEAR) == tm.tm_year % 100;
        before = now;
        now = time(NULL);
    } while (now != before);
    cr_assert(tm.tm_isdst);
    board_destroy(board);
}

Test(rtc, runs_on_from_what_the_guest_sets)
{
    struct board *board = board_create();

    set_time(board, (uint8_t[]){0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59});
    expect_time(board, (uint8_t[]){0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59});
    board->now_ns += NS_PER_S;
    expect_time(board, (uint8_t[]){0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x00});
    rtc_reset(board->rtc);
    expect_time(board, (uint8_t[]){0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x00});
    put(board, HOURS, 0x07);
    expect_time(board, (uint8_t[]){0x20, 0x00, 0x01, 0x01, 7, 0x07, 0x00, 0x00});
    put(board, REG_B, B_SET);
    set_time(board, (uint8_t[]){0x20, 0x24, 0x02, 0x28, 4, 0x92, 0x59, 0x59});
    put(board, REG_B, 0);
    board->now_ns += NS_PER_S;
    cr_assert_eq(get(board, HOURS), 0x81, "12 PM and an hour is 1 PM");
    board_destroy(board);
}

Test(rtc, stands_still_while_it_is_set)
{
    struct board *board = board_create();

    put(board, REG_B, B_24_HOURS | B_SET);
    board->now_ns += 1000 * NS_PER_S;
    expect_time(board, (uint8_t[]){0x20, 0x26, 0x11, 0x21, 7, 0x03, 0x25, 0x59});
    cr_assert_eq(get(board, REG_A) & 0x80, 0);
    put(board, REG_B, B_24_HOURS);
    board->now_ns += 2 * NS_PER_S;
    expect_time(board, (uint8_t[]){0x20, 0x26, 0x11, 0x21, 7, 0x03, 0x26, 0x01});
    board_destroy(board);
}

Test(rtc, says_when_it_is_about_to_update)
{
    struct board *board = board_create();

    cr_assert_eq(get(board, REG_A), 0x26);
    board->now_ns = (START_S + 1) * NS_PER_S - 1000;
    cr_assert_eq(get(board, REG_A), 0xa6);
    board->now_ns = (START_S + 1) * NS_PER_S;
    cr_assert_eq(get(board, REG_A), 0x26);
    board_destroy(board);
}

Test(rtc, events_are_reported_without_interrupts_too)
{
    struct board *board = board_create();

    get(board, REG_C);
    cr_assert_eq(get(board, REG_C), 0);
    board->now_ns += NS_PER_MS;
    cr_assert_eq(get(board, REG_C), 0x40, "periodic, 1024 Hz");
    put(board, REG_A, 0x20);
    get(board, REG_C);
    board->now_ns += NS_PER_S;
    cr_assert_eq(get(board, REG_C), 0x10, "update");
    put(board, HOURS_ALARM, 0xc0);
    put(board, MINUTES_ALARM, 0x26);
    put(board, SECONDS_ALARM, 0x30);
    board->now_ns += 29 * NS_PER_S;
    cr_assert_eq(get(board, REG_C), 0x10);
    board->now_ns += NS_PER_S;
    cr_assert_eq(get(board, REG_C), 0x30, "alarm");
    board->now_ns += 3600 * NS_PER_S;
    cr_assert_eq(get(board, REG_C), 0x30, "and in the next hour");
    cr_assert_eq(board->irq_edges, 0);
    board_destroy(board);
}

static void expect_alarm_after(struct board *board, uint64_t seconds)
{
    get(board, REG_C);
    board->now_ns += (seconds - 1) * NS_PER_S;
    cr_assert_eq(get(board, REG_C) & 0x20, 0);
    board->now_ns += NS_PER_S;
    cr_assert_eq(get(board, REG_C) & 0x20, 0x20);
}

Test(rtc, alarm_fields_match_what_they_say)
{
    struct board *board = board_create();

    put(board, HOURS_ALARM, 0x03);
    put(board, MINUTES_ALARM, 0x25);
    put(board, SECONDS_ALARM, 0x58);
    expect_alarm_after(board, 24 * 3600 - 1);
    put(board, SECONDS_ALARM, 0xff);
    expect_alarm_after(board, 1);
    expect_alarm_after(board, 24 * 3600 - 59);
    put(board, MINUTES_ALARM, 0xff);
    put(board, HOURS_ALARM, 0xff);
    expect_alarm_after(board, 1);
    put(board, SECONDS_ALARM, 0x61);
    get(board, REG_C);
    board->now_ns += 48 * 3600 * NS_PER_S;
    cr_assert_eq(get(board, REG_C) & 0x20, 0, "there is no second 61");
    put(board, REG_B, 0);
    put(board, SECONDS_ALARM, 0x00);
    put(board, MINUTES_ALARM, 0x00);
    put(board, HOURS_ALARM, 0x81);
    get(board, REG_C);
    board->now_ns += 24 * 3600 * NS_PER_S;
    cr_assert_eq(get(board, REG_C) & 0x20, 0x20, "1 PM");
    board_destroy(board);
}

static bool irq_is_high(void *arg)
{
    return ((struct board *)arg)->irq;
}

Test(rtc, each_enabled_event_interrupts)
{
    static const uint8_t enables[] = {B_PERIODIC, B_ALARM, B_UPDATE};

    for (unsigned i = 0; i < 3; i++) {
        struct board *board = board_create();

        put(board, SECONDS_ALARM, 0xff);
        put(board, MINUTES_ALARM, 0xff);
        put(board, HOURS_ALARM, 0xff);
        /* The clock is about to tick, and goes on whenever somebody looks. */
        board->now_ns = (START_S + 1) * NS_PER_S - 10 * NS_PER_US;
        board->step_ns = NS_PER_US;
        get(board, REG_C);
        put(board, REG_B, B_24_HOURS | enables[i]);
        for (unsigned round = 1; round <= 2; round++) {
            cr_assert_eq(executor_run_until(board->executor, irq_is_high, board), 0);
            cr_assert_eq(get(board, REG_C) & (0x80 | enables[i]), 0x80 | enables[i]);
            cr_assert_not(board->irq, "reading the register takes it away");
            cr_assert_eq(board->irq_edges, round);
            board->now_ns = (START_S + 2) * NS_PER_S - 10 * NS_PER_US;
            put(board, REG_B, B_24_HOURS | enables[i]);
        }
        board_destroy(board);
    }
}

Test(rtc, an_interrupt_that_nobody_serves_costs_nothing)
{
    struct board *board = board_create();

    board->step_ns = NS_PER_US;
    put(board, REG_A, 0x23);
    put(board, REG_B, B_PERIODIC);
    cr_assert_eq(executor_run_until(board->executor, irq_is_high, board), 0);
    cr_assert_eq(executor_run(board->executor), 0, "no timer is left");
    cr_assert_eq(board->irq_edges, 1);
    board_destroy(board);
}

Test(rtc, reset_turns_interrupts_off)
{
    struct board *board = board_create();

    put(board, REG_B, B_PERIODIC | B_ALARM | B_UPDATE | B_BINARY);
    put(board, 0x40, 0x99);
    board->now_ns += NS_PER_S;
    get(board, REG_A);
    cr_assert(board->irq);
    rtc_reset(board->rtc);
    cr_assert_not(board->irq);
    cr_assert_eq(get(board, REG_B), B_BINARY);
    cr_assert_eq(get(board, REG_C), 0);
    cr_assert_eq(get(board, 0x40), 0x99, "memory stays");
    board_destroy(board);
}

Test(rtc, the_index_and_status_registers_are_as_on_a_pc)
{
    struct board *board = board_create();
    struct bus_access access = {.addr = BASE, .size = 1};

    bus_dispatch(board->bus, &access);
    cr_assert_eq(access.value, 0xff, "write-only");
    put(board, 0x40 | 0x80, 0x12);
    cr_assert_eq(get(board, 0x40), 0x12, "the top bit masks NMI");
    put(board, REG_C, 0xff);
    put(board, REG_D, 0x00);
    cr_assert_eq(get(board, REG_D), 0x80);
    put(board, REG_A, 0xa6);
    cr_assert_eq(get(board, REG_A), 0x26);
    access =
        (struct bus_access){.addr = BASE, .size = 2, .is_write = true, .value = 0x41 | 0x77 << 8};
    bus_dispatch(board->bus, &access);
    cr_assert_eq(get(board, 0x41), 0x77, "index and data in one access");
    board_destroy(board);
}

static unsigned get_16(struct board *board, uint8_t index)
{
    return get(board, index) | (unsigned)get(board, index + 1) << 8;
}

Test(rtc, memory_says_how_much_ram_there_is)
{
    struct board *board = board_create_with(3ULL << 30, 5ULL << 30, true);

    cr_assert_eq(get_16(board, 0x15), 640);
    cr_assert_eq(get_16(board, 0x17), 65535);
    cr_assert_eq(get_16(board, 0x30), 65535);
    cr_assert_eq(get_16(board, 0x34), ((3U << 30) - (16U << 20)) >> 16);
    cr_assert_eq(get_16(board, 0x5b) | (unsigned)get(board, 0x5d) << 16, 5U << 14);
    board_destroy(board);
    board = board_create_with(8ULL << 20, 0, true);
    cr_assert_eq(get_16(board, 0x17), 7 * 1024);
    cr_assert_eq(get_16(board, 0x34), 0);
    board_destroy(board);
}

Test(rtc, random_accesses_leave_a_clock_that_works)
{
    enum { ROUNDS = 300000, SEED = 1979 };
    struct board *board = board_create();
    unsigned seed = SEED;

    board->step_ns = 12345678;
    for (int i = 0; i < ROUNDS; i++) {
        unsigned random = (unsigned)rand_r(&seed);
        struct bus_access access = {.addr = BASE + random % 2,
                                    .size = (uint8_t)(1 << (random >> 1) % 3),
                                    .is_write = random >> 3 & 1,
                                    .value = random >> 4 & 1 ? random >> 5 & 15 : random >> 5};

        cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
    }
    board->step_ns = 0;
    put(board, REG_A, 0x26);
    put(board, REG_B, B_24_HOURS);
    set_time(board, (uint8_t[]){0x20, 0x26, 0x11, 0x21, 7, 0x03, 0x25, 0x59});
    expect_time(board, (uint8_t[]){0x20, 0x26, 0x11, 0x21, 7, 0x03, 0x25, 0x59});
    board_destroy(board);
}
