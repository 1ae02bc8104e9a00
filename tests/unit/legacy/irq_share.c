#include "legacy/irq_share.h"

#include <criterion/criterion.h>

struct pin {
    bool level;
    unsigned changes;
};

static void pin_set(void *chip, uint32_t gsi, bool level)
{
    struct pin *pin = chip;

    cr_assert_eq(gsi, 4);
    pin->level = level;
    pin->changes++;
}

Test(irq_share, output_is_high_while_any_input_is)
{
    static const struct irq_line_ops ops = {.set = pin_set};
    struct pin pin = {0};
    struct irq_share share = {.output = {.ops = &ops, .chip = &pin, .gsi = 4}};
    struct irq_line first = irq_share_input(&share, 0), last = irq_share_input(&share, 31);

    irq_line_set(&first, true);
    cr_assert(pin.level);
    irq_line_set(&last, true);
    irq_line_set(&first, false);
    cr_assert(pin.level);
    cr_assert_eq(pin.changes, 1, "told only of changes");
    irq_line_set(&last, false);
    cr_assert_not(pin.level);
    irq_line_set(&last, false);
    cr_assert_eq(pin.changes, 2);
}
