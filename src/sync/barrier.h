/*
 * Barrier between tasks and plain threads: a fixed number of parties wait for each other, over and
 * over.
 *
 *     barrier_wait_start(&frame->wait, task, &phase->end);
 *     AWAIT(task, PHASE, barrier_wait_poll(&frame->wait));
 *     if (frame->wait.result == BARRIER_LAST) ...    exactly one of them
 *
 * What each wrote before is visible to all after it. A party that cancels does not count any more,
 * unless the others have come meanwhile: then it is through, and result says so. The barrier may go
 * when nobody waits and the wait of the last one that came has finished. Two forms, see forms.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "sync/forms.h"
#include "sync/waiter.h"

enum barrier_result { BARRIER_THROUGH = 0, BARRIER_LAST = 1 };

/* barrier_init first. */
struct barrier_compact {
    atomic_ulong state;      /* private: STATE_SPINLOCK, STATE_HAS_WAITERS; 0 when idle */
    struct waitlist waiters; /* private: guarded by STATE_SPINLOCK, and so the next */
    uint32_t waiting;        /* private: in the list */
    uint32_t parties;        /* read-only */
};

SYNC_FORMS(barrier);

/* A future. */
struct barrier_wait {
    struct waiter waiter;            /* private */
    struct barrier_compact *barrier; /* private */
    int32_t result;                  /* once poll is true: enum barrier_result, or -ECANCELED */
};

/* Before anybody else knows the barrier; at least one party (asserted). */
void barrier_init(union barrier_ref barrier, uint32_t parties);

/* The thread of the task's executor, as all of the future. The first poll counts it. */
void barrier_wait_start(struct barrier_wait *wait, struct task *task, union barrier_ref barrier);
must_check bool barrier_wait_poll(struct barrier_wait *wait);
/* Finishes at once: -ECANCELED, or BARRIER_THROUGH when it was. A no-op when finished already. */
void barrier_wait_cancel(struct barrier_wait *wait);
struct future barrier_wait_future(struct barrier_wait *wait);

/* Plain threads, never one that runs an executor. BARRIER_THROUGH or BARRIER_LAST. */
int barrier_wait_blocking(union barrier_ref barrier);
/* Also -ETIMEDOUT: it does not count. CLOCK_MONOTONIC. */
must_check int barrier_wait_blocking_until(union barrier_ref barrier, uint64_t deadline_ns);
