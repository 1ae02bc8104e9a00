#include "legacy/irq_share.h"

#include "base/check.h"

static void irq_share_set(void *chip, uint32_t input, bool level)
{
    struct irq_share *share = chip;
    uint32_t levels = share->levels & ~(1U << input);
    bool before = share->levels;

    levels |= (uint32_t)level << input;
    share->levels = levels;
    if (before != !!levels)
        irq_line_set(&share->output, levels);
}

static const struct irq_line_ops irq_share_ops = {.set = irq_share_set};

struct irq_line irq_share_input(struct irq_share *share, unsigned index)
{
    CHECK(index < IRQ_SHARE_INPUT_COUNT);
    return (struct irq_line){.ops = &irq_share_ops, .chip = share, .gsi = index};
}
