#include "legacy/pm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

enum { BASE = 0x600, SLEEP_TYPE_S5 = 5, TIMER_BIT = 1 << 0, POWER_BUTTON_BIT = 1 << 8 };

/* The top bit of the timer toggles every 2^31 / 3579545 Hz. */
#define TOGGLE_NS (((1ULL << 31) * NS_PER_S + 3579544) / 3579545)

struct board {
    struct executor *executor;
    struct bus *bus;
    struct pm *pm;
    uint64_t now_ns;
    bool sci;
    unsigned sci_changes;
    unsigned reports[MACHINE_REPORT_COUNT];
};

static void sci_set(void *chip, uint32_t gsi, bool level)
{
    struct board *board = chip;

    cr_assert_eq(gsi, 9);
    board->sci = level;
    board->sci_changes++;
}

static const struct irq_line_ops sci_ops = {.set = sci_set};

static void report(void *arg, enum machine_report report)
{
    ((struct board *)arg)->reports[report]++;
}

static uint64_t board_now_ns(void *arg)
{
    return ((struct board *)arg)->now_ns;
}

static struct board *board_create(void)
{
    struct board *board = calloc(1, sizeof(*board));
    struct pm_config config = {
        .base = BASE,
        .sci = {.ops = &sci_ops, .chip = board, .gsi = 9},
        .sleep_type_s5 = SLEEP_TYPE_S5,
        .machine = {.report = report, .arg = board},
        .now_ns = board_now_ns,
        .now_arg = board,
    };
    struct err err = {""};

    cr_assert_not_null(board);
    cr_assert_eq(executor_create(&board->executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(bus_create(&board->bus, "port", &err), 0, "%s", err.text);
    config.executor = board->executor;
    config.bus = board->bus;
    cr_assert_eq(pm_create(&board->pm, &config, &err), 0, "%s", err.text);
    return board;
}

static void board_destroy(struct board *board)
{
    pm_stop(board->pm);
    cr_assert_eq(executor_run(board->executor), 0, "nothing is left to run");
    pm_destroy(board->pm);
    bus_destroy(board->bus);
    executor_destroy(board->executor);
    free(board);
}

static uint64_t board_read(struct board *board, uint64_t offset, uint8_t size)
{
    struct bus_access access = {.addr = BASE + offset, .size = size};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
    return access.value;
}

static void board_write(struct board *board, uint64_t offset, uint8_t size, uint64_t value)
{
    struct bus_access access = {
        .addr = BASE + offset, .size = size, .value = value, .is_write = true};

    cr_assert_eq(bus_dispatch(board->bus, &access), BUS_DONE);
}

Test(pm, power_button_raises_the_sci_until_it_is_acknowledged)
{
    struct board *board = board_create();

    board_write(board, PM_PM1_ENABLE, 2, POWER_BUTTON_BIT);
    cr_assert_not(board->sci);
    cr_assert_eq(pm_press_power_button(board->pm), 0);
    cr_assert(board->sci);
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 2), POWER_BUTTON_BIT);
    board_write(board, PM_PM1_STATUS, 2, ~POWER_BUTTON_BIT & 0xffff);
    cr_assert(board->sci, "only the bits that are written as 1 are cleared");
    board_write(board, PM_PM1_STATUS, 2, POWER_BUTTON_BIT);
    cr_assert_not(board->sci);
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 2), 0);
    cr_assert_eq(board->sci_changes, 2);
    board_destroy(board);
}

Test(pm, power_button_of_a_guest_that_does_not_listen)
{
    struct board *board = board_create();

    cr_assert_eq(pm_press_power_button(board->pm), -EAGAIN);
    cr_assert_not(board->sci);
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 2), POWER_BUTTON_BIT);
    board_write(board, PM_PM1_ENABLE, 2, POWER_BUTTON_BIT);
    cr_assert(board->sci, "it is told when it begins to listen");
    board_write(board, PM_PM1_ENABLE, 2, 0);
    cr_assert_not(board->sci);
    board_destroy(board);
}

Test(pm, only_events_that_exist_can_be_enabled)
{
    struct board *board = board_create();

    board_write(board, PM_PM1_ENABLE, 2, 0xffff);
    cr_assert_eq(board_read(board, PM_PM1_ENABLE, 2), 0x0521);
    board_write(board, PM_PM1_ENABLE + 1, 1, 0);
    cr_assert_eq(board_read(board, PM_PM1_ENABLE, 2), 0x0021);
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 4), 0x00210000, "both in one access");
    board_destroy(board);
}

Test(pm, sleep_type_of_s5_powers_off)
{
    struct board *board = board_create();

    cr_assert_eq(board_read(board, PM_PM1_CONTROL, 2), 1, "ACPI mode is on");
    board_write(board, PM_PM1_CONTROL, 2, SLEEP_TYPE_S5 << 10);
    cr_assert_eq(board->reports[MACHINE_POWER_OFF], 0, "the type alone does nothing");
    cr_assert_eq(board_read(board, PM_PM1_CONTROL, 2), 1 | SLEEP_TYPE_S5 << 10);
    board_write(board, PM_PM1_CONTROL, 2, 1 << 13 | 3 << 10);
    cr_assert_eq(board->reports[MACHINE_POWER_OFF], 0, "no other state is offered");
    board_write(board, PM_PM1_CONTROL, 2, 1 << 13 | SLEEP_TYPE_S5 << 10);
    cr_assert_eq(board->reports[MACHINE_POWER_OFF], 1);
    cr_assert_eq(board_read(board, PM_PM1_CONTROL, 2) & 1 << 13, 0, "write-only");
    board_write(board, PM_PM1_CONTROL + 1, 1, 1 << 5 | SLEEP_TYPE_S5 << 2);
    cr_assert_eq(board->reports[MACHINE_POWER_OFF], 2, "a byte of it is enough");
    board_destroy(board);
}

