/*
 * Once, between tasks and plain threads: one of those who come runs an initialisation, the others
 * wait until it is complete.
 *
 *     once_enter_start(&frame->enter, task, &disk->once);
 *     AWAIT(task, ENTER, once_enter_poll(&frame->enter));
 *     if (frame->enter.result == ONCE_INITIALISE) {
 *         ... which may await things ...
 *         once_complete(&disk->once);            or once_abandon, then the next one gets to do it
 *     }
 *
 * What the initialiser wrote is visible to all who come after it. An initialiser that fails or is
 * cancelled abandons: the first of those who wait becomes the initialiser. One that was appointed
 * and is cancelled before it knows hands on by itself. A zeroed once is not complete. It may go
 * when nobody waits and the last call has returned. Two forms, see forms.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "sync/forms.h"
#include "sync/waiter.h"

#define ONCE_COMPLETE 4UL
#define ONCE_RUNNING  8UL /* somebody is, or was appointed, the initialiser */

enum once_result { ONCE_READY = 0, ONCE_INITIALISE = 1 };

struct once_compact {
    atomic_ulong state;      /* private: STATE_SPINLOCK, STATE_HAS_WAITERS and the above */
    struct waitlist waiters; /* private: guarded by STATE_SPINLOCK */
};

SYNC_FORMS(once);

/* A future. */
struct once_enter {
    struct waiter waiter;      /* private */
    struct once_compact *once; /* private */
    bool is_initialiser;       /* private: written under the spinlock */
    int32_t result;            /* once poll is true: enum once_result, or -ECANCELED */
};

/* Any thread. */
static inline bool once_is_complete(union once_ref once)
{
    /* Acquire: pairs with the release at the end of once_complete. */
    return atomic_load_explicit(&once.compact->state, memory_order_acquire) & ONCE_COMPLETE;
}

/* The initialiser, on any thread. */
void once_complete(union once_ref once);
void once_abandon(union once_ref once);

/* The thread of the task's executor, as all of the future. */
void once_enter_start(struct once_enter *enter, struct task *task, union once_ref once);
must_check bool once_enter_poll(struct once_enter *enter);
/* Finishes at once. A no-op when finished already: an initialiser calls once_abandon instead. */
void once_enter_cancel(struct once_enter *enter);
struct future once_enter_future(struct once_enter *enter);

/* Plain threads, never one that runs an executor. ONCE_READY or ONCE_INITIALISE. */
must_check int once_enter_blocking(union once_ref once);
/* Also -ETIMEDOUT; CLOCK_MONOTONIC. */
must_check int once_enter_blocking_until(union once_ref once, uint64_t deadline_ns);
