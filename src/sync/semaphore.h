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
 * Policy: strictly first come, first served. Who wants many is not overtaken by those who want few,
 * and nobody takes permits while others wait. Permits are given to the waiter together with its
 * wake-up; one that is cancelled gives them back.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
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
void semaphore_release(union semaphore_ref semaphore, uint32_t permits);
/* Any thread. Never waits; all or nothing. */
must_check bool semaphore_try_acquire(union semaphore_ref semaphore, uint32_t permits);

/* The thread of the task's executor, as all of the future. The first poll tries. */
void semaphore_acquire_start(struct semaphore_acquire *acquire, struct task *task,
                             union semaphore_ref semaphore, uint32_t permits);
must_check bool semaphore_acquire_poll(struct semaphore_acquire *acquire);
/* Finishes at once, without permits. A no-op when finished already; they are the caller's then. */
void semaphore_acquire_cancel(struct semaphore_acquire *acquire);
struct future semaphore_acquire_future(struct semaphore_acquire *acquire);

/* Plain threads, never one that runs an executor. */
void semaphore_acquire_blocking(union semaphore_ref semaphore, uint32_t permits);
/* 0 or -ETIMEDOUT; CLOCK_MONOTONIC. */
must_check int semaphore_acquire_blocking_until(union semaphore_ref semaphore, uint32_t permits,
                                                uint64_t deadline_ns);
