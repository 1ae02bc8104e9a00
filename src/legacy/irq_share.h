/*
 * One interrupt pin for several devices: its level is the OR of theirs (COM1 and COM3, COM2 and
 * COM4). Executor thread, or before it runs.
 */
#pragma once
#include <stdint.h>

#include "bus/irq.h"

enum { IRQ_SHARE_INPUT_COUNT = 32 };

/* Embedded by its owner; `output` is set before use, the rest zeroed. */
struct irq_share {
    struct irq_line output;
    uint32_t levels; /* private */
};

/* Line of input `index` (< IRQ_SHARE_INPUT_COUNT); `share` stays where it is. */
struct irq_line irq_share_input(struct irq_share *share, unsigned index);
