#include "sync/waiter.h"

#include <errno.h>

#include "base/check.h"

static void hold_task(struct waiter *waiter)
{
    if (!waiter->task)
        return;
    CHECK_CMP(waiter->task->in_flight, <, UINT16_MAX);
    waiter->task->in_flight++;
}

static void release_task(struct waiter *waiter)
{
    if (waiter->task)
        waiter->task->in_flight--;
}

void waitlist_push_after(struct waitlist *list, struct waiter *position, struct waiter *waiter)
{
    hold_task(waiter);
    if (position) {
        waiter->prev = position;
        waiter->next = position->next;
        position->next->prev = waiter;
        position->next = waiter;
    } else {
        waiter->next = waiter->prev = waiter;
        list->first = waiter;
    }
    atomic_store_explicit(&waiter->status, WAITER_QUEUED, memory_order_relaxed);
}

void waitlist_push_back(struct waitlist *list, struct waiter *waiter)
{
    waitlist_push_after(list, list->first ? list->first->prev : NULL, waiter);
}

void waitlist_push_front(struct waitlist *list, struct waiter *waiter)
{
    waitlist_push_back(list, waiter);
    list->first = waiter;
}

void waitlist_remove(struct waitlist *list, struct waiter *waiter)
{
    if (waiter->next == waiter) {
        list->first = NULL;
        return;
    }
    waiter->prev->next = waiter->next;
    waiter->next->prev = waiter->prev;
    if (list->first == waiter)
        list->first = waiter->next;
}

void wave_take(struct wave *wave, struct waitlist *list, struct waiter *waiter)
{
    waitlist_remove(list, waiter);
    atomic_store_explicit(&waiter->status, WAITER_WAKING, memory_order_relaxed);
    waiter->next = NULL;
    if (wave->last)
        wave->last->next = waiter;
    else
        wave->first = waiter;
    wave->last = waiter;
}

static void wake_task(struct waiter *waiter)
{
    struct executor *executor = task_wake_begin(waiter->task);

    /* Release: pairs with the acquire in waiter_take_wake and waiter_leave. What was given to the
     * waiter is visible, and all that the waker did to the frame is over. */
    atomic_store_explicit(&waiter->status, WAITER_WOKEN, memory_order_release);
    if (executor)
        task_wake_finish(executor);
}

static void wake_thread(struct waiter *waiter)
{
    /* Release: pairs with the acquire in waiter_park. The thread may see it without being woken,
     * and leave: of a futex only the address counts. */
    atomic_store_explicit(&waiter->status, WAITER_WOKEN, memory_order_release);
    futex_wake(&waiter->status, 1);
}

void wave_wake(const struct wave *wave)
{
    struct waiter *next;

    for (struct waiter *waiter = wave->first; waiter; waiter = next) {
        next = waiter->next;
        if (waiter->task)
            wake_task(waiter);
        else
            wake_thread(waiter);
    }
}

bool waiter_take_wake(struct waiter *waiter)
{
    /* See wake_task. */
    unsigned status = atomic_load_explicit(&waiter->status, memory_order_acquire);

    if (status == WAITER_WAKING && waiter->task)
        task_wake(waiter->task);
    if (status != WAITER_WOKEN)
        return false;
    release_task(waiter);
    return true;
}

bool waiter_poll(struct waiter *waiter, bool (*take_or_queue)(struct waiter *waiter))
{
    switch (waiter_status(waiter)) {
    case WAITER_DONE:
        return true;
    case WAITER_START:
        if (!take_or_queue(waiter))
            return false;
        break;
    default:
        if (!waiter_take_wake(waiter))
            return false;
    }
    waiter_finish(waiter);
    return true;
}

bool waiter_begin_cancel(struct waiter *waiter, int32_t *result)
{
    enum waiter_status status = waiter_status(waiter);

    if (status == WAITER_DONE)
        return false;
    *result = -ECANCELED;
    if (status != WAITER_START)
        return true;
    waiter_finish(waiter);
    return false;
}

bool waiter_park(struct waiter *waiter, uint64_t deadline_ns)
{
    bool in_time = true;

    for (;;) {
        /* See wake_thread. */
        unsigned status = atomic_load_explicit(&waiter->status, memory_order_acquire);

        if (status == WAITER_WOKEN || !in_time)
            return status == WAITER_WOKEN;
        in_time = futex_wait(&waiter->status, status, deadline_ns);
    }
}

int waiter_block(struct waiter *waiter, struct future future, const int32_t *result,
                 uint64_t deadline_ns)
{
    while (!future_poll(future))
        if (!waiter_park(waiter, deadline_ns))
            future_cancel(future);
    return *result == -ECANCELED ? -ETIMEDOUT : *result;
}

void waiter_leave(struct waiter *waiter)
{
    /* See wake_task. */
    while (atomic_load_explicit(&waiter->status, memory_order_acquire) == WAITER_WAKING)
        cpu_relax();
    release_task(waiter);
    waiter_finish(waiter);
}

unsigned long state_lock(atomic_ulong *state)
{
    unsigned long old = atomic_load_explicit(state, memory_order_relaxed);

    for (;;) {
        if (old & STATE_SPINLOCK) {
            cpu_relax();
            old = atomic_load_explicit(state, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(state, &old, old | STATE_SPINLOCK,
                                                         memory_order_acquire,
                                                         memory_order_relaxed)) {
            return old;
        }
    }
}
