/*
 * Counting semaphore between tasks and plain threads: a number of permits, taken and given back in
 * any quantity.
 *
 *     semaphore_acquire_start(&frame->acquire, task, &pool->slots, 2);
 *     AWAIT(task, SLOTS, semaphore_acquire_poll(&frame->acquire));
 *     ...
 *     semaphore_release(&pool->slots, 2);
 *
 * A zeroed semaphore has no permits. It may go when nobody waits and the last release has returned.
 * Two forms, see forms.h.
 *
 * Policy: permits that are free are taken by one compare-and-swap, and given back by one while
 * nobody waits. Strictly first come, first served. Who wants many is not overtaken by those who
 * want few, and nobody takes permits while others wait. Permits are given to the waiter together
 * with its wake-up; one that is cancelled gives them back.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "exec/future.h"
#include "sync/forms.h"
#include "sync/waiter.h"

/* Of one semaphore at a time (asserted). */
#define SEMAPHORE_PERMITS_MAX (1UL << 32)

struct semaphore_compact {
    atomic_ulong state;      /* private: STATE_SPINLOCK, STATE_HAS_WAITERS, permits above */
    struct waitlist waiters; /* private: guarded by STATE_SPINLOCK */
};

SYNC_FORMS(semaphore);

/* A future. */
struct semaphore_acquire {
    struct waiter waiter;                /* private */
    struct semaphore_compact *semaphore; /* private */
    uint32_t permits;                    /* private */
    int32_t result;                      /* once poll is true: 0, they are ours; -ECANCELED */
};

/* Before anybody else knows the semaphore. */
void semaphore_init(union semaphore_ref semaphore, unsigned long permits);
/* Any thread; a hint. */
unsigned long semaphore_permits(union semaphore_ref semaphore);

/* Any thread or task: not only those that took them. */
static inline void semaphore_release(union semaphore_ref semaphore, uint32_t permits);
/* Any thread. Never waits; all or nothing. */
must_check static inline bool semaphore_try_acquire(union semaphore_ref semaphore,
                                                    uint32_t permits);

/* The thread of the task's executor, as all of the future. The first poll tries. */
static inline void semaphore_acquire_start(struct semaphore_acquire *acquire, struct task *task,
                                           union semaphore_ref semaphore, uint32_t permits);
must_check static inline bool semaphore_acquire_poll(struct semaphore_acquire *acquire);
/* Finishes at once, without permits. A no-op when finished already; they are the caller's then. */
void semaphore_acquire_cancel(struct semaphore_acquire *acquire);
struct future semaphore_acquire_future(struct semaphore_acquire *acquire);

/* Plain threads, never one that runs an executor. */
void semaphore_acquire_blocking(union semaphore_ref semaphore, uint32_t permits);
/* 0 or -ETIMEDOUT; CLOCK_MONOTONIC. */
must_check int semaphore_acquire_blocking_until(union semaphore_ref semaphore, uint32_t permits,
                                                uint64_t deadline_ns);

/* ---- inline ---- */

/* Private: the count of permits in the state word, and what the inline functions leave to
 * semaphore.c. */
enum { SEMAPHORE_PERMITS_SHIFT = 2 };
bool semaphore_try_acquire_contended(struct semaphore_compact *semaphore, uint32_t permits);
bool semaphore_acquire_poll_contended(struct semaphore_acquire *acquire);
void semaphore_release_contended(struct semaphore_compact *semaphore, uint32_t permits);

/* There are enough, and nobody waits for them: one compare-and-swap is all. */
static inline bool semaphore_try_free(struct semaphore_compact *semaphore, uint32_t permits)
{
    const unsigned long units = (unsigned long)permits << SEMAPHORE_PERMITS_SHIFT;
    unsigned long old = atomic_load_explicit(&semaphore->state, memory_order_relaxed);

    while (likely(!(old & (STATE_SPINLOCK | STATE_HAS_WAITERS)) && old >= units))
        /* Acquire: pairs with the release in semaphore_release. */
        if (likely(atomic_compare_exchange_weak_explicit(
                &semaphore->state, &old, old - units, memory_order_acquire, memory_order_relaxed)))
            return true;
    return false;
}

static inline bool semaphore_try_acquire(union semaphore_ref semaphore, uint32_t permits)
{
    return semaphore_try_free(semaphore.compact, permits) ||
           semaphore_try_acquire_contended(semaphore.compact, permits);
}

static inline void semaphore_release(union semaphore_ref semaphore, uint32_t permits)
{
    const unsigned long units = (unsigned long)permits << SEMAPHORE_PERMITS_SHIFT;
    const unsigned long room = (SEMAPHORE_PERMITS_MAX << SEMAPHORE_PERMITS_SHIFT) - units;
    unsigned long old = atomic_load_explicit(&semaphore.compact->state, memory_order_relaxed);

    while (likely(!(old & (STATE_SPINLOCK | STATE_HAS_WAITERS)) && old <= room))
        /* Release: pairs with the acquire of who takes them. */
        if (likely(atomic_compare_exchange_weak_explicit(&semaphore.compact->state, &old,
                                                         old + units, memory_order_release,
                                                         memory_order_relaxed)))
            return;
    semaphore_release_contended(semaphore.compact, permits);
}

static inline void semaphore_acquire_start(struct semaphore_acquire *acquire, struct task *task,
                                           union semaphore_ref semaphore, uint32_t permits)
{
    waiter_init(&acquire->waiter, task);
    acquire->semaphore = semaphore.compact;
    acquire->permits = permits;
    acquire->result = 0;
}

static inline bool semaphore_acquire_poll(struct semaphore_acquire *acquire)
{
    if (likely(waiter_status(&acquire->waiter) == WAITER_START &&
               semaphore_try_free(acquire->semaphore, acquire->permits))) {
        waiter_finish(&acquire->waiter);
        return true;
    }
    return semaphore_acquire_poll_contended(acquire);
}
