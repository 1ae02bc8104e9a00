#include "legacy/reset_control.h"

#include <criterion/criterion.h>

static unsigned resets;

static void report(void *arg, enum machine_report report)
{
    (void)arg;
    cr_assert_eq(report, MACHINE_RESET_CF9);
    resets++;
}

static uint64_t register_access(struct reset_control *control, bool is_write, uint8_t value)
{
    struct bus_access access = {
        .addr = 0xcf9, .size = 1, .value = is_write ? value : 0xff, .is_write = is_write};

    cr_assert_eq(control->range.ops->access(&control->range, &access), BUS_DONE);
    return access.value;
}

/* Linux writes 2 and, a moment later, 6. */
Test(reset_control, reset_bit_resets)
{
    struct reset_control control;

    reset_control_init(&control, (struct machine){.report = report});
    cr_assert_eq(register_access(&control, false, 0), 0);
    register_access(&control, true, 0x02);
    cr_assert_eq(resets, 0);
    cr_assert_eq(register_access(&control, false, 0), 0x02);
    register_access(&control, true, 0x06);
    cr_assert_eq(resets, 1);
    register_access(&control, true, 0xfb);
    cr_assert_eq(resets, 1, "every bit but that one");
    cr_assert_eq(register_access(&control, false, 0), 0x0a, "the rest is reserved");
    register_access(&control, true, 0x0e);
    cr_assert_eq(resets, 2);
    reset_control_reset(&control);
    cr_assert_eq(register_access(&control, false, 0), 0);
}
