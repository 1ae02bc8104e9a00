/*
 * Wake-up of one waiter that is remembered when nobody waits: at most one permit is kept. For
 * "there is work, look": whoever waits looks at everything after each wait.
 *
 *     for (;;) {
 *         notify_wait_start(&frame->wait, task, &queue->work);
 *         AWAIT(task, WORK, notify_wait_poll(&frame->wait));
 *         ... take all there is ...
 *     }
 *
 * What was written before notify_one is visible after the wait that it ends. A wait that was woken
 * and is cancelled passes the wake-up on, or leaves the permit. A zeroed notify has no permit. It
 * may go when nobody waits and the last notify_one has returned. Two forms, see forms.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "sync/forms.h"
#include "sync/waiter.h"

#define NOTIFY_PERMIT 4UL

struct notify_compact {
    atomic_ulong state;      /* private: STATE_SPINLOCK, STATE_HAS_WAITERS, NOTIFY_PERMIT */
    struct waitlist waiters; /* private: guarded by STATE_SPINLOCK */
};

SYNC_FORMS(notify);

/* A future. */
struct notify_wait {
    struct waiter waiter;          /* private */
    struct notify_compact *notify; /* private */
    int32_t result;                /* once poll is true: 0, woken; -ECANCELED */
};

/* Any thread. Wakes the first waiter, or leaves a permit for the next one. */
void notify_one(union notify_ref notify);
/* Any thread. Takes the permit, if there is one. */
must_check bool notify_try_take(union notify_ref notify);

/* The thread of the task's executor, as all of the future. The first poll takes the permit. */
void notify_wait_start(struct notify_wait *wait, struct task *task, union notify_ref notify);
must_check bool notify_wait_poll(struct notify_wait *wait);
/* Finishes at once. A no-op when finished already. */
void notify_wait_cancel(struct notify_wait *wait);
struct future notify_wait_future(struct notify_wait *wait);

/* Plain threads, never one that runs an executor. */
void notify_wait_blocking(union notify_ref notify);
/* 0 or -ETIMEDOUT; CLOCK_MONOTONIC. */
must_check int notify_wait_blocking_until(union notify_ref notify, uint64_t deadline_ns);
