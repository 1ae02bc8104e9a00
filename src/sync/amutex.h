/*
 * Reader/writer mutex between tasks of one executor, tasks of several, and plain threads. Waiting
 * needs no memory but the future's own.
 *
 *     amutex_lock_start(&frame->lock, task, &disk->mutex, AMUTEX_EXCLUSIVE);
 *     AWAIT(task, LOCK, amutex_lock_poll(&frame->lock));
 *     ...
 *     amutex_unlock(&disk->mutex, AMUTEX_EXCLUSIVE);
 *
 * A zeroed amutex is free. It may go when nobody holds it, nobody waits for it, and the last unlock
 * has returned. Two forms, see forms.h.
 *
 * Policy:
 *  - A lock that is free is one compare-and-swap, its unlock one subtraction.
 *  - Newcomers may take a free lock ahead of a waiter that was woken for it: no order is promised.
 *    But nobody starves: a waiter that was woken AMUTEX_LONG_WAIT_WAKES times in vain queues at the
 *    front and keeps everybody else out until it has had the lock.
 *  - New readers wait behind a waiting writer.
 *  - An unlock wakes one writer, or all readers, and nobody while a wake-up is under way.
 *  - A cancelled waiter that was woken passes the wake-up on.
 *
 * The state word is exactly 0 when the mutex is idle. Its bits are public for tests and dumps.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "exec/future.h"
#include "exec/timeout.h"
#include "sync/forms.h"
#include "sync/waiter.h"

enum amutex_mode { AMUTEX_SHARED, AMUTEX_EXCLUSIVE };

#define AMUTEX_LOCKED           1UL   /* held exclusively */
#define AMUTEX_HAS_WAITERS      2UL   /* the list is not empty */
#define AMUTEX_DESIGNATED_WAKER 4UL   /* a waiter was woken and has not run yet: wake nobody else */
#define AMUTEX_SPINLOCK         8UL   /* guards the list */
#define AMUTEX_WRITER_WAITING   16UL  /* a writer waits or was woken: new readers queue */
#define AMUTEX_LONG_WAIT        32UL  /* one waiter has precedence: everybody else queues */
#define AMUTEX_READER           256UL /* the count of readers is what is above */
#define AMUTEX_READERS          (~(AMUTEX_READER - 1))

enum { AMUTEX_LONG_WAIT_WAKES = 19 };

struct amutex_compact {
    atomic_ulong state;      /* private: bits as above */
    struct waitlist waiters; /* private: guarded by AMUTEX_SPINLOCK */
};

SYNC_FORMS(amutex);

_Static_assert(sizeof(struct amutex_compact) == 16, "a word and the head of a list");

/* A future: to be finished or cancelled before its frame goes. */
struct amutex_lock {
    struct waiter waiter;         /* private */
    struct amutex_compact *mutex; /* private */
    uint8_t mode;                 /* private: enum amutex_mode */
    uint8_t wake_count;           /* private: woken in vain, up to AMUTEX_LONG_WAIT_WAKES */
    bool is_long;                 /* private: AMUTEX_LONG_WAIT is ours */
    int32_t result;               /* once poll is true: 0, the lock is ours; -ECANCELED */
};

/* Any thread. Never waits. Fails also while a waiter has precedence (LONG_WAIT), and in shared mode
 * while a writer waits. */
must_check static inline bool amutex_try_lock(union amutex_ref mutex, enum amutex_mode mode);
/* Any thread or task: not only the one that took the lock. `mode` is that of the lock. */
static inline void amutex_unlock(union amutex_ref mutex, enum amutex_mode mode);

/* The thread of the task's executor, as all of the future. Begins; the first poll tries the lock.
 */
static inline void amutex_lock_start(struct amutex_lock *lock, struct task *task,
                                     union amutex_ref mutex, enum amutex_mode mode);
/* True: finished. The lock is taken in here and nowhere else. */
must_check static inline bool amutex_lock_poll(struct amutex_lock *lock);
/* Finishes at once: poll is true, and result -ECANCELED. A no-op when finished already; the lock
 * then stays the caller's. */
