/*
 * Timers: user-space, over the executor's own wait timeout; arm and cancel cost nanoseconds, also
 * with 1e5 of them. Embedded in the task's frame; no allocation. Executor thread only.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/task.h"

struct timer {
    struct task *task;    /* private */
    uint64_t deadline_ns; /* read-only: CLOCK_MONOTONIC */
    struct list link;     /* private */
    uint64_t reserved;    /* private */
    uint8_t status;       /* private */
};

/* Zeroed is idle. Arms or re-arms: `task` is woken once at or after `deadline_ns`. */
void timer_arm(struct timer *timer, struct task *task, uint64_t deadline_ns);
/* A no-op unless armed; afterwards the task is not woken by this timer. */
void timer_cancel(struct timer *timer);
bool timer_is_armed(const struct timer *timer);
/* True once the deadline has passed, until armed again or cancelled. */
bool timer_has_fired(const struct timer *timer);
