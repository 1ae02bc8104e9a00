/*
 * A chip's one timer: a deadline that calls back. Its task lives only while a deadline is pending,
 * so a chip at rest has none. Embedded by its owner, zeroed except executor and ring. Executor
 * thread, or before it runs.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/executor.h"
#include "exec/task.h"
#include "exec/timer.h"

struct alarm {
    struct executor *executor;
    void (*ring)(struct alarm *alarm); /* from a task; may set the alarm again */
    /* private */
    uint64_t deadline_ns; /* 0: none */
    struct timer timer;
    struct task task;
    bool is_spawned; /* until task_type.done, which comes later than TASK_DONE */
};

/* Calls ring once at or after `deadline_ns` (CLOCK_MONOTONIC, not 0), in place of an earlier
 * deadline. */
void alarm_set(struct alarm *alarm, uint64_t deadline_ns);
/* ring is not called any more. The task, if there is one, ends in the executor's next turn: the
 * owner is not freed before. */
void alarm_clear(struct alarm *alarm);
