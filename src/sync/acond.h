/*
 * Condition variable over an amutex, between tasks and plain threads alike.
 *
 *     while (!queue->count) {
 *         acond_wait_start(&frame->wait, task, &queue->cond, &queue->mutex, AMUTEX_EXCLUSIVE);
 *         AWAIT(task, WAIT, acond_wait_poll(&frame->wait));
 *     }
 *
 * A zeroed acond is valid; it may go when nobody waits and the last notify has returned. Two forms,
 * see forms.h.
 *
 * Policy:
 *  - A wait queues before it releases the mutex: who changes the state under the mutex and then
 *    notifies misses nobody. Wake-ups may be spurious: loop.
 *  - All that wait at one time use the same mutex; a second one aborts.
 *  - A notification is not remembered when nobody waits, and never lost otherwise: a wait that was
 *    notified and is cancelled, at whatever point, passes it on.
 *  - Notify never touches the mutex, which may be held or not. The woken queue on it themselves.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "sync/amutex.h"

struct acond_compact {
    atomic_ulong state;           /* private: STATE_SPINLOCK, STATE_HAS_WAITERS; 0 when idle */
    struct waitlist waiters;      /* private: guarded by STATE_SPINLOCK, and so the next */
    struct amutex_compact *mutex; /* private: of those who wait, if any */
};

SYNC_FORMS(acond);

/* A future. */
struct acond_wait {
    struct amutex_lock lock;    /* private: its waiter is in our list first, then in the mutex's */
    struct acond_compact *cond; /* private */
    uint8_t stage;              /* private */
    bool was_notified;          /* private: and owes it to others if it is cancelled */
    int32_t result;             /* once finished: 0, the mutex is ours again; or -ECANCELED: not */
};

/*
 * The mutex is held in `mode`, by whom is the caller's affair; it is released in here, and held in
 * `mode` again once finished with 0. The thread of the task's executor.
 */
void acond_wait_start(struct acond_wait *wait, struct task *task, union acond_ref cond,
                      union amutex_ref mutex, enum amutex_mode mode);
must_check bool acond_wait_poll(struct acond_wait *wait);
/* Finishes at once, without the mutex. A no-op when finished already. */
void acond_wait_cancel(struct acond_wait *wait);
struct future acond_wait_future(struct acond_wait *wait);

/* A wait that ends by itself; the same calls. */
struct acond_wait_timeout {
    struct acond_wait wait; /* private */
    struct timer timer;     /* private */
    int32_t result; /* once finished: 0 or -ETIMEDOUT, the mutex is ours again; or -ECANCELED */
};

/* As with pthreads, also one that timed out takes the mutex again, however long that takes. */
void acond_wait_timeout_start(struct acond_wait_timeout *timed, struct task *task,
                              union acond_ref cond, union amutex_ref mutex, enum amutex_mode mode,
                              uint64_t deadline_ns);
must_check bool acond_wait_timeout_poll(struct acond_wait_timeout *timed);
void acond_wait_timeout_cancel(struct acond_wait_timeout *timed);
struct future acond_wait_timeout_future(struct acond_wait_timeout *timed);

/* Plain threads, never one that runs an executor. */
void acond_wait_blocking(union acond_ref cond, union amutex_ref mutex, enum amutex_mode mode);
/* 0 or -ETIMEDOUT, the mutex is held in both cases. */
must_check int acond_wait_blocking_until(union acond_ref cond, union amutex_ref mutex,
                                         enum amutex_mode mode, uint64_t deadline_ns);

/* Private. */
void acond_notify_one_waiting(struct acond_compact *cond);
void acond_notify_all_waiting(struct acond_compact *cond);

/*
 * Any thread. The first waiter is exclusive: wakes it alone. It is shared: wakes all shared ones,
 * and the first exclusive one, if any.
 */
static inline void acond_notify_one(union acond_ref cond)
{
    /* Relaxed: a waiter that matters queued before it released the mutex, which the caller has held
     * since. */
    if (atomic_load_explicit(&cond.compact->state, memory_order_relaxed) & STATE_HAS_WAITERS)
        acond_notify_one_waiting(cond.compact);
}

/* Any thread. Wakes everybody, in the order of their waits. */
static inline void acond_notify_all(union acond_ref cond)
{
    if (atomic_load_explicit(&cond.compact->state, memory_order_relaxed) & STATE_HAS_WAITERS)
        acond_notify_all_waiting(cond.compact);
}
