#include "sync/amutex.h"

#include <errno.h>

#include "base/check.h"

/* What keeps a newcomer out. */
static unsigned long refusing_bits(enum amutex_mode mode)
{
    return mode == AMUTEX_EXCLUSIVE ? AMUTEX_LOCKED | AMUTEX_READERS | AMUTEX_LONG_WAIT
                                    : AMUTEX_LOCKED | AMUTEX_WRITER_WAITING | AMUTEX_LONG_WAIT;
}

bool amutex_try_lock_contended(struct amutex_compact *mutex, enum amutex_mode mode)
{
    unsigned long old = atomic_load_explicit(&mutex->state, memory_order_relaxed);

    while (!(old & refusing_bits(mode)))
        /* Acquire: as in amutex_try_idle. */
        if (atomic_compare_exchange_weak_explicit(&mutex->state, &old, old + amutex_unit(mode),
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static struct amutex_lock *lock_of(struct waiter *waiter)
{
    return container_of(waiter, struct amutex_lock, waiter);
}

/* Under the spinlock. */
static void push_waiter(struct amutex_lock *lock)
{
    struct waitlist *waiters = &lock->mutex->waiters;

    if (lock->wake_count < AMUTEX_LONG_WAIT_WAKES)
        waitlist_push_back(waiters, &lock->waiter);
    else if (waiters->first && lock_of(waiters->first)->is_long)
        /* Ahead of the one that has precedence it would only take its wake-ups. */
        waitlist_push_after(waiters, waiters->first, &lock->waiter);
    else
        waitlist_push_front(waiters, &lock->waiter);
}

/*
 * Takes the lock, which is true, or queues. A waiter that was woken clears DESIGNATED_WAKER either
 * way: if it queues again then somebody holds the lock who will see that on unlocking, or a waiter
 * with precedence is woken and will.
 */
static bool take_or_queue(struct amutex_lock *lock)
{
    const enum amutex_mode mode = (enum amutex_mode)lock->mode;
    const bool was_woken = lock->wake_count > 0;
    atomic_ulong *const state = &lock->mutex->state;
    unsigned long old = atomic_load_explicit(state, memory_order_relaxed);
    unsigned long refusing = refusing_bits(mode), clear = 0;

    if (was_woken) {
        refusing &= ~AMUTEX_WRITER_WAITING;
        clear = AMUTEX_DESIGNATED_WAKER;
    }
    if (lock->is_long)
        refusing &= ~AMUTEX_LONG_WAIT;
    for (;;) {
        unsigned long new;

        if (!(old & refusing)) {
            new = (old + amutex_unit(mode)) & ~clear;
            /* No writer is in the empty list, and the one that was woken is us. */
            if (was_woken && !(old & AMUTEX_HAS_WAITERS))
                new &= ~AMUTEX_WRITER_WAITING;
            if (lock->is_long)
                new &= ~AMUTEX_LONG_WAIT;
            /* Acquire: as in amutex_try_idle. */
            if (atomic_compare_exchange_weak_explicit(state, &old, new, memory_order_acquire,
                                                      memory_order_relaxed))
                return true;
        } else if (!(old & AMUTEX_SPINLOCK)) {
            bool becomes_long =
                lock->wake_count == AMUTEX_LONG_WAIT_WAKES && !(old & AMUTEX_LONG_WAIT);

            new = (old & ~clear) | AMUTEX_SPINLOCK | AMUTEX_HAS_WAITERS;
            if (mode == AMUTEX_EXCLUSIVE)
                new |= AMUTEX_WRITER_WAITING;
            if (becomes_long)
                new |= AMUTEX_LONG_WAIT;
            /* Acquire: the list as the last holder of the spinlock left it. */
            if (atomic_compare_exchange_weak_explicit(state, &old, new, memory_order_acquire,
                                                      memory_order_relaxed)) {
                lock->is_long |= becomes_long;
                break;
            }
        } else {
            cpu_relax();
            old = atomic_load_explicit(state, memory_order_relaxed);
        }
    }
    push_waiter(lock);
    /* Release: pairs with every acquisition of the spinlock. */
    atomic_fetch_and_explicit(state, ~AMUTEX_SPINLOCK, memory_order_release);
    return false;
}

bool amutex_lock_poll_contended(struct amutex_lock *lock)
{
    switch (waiter_status(&lock->waiter)) {
    case WAITER_DONE:
        return true;
    case WAITER_START:
        break;
    default:
        if (!waiter_take_wake(&lock->waiter))
            return false;
        if (lock->wake_count < AMUTEX_LONG_WAIT_WAKES)
            lock->wake_count++;
    }
    if (!take_or_queue(lock))
        return false;
    waiter_finish(&lock->waiter);
    return true;
}

static bool is_exclusive(struct waiter *waiter)
{
    return lock_of(waiter)->mode == AMUTEX_EXCLUSIVE;
}

/* In the list, beside `waiter`. Writers that give up one after the other are close to each other:
 * looks to both sides, so that a crowd of readers between them and the first is not in the way. */
static bool has_other_writer(struct waiter *waiter)
{
    struct waiter *after = waiter->next, *before = waiter->prev;

    for (; after != waiter; after = after->next, before = before->prev) {
        if (is_exclusive(after) || is_exclusive(before))
            return true;
        /* They have met. */
        if (after == before || after->next == before)
            break;
    }
    return false;
}

/* Under the spinlock: who is woken next. Returns which bits of the state are no longer true. */
static unsigned long take_wave(struct amutex_compact *mutex, struct wave *wave)
{
    struct waitlist *waiters = &mutex->waiters;
    struct waiter *waiter = waiters->first, *next;
    bool writer_waits = false;

    if (waiter && is_exclusive(waiter)) {
        wave_take(wave, waiters, waiter);
        writer_waits = true;
    } else {
        for (; waiter; waiter = next) {
            next = waitlist_next(waiters, waiter);
            if (is_exclusive(waiter))
                writer_waits = true;
            else
                wave_take(wave, waiters, waiter);
        }
    }
    return (waitlist_is_empty(waiters) ? AMUTEX_HAS_WAITERS : 0) |
           (writer_waits ? 0 : AMUTEX_WRITER_WAITING);
}

/* Unlocked: wakes somebody if there are waiters and nobody was woken yet. */
static void wake_next(struct amutex_compact *mutex)
{
    unsigned long old = atomic_load_explicit(&mutex->state, memory_order_relaxed);
    struct wave wave = {0};
    unsigned long clear;

    for (;;) {
        if (!(old & AMUTEX_HAS_WAITERS) || (old & AMUTEX_DESIGNATED_WAKER))
            return;
        if (old & AMUTEX_SPINLOCK) {
            cpu_relax();
            old = atomic_load_explicit(&mutex->state, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(
                       &mutex->state, &old, old | AMUTEX_SPINLOCK | AMUTEX_DESIGNATED_WAKER,
                       memory_order_acquire, memory_order_relaxed)) {
            break;
        }
    }
    clear = take_wave(mutex, &wave);
    atomic_fetch_and_explicit(&mutex->state, ~(clear | AMUTEX_SPINLOCK), memory_order_release);
    wave_wake(&wave);
}

void amutex_unlock_contended(struct amutex_compact *mutex, enum amutex_mode mode, unsigned long old)
{
    if (mode == AMUTEX_EXCLUSIVE)
        CHECK(old & AMUTEX_LOCKED);
    else
        CHECK_CMP(old & AMUTEX_READERS, !=, 0UL);
    if (mode == AMUTEX_EXCLUSIVE || (old & AMUTEX_READERS) == AMUTEX_READER)
        wake_next(mutex);
}

static void lock_list(struct amutex_compact *mutex)
{
    unsigned long old = atomic_load_explicit(&mutex->state, memory_order_relaxed);

    for (;;) {
        if (old & AMUTEX_SPINLOCK) {
            cpu_relax();
            old = atomic_load_explicit(&mutex->state, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(&mutex->state, &old, old | AMUTEX_SPINLOCK,
                                                         memory_order_acquire,
                                                         memory_order_relaxed)) {
            return;
        }
    }
}

/* Not yet woken: it only leaves the list. Unlocks it. */
static void leave_list(struct amutex_lock *lock)
{
    struct amutex_compact *mutex = lock->mutex;
    unsigned long clear = AMUTEX_SPINLOCK, old, new;
    bool no_writer = lock->mode == AMUTEX_EXCLUSIVE && !has_other_writer(&lock->waiter);

    waitlist_remove(&mutex->waiters, &lock->waiter);
    if (waitlist_is_empty(&mutex->waiters)) {
        clear |= AMUTEX_HAS_WAITERS;
        no_writer = true;
    }
    if (lock->is_long)
        clear |= AMUTEX_LONG_WAIT;
    old = atomic_load_explicit(&mutex->state, memory_order_relaxed);
    do {
        new = old & ~clear;
        /* The writer may be the one that was woken: then it clears the bit when it has the lock. */
        if (no_writer && !(old & AMUTEX_DESIGNATED_WAKER))
            new &= ~AMUTEX_WRITER_WAITING;
    } while (!atomic_compare_exchange_weak_explicit(&mutex->state, &old, new, memory_order_release,
                                                    memory_order_relaxed));
}

/* Woken, and will not use it: somebody else is. Unlocks the list. */
static void pass_wake_on(struct amutex_lock *lock)
{
    struct amutex_compact *mutex = lock->mutex;
    struct wave wave = {0};
    unsigned long clear = take_wave(mutex, &wave) | AMUTEX_SPINLOCK;
    unsigned long set = 0, old;

    if (lock->is_long)
        clear |= AMUTEX_LONG_WAIT;
    if (wave_is_empty(&wave))
        clear |= AMUTEX_DESIGNATED_WAKER;
    else
        set = AMUTEX_DESIGNATED_WAKER;
    old = atomic_load_explicit(&mutex->state, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&mutex->state, &old, (old & ~clear) | set,
                                                  memory_order_release, memory_order_relaxed))
        ;
    wave_wake(&wave);
}

void amutex_lock_cancel(struct amutex_lock *lock)
{
    if (!waiter_begin_cancel(&lock->waiter, &lock->result))
        return;
    lock_list(lock->mutex);
    /* Again: only under the spinlock is it certain. */
    if (waiter_status(&lock->waiter) == WAITER_QUEUED)
        leave_list(lock);
    else
        pass_wake_on(lock);
    waiter_leave(&lock->waiter);
}

int amutex_lock_blocking_until(union amutex_ref mutex, enum amutex_mode mode, uint64_t deadline_ns)
{
    struct amutex_lock lock;

    amutex_lock_start(&lock, NULL, mutex, mode);
    return waiter_block(&lock.waiter, amutex_lock_future(&lock), &lock.result, deadline_ns);
}

void amutex_lock_blocking_contended(struct amutex_compact *mutex, enum amutex_mode mode)
{
    int ret =
        amutex_lock_blocking_until((union amutex_ref){.compact = mutex}, mode, FUTEX_NO_DEADLINE);

    CHECK_CMP(ret, ==, 0);
}

void amutex_lock_timeout_start(struct amutex_lock_timeout *timed, struct task *task,
                               union amutex_ref mutex, enum amutex_mode mode, uint64_t deadline_ns)
{
    amutex_lock_start(&timed->lock, task, mutex, mode);
    timeout_start(&timed->timeout, task, amutex_lock_future(&timed->lock), deadline_ns);
    timed->result = 0;
}

bool amutex_lock_timeout_poll(struct amutex_lock_timeout *timed)
{
    if (!timeout_poll(&timed->timeout))
        return false;
    timed->result = timeout_has_expired(&timed->timeout) ? -ETIMEDOUT : timed->lock.result;
    return true;
}

void amutex_lock_timeout_cancel(struct amutex_lock_timeout *timed)
{
    timeout_cancel(&timed->timeout);
}

DEFINE_FUTURE(amutex_lock);
DEFINE_FUTURE(amutex_lock_timeout);
