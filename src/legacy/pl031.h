/*
 * Real-time clock of Arm machines (PrimeCell PL031, Arm DDI 0224): seconds since 1970 from the
 * host's clock, with an alarm. What the guest sets is an offset to the host's clock, kept across
 * resets. Like the chip, it has 32 bits.
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

struct pl031;

struct pl031_config {
    struct executor *executor;
    struct bus *bus;
    uint64_t base;
    struct irq_line irq;
    /* Nanoseconds since 1970; NULL: the host's CLOCK_REALTIME. */
    uint64_t (*now_ns)(void *arg);
    void *now_arg;
};

must_check int pl031_create(struct pl031 **out, const struct pl031_config *config, struct err *err);
/* Cancels its timer; its task ends in the executor's next turn. The guest does not run any more. */
void pl031_stop(struct pl031 *pl031);
/* Before the guest ran, or stopped and the executor has returned. NULL is allowed. */
void pl031_destroy(struct pl031 *pl031);
/* Interrupt off and masked; the time stays. */
void pl031_reset(struct pl031 *pl031);
