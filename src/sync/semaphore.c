#include "sync/semaphore.h"

#include "base/check.h"

enum { PERMITS_SHIFT = 2 };

static unsigned long permits_of(unsigned long state)
{
    return state >> PERMITS_SHIFT;
}

static struct semaphore_acquire *acquire_of(struct waiter *waiter)
{
    return container_of(waiter, struct semaphore_acquire, waiter);
}

void semaphore_init(union semaphore_ref semaphore, unsigned long permits)
{
    CHECK_CMP(permits, <=, SEMAPHORE_PERMITS_MAX);
    *semaphore.compact = (struct semaphore_compact){0};
    atomic_init(&semaphore.compact->state, permits << PERMITS_SHIFT);
}

unsigned long semaphore_permits(union semaphore_ref semaphore)
{
    return permits_of(atomic_load_explicit(&semaphore.compact->state, memory_order_relaxed));
}

static void unlock(struct semaphore_compact *semaphore, unsigned long permits)
{
    state_unlock(&semaphore->state,
                 (permits << PERMITS_SHIFT) |
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

void semaphore_release(union semaphore_ref ref, uint32_t permits)
{
    struct semaphore_compact *const semaphore = ref.compact;
    unsigned long old = atomic_load_explicit(&semaphore->state, memory_order_relaxed);
    struct wave wave = {0};

    while (!(old & (STATE_SPINLOCK | STATE_HAS_WAITERS))) {
        CHECK_CMP(permits_of(old) + permits, <=, SEMAPHORE_PERMITS_MAX);
        /* Release: pairs with the acquire of who takes them. */
        if (atomic_compare_exchange_weak_explicit(&semaphore->state, &old,
                                                  old + ((unsigned long)permits << PERMITS_SHIFT),
                                                  memory_order_release, memory_order_relaxed))
            return;
    }
    old = state_lock(&semaphore->state);
    CHECK_CMP(permits_of(old) + permits, <=, SEMAPHORE_PERMITS_MAX);
    unlock(semaphore, grant(semaphore, permits_of(old) + permits, &wave));
    wave_wake(&wave);
}

/* Takes them unless there are too few, somebody waits, or the word is locked: `old` says which. */
static bool try_unlocked(struct semaphore_compact *semaphore, uint32_t permits, unsigned long *old)
{
    *old = atomic_load_explicit(&semaphore->state, memory_order_relaxed);
    while (!(*old & (STATE_SPINLOCK | STATE_HAS_WAITERS)) && permits_of(*old) >= permits)
        /* Acquire: pairs with the release in semaphore_release. */
        if (atomic_compare_exchange_weak_explicit(&semaphore->state, old,
                                                  *old - ((unsigned long)permits << PERMITS_SHIFT),
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

/* `acquire`: queues if need be; NULL: fails instead. */
static bool take_or_else(struct semaphore_compact *semaphore, uint32_t permits,
                         struct semaphore_acquire *acquire)
{
    unsigned long old;
    bool taken;

    if (try_unlocked(semaphore, permits, &old))
        return true;
    if (!acquire && !(old & STATE_SPINLOCK))
        return false;
    old = state_lock(&semaphore->state);
    taken = !(old & STATE_HAS_WAITERS) && permits_of(old) >= permits;
    if (!taken && acquire)
        waitlist_push_back(&semaphore->waiters, &acquire->waiter);
    unlock(semaphore, permits_of(old) - (taken ? permits : 0));
    return taken;
}

bool semaphore_try_acquire(union semaphore_ref semaphore, uint32_t permits)
{
    return take_or_else(semaphore.compact, permits, NULL);
}

void semaphore_acquire_start(struct semaphore_acquire *acquire, struct task *task,
                             union semaphore_ref semaphore, uint32_t permits)
{
    waiter_init(&acquire->waiter, task);
    acquire->semaphore = semaphore.compact;
    acquire->permits = permits;
    acquire->result = 0;
}

static bool take_or_queue(struct waiter *waiter)
{
    struct semaphore_acquire *acquire = acquire_of(waiter);

    return take_or_else(acquire->semaphore, acquire->permits, acquire);
}

bool semaphore_acquire_poll(struct semaphore_acquire *acquire)
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