void amutex_lock_cancel(struct amutex_lock *lock);
struct future amutex_lock_future(struct amutex_lock *lock);

/* A lock raced against a timer; the same calls. */
struct amutex_lock_timeout {
    struct amutex_lock lock; /* private */
    struct timeout timeout;  /* private */
    int32_t result;          /* once poll is true: 0, the lock is ours; -ETIMEDOUT, -ECANCELED */
};

/* A lock that is free is taken whatever the deadline, which is in CLOCK_MONOTONIC. */
void amutex_lock_timeout_start(struct amutex_lock_timeout *timed, struct task *task,
                               union amutex_ref mutex, enum amutex_mode mode, uint64_t deadline_ns);
must_check bool amutex_lock_timeout_poll(struct amutex_lock_timeout *timed);
void amutex_lock_timeout_cancel(struct amutex_lock_timeout *timed);
struct future amutex_lock_timeout_future(struct amutex_lock_timeout *timed);

/* Plain threads, never one that runs an executor: the task that would unlock may be its own. */
static inline void amutex_lock_blocking(union amutex_ref mutex, enum amutex_mode mode);
/* 0 or -ETIMEDOUT. */
must_check int amutex_lock_blocking_until(union amutex_ref mutex, enum amutex_mode mode,
                                          uint64_t deadline_ns);

/* ---- inline ---- */

/* Private: what the inline functions leave to amutex.c. */
bool amutex_try_lock_contended(struct amutex_compact *mutex, enum amutex_mode mode);
bool amutex_lock_poll_contended(struct amutex_lock *lock);
void amutex_lock_blocking_contended(struct amutex_compact *mutex, enum amutex_mode mode);
void amutex_unlock_contended(struct amutex_compact *mutex, enum amutex_mode mode,
                             unsigned long old);

static inline unsigned long amutex_unit(enum amutex_mode mode)
{
    return mode == AMUTEX_EXCLUSIVE ? AMUTEX_LOCKED : AMUTEX_READER;
}

/* An idle mutex: all that is needed when it is not contended. */
static inline bool amutex_try_idle(struct amutex_compact *mutex, enum amutex_mode mode)
{
    unsigned long idle = 0;

    /* Acquire: pairs with the release in amutex_unlock. */
    return likely(atomic_compare_exchange_strong_explicit(
        &mutex->state, &idle, amutex_unit(mode), memory_order_acquire, memory_order_relaxed));
}

static inline bool amutex_try_lock(union amutex_ref mutex, enum amutex_mode mode)
{
    return amutex_try_idle(mutex.compact, mode) || amutex_try_lock_contended(mutex.compact, mode);
}

static inline void amutex_unlock(union amutex_ref mutex, enum amutex_mode mode)
{
    /* Release: what was done under the lock is visible to whoever takes it next. The changes of
     * other bits in between are read-modify-writes too, and so continue the release sequence. */
    unsigned long old =
        atomic_fetch_sub_explicit(&mutex.compact->state, amutex_unit(mode), memory_order_release);

    if (unlikely(old != amutex_unit(mode)))
        amutex_unlock_contended(mutex.compact, mode, old);
}

static inline void amutex_lock_start(struct amutex_lock *lock, struct task *task,
                                     union amutex_ref mutex, enum amutex_mode mode)
{
    waiter_init(&lock->waiter, task);
    lock->mutex = mutex.compact;
    lock->mode = (uint8_t)mode;
    lock->wake_count = 0;
    lock->is_long = false;
    lock->result = 0;
}

static inline bool amutex_lock_poll(struct amutex_lock *lock)
{
    if (likely(waiter_status(&lock->waiter) == WAITER_START &&
               amutex_try_idle(lock->mutex, (enum amutex_mode)lock->mode))) {
        waiter_finish(&lock->waiter);
        return true;
    }
    return amutex_lock_poll_contended(lock);
}

static inline void amutex_lock_blocking(union amutex_ref mutex, enum amutex_mode mode)
{
    if (!amutex_try_idle(mutex.compact, mode))
        amutex_lock_blocking_contended(mutex.compact, mode);
}
