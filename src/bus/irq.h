/*
 * Interrupts as devices see them: pins and messages. The chips behind them (KVM's, or a fake in a
 * unit test) are ops structs. Executor thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* An input pin of the interrupt controller. */
struct irq_line {
    const struct irq_line_ops *ops;
    void *chip;
    uint32_t gsi;
};

struct irq_line_ops {
    void (*set)(void *chip, uint32_t gsi, bool level);
};

static inline void irq_line_set(const struct irq_line *line, bool level)
{
    line->ops->set(line->chip, line->gsi, level);
}

/* Message-signalled interrupts: what a function's MSI-X table entry says. */
struct msi_message {
    uint64_t address;
    uint32_t data;
    uint32_t device_id; /* requester id; ignored on x86_64 */
};

/* The source of message interrupts. Vectors are small integers handed out by `alloc`. */
struct msi_chip {
    const struct msi_chip_ops *ops;
    void *chip;
};

struct msi_chip_ops {
    /* A vector that signals nothing yet; -ENOSPC when the chip has no more. */
    must_check int (*alloc)(void *chip, uint32_t *vector);
    void (*free)(void *chip, uint32_t vector);
    /* What the vector will send from now on; negative errno when the message is impossible. */
    must_check int (*route)(void *chip, uint32_t vector, const struct msi_message *message);
    /* Sends it. */
    void (*signal)(void *chip, uint32_t vector);
    /* The eventfd whose signal sends the vector without this process (vhost); owned by the chip. */
    int (*eventfd)(void *chip, uint32_t vector);
};
