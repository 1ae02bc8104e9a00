/*
 * Timers: user-space, over the executor's own wait timeout; arm and cancel cost nanoseconds, also
 * with 1e6 of them. Embedded in the task's frame; no allocation. Executor thread only (or before
 * executor_run starts).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/future.h"
#include "exec/task.h"

enum timer_status { TIMER_IDLE, TIMER_ARMED, TIMER_FIRED };

struct timer {
    struct task *task;    /* private */
    uint64_t deadline_ns; /* read-only: CLOCK_MONOTONIC */
    struct list link;     /* private */
    uint8_t status;       /* private: enum timer_status */
};

/*
 * Zeroed is idle. Arms or re-arms: `task` is woken once at or after `deadline_ns`, never before,
 * usually within microseconds. While it is armed the frame lives on, see task.h rule 2.
 */
void timer_arm(struct timer *timer, struct task *task, uint64_t deadline_ns);
/* Arms it for `duration_ns` from now at the earliest, or for ever where that is beyond the clock.
 */
void timer_sleep(struct timer *timer, struct task *task, uint64_t duration_ns);
/* A no-op unless armed; afterwards the task is not woken by this timer. */
void timer_cancel(struct timer *timer);

static inline bool timer_is_armed(const struct timer *timer)
{
    return timer->status == TIMER_ARMED;
}

/* True once the deadline has passed, until armed again or cancelled. */
static inline bool timer_has_fired(const struct timer *timer)
{
    return timer->status == TIMER_FIRED;
}

/* Finished when it has fired or was cancelled. */
struct future timer_future(struct timer *timer);
