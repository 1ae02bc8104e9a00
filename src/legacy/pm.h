/*
 * ACPI fixed hardware (ACPI 6.4, chapter 4.8): PM1a event and control blocks, power management
 * timer, and the reset register, in one block of ports. ACPI mode is always on (no SMI command).
 * The timer has 32 bits (FADT flag TMR_VAL_EXT).
 *
 * Everything: executor thread, or before it runs.
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "exec/executor.h"
#include "legacy/machine.h"

/* Offsets from the base, for the FADT. */
enum {
    PM_PM1_STATUS = 0, /* 2 bytes; with the next the event block */
    PM_PM1_ENABLE = 2,
    PM_PM1_CONTROL = 4, /* 2 bytes */
    PM_TIMER = 8,       /* 4 bytes */
    PM_RESET = 12,      /* 1 byte: reset register */
    PM_PORT_COUNT = 16,

    PM_RESET_VALUE = 1,
};

struct pm;

struct pm_config {
    struct executor *executor;
    struct bus *bus;
    uint64_t base;
    struct irq_line sci; /* level triggered */
    uint8_t sleep_type_s5;
    struct machine machine;
    /* What the timer counts, in nanoseconds; NULL: CLOCK_MONOTONIC. */
    uint64_t (*now_ns)(void *arg);
    void *now_arg;
};

must_check int pm_create(struct pm **out, const struct pm_config *config, struct err *err);
/* Cancels its timer; its task ends in the executor's next turn. The guest does not run any more. */
void pm_stop(struct pm *pm);
/* Before the guest ran, or stopped and the executor has returned. NULL is allowed. */
void pm_destroy(struct pm *pm);
void pm_reset(struct pm *pm);

/* Presses the power button. -EAGAIN when the guest does not listen to it; the status bit is set all
 * the same. */
must_check int pm_press_power_button(struct pm *pm);
