#include "sync/semaphore.h"

#include "base/check.h"

static unsigned long permits_of(unsigned long state)
{
    return state >> SEMAPHORE_PERMITS_SHIFT;
}

static struct semaphore_acquire *acquire_of(struct waiter *waiter)
{
    return container_of(waiter, struct semaphore_acquire, waiter);
}

void semaphore_init(union semaphore_ref semaphore, unsigned long permits)
{
    CHECK_CMP(permits, <=, SEMAPHORE_PERMITS_MAX);
    *semaphore.compact = (struct semaphore_compact){0};
    atomic_init(&semaphore.compact->state, permits << SEMAPHORE_PERMITS_SHIFT);
}

unsigned long semaphore_permits(union semaphore_ref semaphore)
{
    return permits_of(atomic_load_explicit(&semaphore.compact->state, memory_order_relaxed));
}

static void unlock(struct semaphore_compact *semaphore, unsigned long permits)
{
    state_unlock(&semaphore->state,
                 (permits << SEMAPHORE_PERMITS_SHIFT) |
                     (waitlist_is_empty(&semaphore->waiters) ? 0 : STATE_HAS_WAITERS));
}

/* Under the spinlock: gives to those whose turn it is. Returns what is left. */
static unsigned long grant(struct semaphore_compact *semaphore, unsigned long permits,
                           struct wave *wave)
{
    struct waiter *waiter;

    while ((waiter = semaphore->waiters.first) && acquire_of(waiter)->permits <= permits) {
        permits -= acquire_of(waiter)->permits;
        wave_take(wave, &semaphore->waiters, waiter);
    }
    return permits;
}

void semaphore_release_contended(struct semaphore_compact *semaphore, uint32_t permits)
{
    unsigned long old = state_lock(&semaphore->state);
    struct wave wave = {0};

    CHECK_CMP(permits_of(old) + permits, <=, SEMAPHORE_PERMITS_MAX);
    unlock(semaphore, grant(semaphore, permits_of(old) + permits, &wave));
    wave_wake(&wave);
}

/* `acquire`: queues if need be; NULL: fails instead. */
static bool take_or_else(struct semaphore_compact *semaphore, uint32_t permits,
                         struct semaphore_acquire *acquire)
{
    unsigned long old = state_lock(&semaphore->state);
    bool taken = !(old & STATE_HAS_WAITERS) && permits_of(old) >= permits;

    if (!taken && acquire)
        waitlist_push_back(&semaphore->waiters, &acquire->waiter);
    unlock(semaphore, permits_of(old) - (taken ? permits : 0));
    return taken;
}

bool semaphore_try_acquire_contended(struct semaphore_compact *semaphore, uint32_t permits)
{
    unsigned long old = atomic_load_explicit(&semaphore->state, memory_order_relaxed);

    /* No, as far as can be told without the spinlock. */
    if (!(old & STATE_SPINLOCK) && (old & STATE_HAS_WAITERS || permits_of(old) < permits))
        return false;
    return take_or_else(semaphore, permits, NULL);
}

static bool take_or_queue(struct waiter *waiter)
{
    struct semaphore_acquire *acquire = acquire_of(waiter);

    return take_or_else(acquire->semaphore, acquire->permits, acquire);
}

bool semaphore_acquire_poll_contended(struct semaphore_acquire *acquire)
{
    return waiter_poll(&acquire->waiter, take_or_queue);
}

void semaphore_acquire_cancel(struct semaphore_acquire *acquire)
{
    struct semaphore_compact *const semaphore = acquire->semaphore;
    struct wave wave = {0};
    unsigned long permits;

    if (!waiter_begin_cancel(&acquire->waiter, &acquire->result))
        return;
    permits = permits_of(state_lock(&semaphore->state));
    if (waiter_status(&acquire->waiter) == WAITER_QUEUED)
        waitlist_remove(&semaphore->waiters, &acquire->waiter);
    else
        permits += acquire->permits;
    /* Also when it only left: those behind it may want less. */
    unlock(semaphore, grant(semaphore, permits, &wave));
    wave_wake(&wave);
    waiter_leave(&acquire->waiter);
}

int semaphore_acquire_blocking_until(union semaphore_ref semaphore, uint32_t permits,
                                     uint64_t deadline_ns)
{
    struct semaphore_acquire acquire;

    semaphore_acquire_start(&acquire, NULL, semaphore, permits);
    return waiter_block(&acquire.waiter, semaphore_acquire_future(&acquire), &acquire.result,
                        deadline_ns);
}

void semaphore_acquire_blocking(union semaphore_ref semaphore, uint32_t permits)
{
    int ret = semaphore_acquire_blocking_until(semaphore, permits, FUTEX_NO_DEADLINE);

    CHECK_CMP(ret, ==, 0);
}

DEFINE_FUTURE(semaphore_acquire);
