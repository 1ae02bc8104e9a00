/*
 * Doorbells: guest writes that arrive as an eventfd signal instead of an exit (KVM ioeventfd).
 * Without such a chip (unit tests, or when the kernel refuses) the write reaches the device's bus
 * range as usual, so a device handles both. Executor thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct doorbell {
    uint64_t addr; /* MMIO or port address */
    uint8_t len;   /* 0 (any length), 1, 2, 4 or 8 */
    bool is_port;
    bool match; /* only writes of `value` */
    uint64_t value;
    int eventfd; /* the device's */
};

struct doorbell_chip {
    const struct doorbell_chip_ops *ops;
    void *chip;
};

struct doorbell_chip_ops {
    must_check int (*add)(void *chip, const struct doorbell *doorbell);
    void (*remove)(void *chip, const struct doorbell *doorbell);
};
