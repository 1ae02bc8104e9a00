/*
 * Real-time clock and CMOS memory (Motorola MC146818A): time of day in UTC from the host's clock,
 * alarm, periodic and update-ended interrupts, and the bytes in which a PC's firmware leaves the
 * size of the memory. What the guest sets is an offset to the host's clock, kept across resets.
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

enum {
    RTC_PORT_COUNT = 2,     /* index, then data */
    RTC_CENTURY_INDEX = 50, /* for the FADT */
};

struct rtc;

struct rtc_config {
    struct executor *executor;
    struct bus *bus;
    uint64_t base;
    struct irq_line irq;
    uint64_t mem_below_4g; /* bytes of RAM from address 0 to the gap, and above 4 GiB */
    uint64_t mem_above_4g;
    /* Nanoseconds since 1970; NULL: the host's CLOCK_REALTIME. */
    uint64_t (*now_ns)(void *arg);
    void *now_arg;
};

must_check int rtc_create(struct rtc **out, const struct rtc_config *config, struct err *err);
/* Cancels its timer; its task ends in the executor's next turn. The guest does not run any more. */
void rtc_stop(struct rtc *rtc);
/* Before the guest ran, or stopped and the executor has returned. NULL is allowed. */
void rtc_destroy(struct rtc *rtc);
/* The RESET pin: interrupts off; time and memory stay. */
void rtc_reset(struct rtc *rtc);
