/*
 * Whoever waits for a primitive of src/sync, a task or a plain thread, and how it is woken. Shared
 * by the primitives; a user only sees that a struct waiter is part of each future.
 *
 * A future goes through
 *
 *     START   nothing happened yet: the first poll takes what it wants, or queues
 *     QUEUED  in the primitive's list
 *     WAKING  off the list, the wake-up is under way
 *     WOKEN   the waker has let go of it
 *     DONE    finished; poll stays true
 *
 * QUEUED and WAKING are written under the primitive's spinlock, so that only there "not yet woken"
 * can be decided. A waker marks those it takes off the list WAKING, wakes them outside the
 * spinlock, and as its last touch of each stores WOKEN. Neither a poll nor a cancel lets the frame
 * go before that: a poll that finds WAKING wakes its task again and stays pending, a cancel spins,
 * for the window is a few instructions without a system call.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/futex.h"
#include "exec/future.h"
#include "exec/task.h"

enum waiter_status { WAITER_START, WAITER_QUEUED, WAITER_WAKING, WAITER_WOKEN, WAITER_DONE };

struct waiter {
    struct waiter *next; /* private: in the list, then in its wave */
    struct waiter *prev; /* private */
    struct task *task;   /* private: NULL: a plain thread, parked on `status` */
    atomic_uint status;  /* private: enum waiter_status */
};

/* Zeroed is empty. Guarded by the spinlock of its primitive. */
struct waitlist {
    struct waiter *first; /* the others hang in a ring */
};

/* Waiters that one action wakes, taken off their list under the spinlock. Zeroed is empty. */
struct wave {
    struct waiter *first;
    struct waiter *last;
};

static inline void waiter_init(struct waiter *waiter, struct task *task)
{
    waiter->task = task;
    atomic_store_explicit(&waiter->status, WAITER_START, memory_order_relaxed);
}

/* Relaxed: what the waiter's own thread wrote, or for others a look under the spinlock. */
static inline enum waiter_status waiter_status(const struct waiter *waiter)
{
    return (enum waiter_status)atomic_load_explicit(&waiter->status, memory_order_relaxed);
}

static inline void waiter_finish(struct waiter *waiter)
{
    atomic_store_explicit(&waiter->status, WAITER_DONE, memory_order_relaxed);
}

/*
 * Under the spinlock, by the waiter itself. The task is not done before waiter_take_wake or
 * waiter_leave (asserted by the executor, like a timer that is armed).
 */
void waitlist_push_back(struct waitlist *list, struct waiter *waiter);
void waitlist_push_front(struct waitlist *list, struct waiter *waiter);
/* `position` is in the list. */
void waitlist_push_after(struct waitlist *list, struct waiter *position, struct waiter *waiter);
void waitlist_remove(struct waitlist *list, struct waiter *waiter);

static inline bool waitlist_is_empty(const struct waitlist *list)
{
    return !list->first;
}

/* The one behind `waiter`, NULL at the end. */
static inline struct waiter *waitlist_next(const struct waitlist *list, const struct waiter *waiter)
{
    return waiter->next == list->first ? NULL : waiter->next;
}

/* Under the spinlock: moves `waiter` from its list to the end of the wave. */
void wave_take(struct wave *wave, struct waitlist *list, struct waiter *waiter);
/* Outside the spinlock; once. */
void wave_wake(const struct wave *wave);

static inline bool wave_is_empty(const struct wave *wave)
{
    return !wave->first;
}

/* For poll, of a waiter that has been queued: true when it has been woken, which is taken note of
 * once: from here on it may queue again or finish. */
must_check bool waiter_take_wake(struct waiter *waiter);
/* All of a poll, for who gets what it waits for together with its wake-up. `take_or_queue` is the
 * first attempt: true, or the waiter is in a list. */
must_check bool waiter_poll(struct waiter *waiter, bool (*take_or_queue)(struct waiter *waiter));
/* The begin of a cancel. True: the waiter may be in a list; take it off, or undo its wake-up, then
 * waiter_leave. False: there is nothing left to do. */
must_check bool waiter_begin_cancel(struct waiter *waiter, int32_t *result);
/*
 * For a plain thread whose poll was false: sleeps until woken, which the next poll then finds.
 * False: the deadline has passed; the waiter is still queued, or woken, cancel it.
 */
must_check bool waiter_park(struct waiter *waiter, uint64_t deadline_ns);
/* All of a blocking call: polls and parks until finished, or cancels when the deadline has passed.
 * Returns what `result` holds then, -ETIMEDOUT for -ECANCELED. */
must_check int waiter_block(struct waiter *waiter, struct future future, const int32_t *result,
                            uint64_t deadline_ns);
/* For cancel, outside the spinlock, off the list by now: waits until a waker has let go. The waiter
 * is DONE. */
void waiter_leave(struct waiter *waiter);

/*
 * The spinlock, a bit of the primitive's state word. Only its holder writes the word, so that
 * unlocking is a store. Bits and their use are the same in all primitives but the mutex.
 */
enum { STATE_SPINLOCK = 1, STATE_HAS_WAITERS = 2 };

/* The word as it was, without the bit. */
unsigned long state_lock(atomic_ulong *state);

static inline void state_unlock(atomic_ulong *state, unsigned long value)
{
    /* Pairs with the acquire in state_lock, and in what the primitives do without the spinlock. */
    atomic_store_explicit(state, value, memory_order_release);
}
