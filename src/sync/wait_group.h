/*
 * Wait group between tasks and plain threads: waits until everything that was added is done.
 *
 *     wait_group_add(&frame->group, workers);
 *     ... each worker ends with wait_group_done(&frame->group) ...
 *     wait_group_wait_start(&frame->wait, task, &frame->group);
 *     AWAIT(task, WORKERS, wait_group_wait_poll(&frame->wait));
 *
 * Add before the wait, or while something that was added is not done yet. What was written before
 * wait_group_done is visible after the wait. A zeroed group has nothing to wait for, and may be
 * used again. It may go as soon as its last wait has finished, even if wait_group_done has not
 * returned yet. Two forms, see forms.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "sync/forms.h"
#include "sync/waiter.h"

/* Not done at one time (asserted). */
#define WAIT_GROUP_COUNT_MAX (1UL << 32)

struct wait_group_compact {
    atomic_ulong state;      /* private: STATE_SPINLOCK, STATE_HAS_WAITERS, the count above */
    struct waitlist waiters; /* private: guarded by STATE_SPINLOCK */
};

SYNC_FORMS(wait_group);

/* A future. */
struct wait_group_wait {
    struct waiter waiter;             /* private */
    struct wait_group_compact *group; /* private */
    int32_t result;                   /* once poll is true: 0, all is done; -ECANCELED */
};

/* Any thread. */
void wait_group_add(union wait_group_ref group, uint32_t count);
/* Any thread; once for each that was added (asserted). The last one wakes everybody. */
void wait_group_done(union wait_group_ref group);

/* The thread of the task's executor, as all of the future. */
void wait_group_wait_start(struct wait_group_wait *wait, struct task *task,
                           union wait_group_ref group);
must_check bool wait_group_wait_poll(struct wait_group_wait *wait);
/* Finishes at once. A no-op when finished already. */
void wait_group_wait_cancel(struct wait_group_wait *wait);
struct future wait_group_wait_future(struct wait_group_wait *wait);

/* Plain threads, never one that runs an executor. */
void wait_group_wait_blocking(union wait_group_ref group);
/* 0 or -ETIMEDOUT; CLOCK_MONOTONIC. */
must_check int wait_group_wait_blocking_until(union wait_group_ref group, uint64_t deadline_ns);