Test(pm, reset_register_takes_one_value)
{
    struct board *board = board_create();

    for (unsigned value = 0; value < 256; value++)
        if (value != PM_RESET_VALUE)
            board_write(board, PM_RESET, 1, value);
    for (unsigned offset = 0; offset < PM_PORT_COUNT; offset++)
        if (offset != PM_RESET && offset != PM_PM1_CONTROL + 1)
            board_write(board, offset, 1, PM_RESET_VALUE);
    cr_assert_eq(board->reports[MACHINE_RESET_ACPI], 0);
    board_write(board, PM_RESET, 1, PM_RESET_VALUE);
    cr_assert_eq(board->reports[MACHINE_RESET_ACPI], 1);
    cr_assert_eq(board_read(board, PM_RESET, 4), 0);
    board_destroy(board);
}

Test(pm, timer_counts_3579545_in_a_second)
{
    struct board *board = board_create();

    cr_assert_eq(board_read(board, PM_TIMER, 4), 0);
    board->now_ns = NS_PER_S;
    cr_assert_eq(board_read(board, PM_TIMER, 4), 3579545);
    board->now_ns = 86400 * NS_PER_S;
    cr_assert_eq(board_read(board, PM_TIMER, 4), (uint32_t)(86400 * 3579545ULL));
    cr_assert_eq(board_read(board, PM_TIMER + 2, 2), (uint32_t)(86400 * 3579545ULL) >> 16);
    board->now_ns = UINT64_MAX;
    board_read(board, PM_TIMER, 4);
    board_write(board, PM_TIMER, 4, 0);
    board->now_ns = NS_PER_S;
    cr_assert_eq(board_read(board, PM_TIMER, 4), 3579545, "read-only");
    board_destroy(board);
}

Test(pm, timer_status_follows_the_top_bit)
{
    struct board *board = board_create();

    board->now_ns = TOGGLE_NS - 1;
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 2), 0);
    board->now_ns = TOGGLE_NS;
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 2), TIMER_BIT);
    cr_assert_not(board->sci);
    board_write(board, PM_PM1_STATUS, 2, TIMER_BIT);
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 2), 0);
    board->now_ns = 2 * TOGGLE_NS;
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 2), TIMER_BIT, "also when it falls");
    board_destroy(board);
}

static bool sci_is_up(void *arg)
{
    return ((struct board *)arg)->sci;
}

Test(pm, timer_interrupt_comes_by_itself)
{
    struct board *board = board_create();

    board->now_ns = TOGGLE_NS - NS_PER_MS;
    board_write(board, PM_PM1_ENABLE, 2, TIMER_BIT);
    cr_assert_not(board->sci);
    board->now_ns = TOGGLE_NS; /* the executor's clock takes the millisecond */
    cr_assert_eq(executor_run_until(board->executor, sci_is_up, board), 0);
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 2), TIMER_BIT);
    board_write(board, PM_PM1_STATUS, 2, TIMER_BIT);
    cr_assert_not(board->sci);
    board_destroy(board);
}

Test(pm, reset_silences_everything_but_the_timer)
{
    struct board *board = board_create();

    board->now_ns = NS_PER_S;
    board_write(board, PM_PM1_ENABLE, 2, 0xffff);
    board_write(board, PM_PM1_CONTROL, 2, 7 << 10);
    cr_assert_eq(pm_press_power_button(board->pm), 0);
    pm_reset(board->pm);
    cr_assert_not(board->sci);
    cr_assert_eq(board_read(board, PM_PM1_STATUS, 4), 0);
    cr_assert_eq(board_read(board, PM_PM1_CONTROL, 2), 1);
    cr_assert_eq(board_read(board, PM_TIMER, 4), 3579545);
    board_destroy(board);
}

Test(pm, any_access_is_harmless)
{
    struct board *board = board_create();
    const unsigned first_seed = 20261124;
    unsigned seed = first_seed;

    for (int round = 0; round < 20000; round++) {
        uint64_t offset = (unsigned)rand_r(&seed) % PM_PORT_COUNT;
        uint8_t size = (uint8_t)(1U << rand_r(&seed) % 3);
        uint64_t wanted;

        board->now_ns += (unsigned)rand_r(&seed);
        if (rand_r(&seed) % 2)
            board_write(board, offset, size, (uint32_t)rand_r(&seed) * 5);
        else
            board_read(board, offset, size);
        wanted = board_read(board, PM_PM1_STATUS, 2) & board_read(board, PM_PM1_ENABLE, 2);
        cr_assert_eq(board->sci, wanted != 0, "seed %u, round %d", first_seed, round);
    }
    board_destroy(board);
}

Test(pm, needs_no_executor_before_the_guest_runs)
{
    struct board *board = board_create();

    /* As when another part of the machine cannot be made. */
    pm_destroy(board->pm);
    bus_destroy(board->bus);
    executor_destroy(board->executor);
    free(board);
}

Test(pm, taken_ports_are_reported)
{
    struct board *board = board_create();
    struct pm_config config = {
        .executor = board->executor, .bus = board->bus, .base = BASE + 8, .now_ns = NULL};
    struct pm *pm;
    struct err err;

    cr_assert_eq(pm_create(&pm, &config, &err), -EEXIST);
    cr_assert(strstr(err.text, "ACPI"), "%s", err.text);
    board_destroy(board);
}
