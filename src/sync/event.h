/*
 * One-shot event between tasks and plain threads: once set it stays set, and who waits for it waits
 * no more.
 *
 *     event_wait_start(&frame->wait, task, &request->done);
 *     AWAIT(task, DONE, event_wait_poll(&frame->wait));
 *
 * What was written before event_set is visible after the wait. A zeroed event is not set. It may go
 * as soon as its last wait has finished, even if event_set has not returned yet: it may live in the
 * frame of the one that waits, if there is only one that sets it. Two forms, see forms.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "sync/forms.h"
#include "sync/waiter.h"

#define EVENT_SET 4UL

struct event_compact {
    atomic_ulong state;      /* private: STATE_SPINLOCK, STATE_HAS_WAITERS, EVENT_SET */
    struct waitlist waiters; /* private: guarded by STATE_SPINLOCK */
};

SYNC_FORMS(event);

/* A future. */
struct event_wait {
    struct waiter waiter;        /* private */
    struct event_compact *event; /* private */
    int32_t result;              /* once poll is true: 0, it is set; -ECANCELED */
};

/* Any thread. Wakes everybody. Setting it again is a no-op. */
void event_set(union event_ref event);

/* Any thread. */
static inline bool event_is_set(union event_ref event)
{
    /* Acquire: pairs with the release at the end of event_set. */
    return atomic_load_explicit(&event.compact->state, memory_order_acquire) & EVENT_SET;
}

/* The thread of the task's executor, as all of the future. */
void event_wait_start(struct event_wait *wait, struct task *task, union event_ref event);
must_check bool event_wait_poll(struct event_wait *wait);
/* Finishes at once. A no-op when finished already. */
void event_wait_cancel(struct event_wait *wait);
struct future event_wait_future(struct event_wait *wait);

/* Plain threads, never one that runs an executor. */
void event_wait_blocking(union event_ref event);
/* 0 or -ETIMEDOUT; CLOCK_MONOTONIC. */
must_check int event_wait_blocking_until(union event_ref event, uint64_t deadline_ns);
