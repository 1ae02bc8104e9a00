#include "sync/once.h"

#include "base/check.h"

static struct once_enter *enter_of(struct waiter *waiter)
{
    return container_of(waiter, struct once_enter, waiter);
}

void once_complete(union once_ref ref)
{
    struct once_compact *const once = ref.compact;
    unsigned long old = state_lock(&once->state);
    struct wave wave = {0};

    CHECK(old & ONCE_RUNNING);
    while (!waitlist_is_empty(&once->waiters))
        wave_take(&wave, &once->waiters, once->waiters.first);
    state_unlock(&once->state, ONCE_COMPLETE);
    wave_wake(&wave);
}

/* Under the spinlock, which it releases: the next one is the initialiser. */
static void hand_on(struct once_compact *once)
{
    struct waiter *next = once->waiters.first;
    struct wave wave = {0};

    if (!next) {
        state_unlock(&once->state, 0);
        return;
    }
    wave_take(&wave, &once->waiters, next);
    enter_of(next)->is_initialiser = true;
    state_unlock(&once->state,
                 ONCE_RUNNING | (waitlist_is_empty(&once->waiters) ? 0 : STATE_HAS_WAITERS));
    wave_wake(&wave);
}

void once_abandon(union once_ref once)
{
    unsigned long old = state_lock(&once.compact->state);

    CHECK(old & ONCE_RUNNING);
    hand_on(once.compact);
}

void once_enter_start(struct once_enter *enter, struct task *task, union once_ref once)
{
    waiter_init(&enter->waiter, task);
    enter->once = once.compact;
    enter->is_initialiser = false;
    enter->result = ONCE_READY;
}

/* True: it is complete, or ours to do. */
static bool enter_or_queue(struct waiter *waiter)
{
    struct once_enter *const enter = enter_of(waiter);
    struct once_compact *const once = enter->once;
    unsigned long old;

    if (once_is_complete((union once_ref){.compact = once}))
        return true;
    old = state_lock(&once->state);
    if (old & ONCE_RUNNING) {
        waitlist_push_back(&once->waiters, waiter);
        state_unlock(&once->state, old | STATE_HAS_WAITERS);
        return false;
    }
    if (!(old & ONCE_COMPLETE)) {
        enter->is_initialiser = true;
        old = ONCE_RUNNING;
    }
    state_unlock(&once->state, old);
    return true;
}

bool once_enter_poll(struct once_enter *enter)
{
    if (!waiter_poll(&enter->waiter, enter_or_queue))
        return false;
    if (enter->is_initialiser)
        enter->result = ONCE_INITIALISE;
    return true;
}

void once_enter_cancel(struct once_enter *enter)
{
    struct once_compact *const once = enter->once;
    unsigned long old;

    if (!waiter_begin_cancel(&enter->waiter, &enter->result))
        return;
    old = state_lock(&once->state);
    if (waiter_status(&enter->waiter) == WAITER_QUEUED) {
        waitlist_remove(&once->waiters, &enter->waiter);
        if (waitlist_is_empty(&once->waiters))
            old &= ~(unsigned long)STATE_HAS_WAITERS;
        state_unlock(&once->state, old);
    } else if (enter->is_initialiser) {
        enter->is_initialiser = false;
        hand_on(once);
    } else {
        state_unlock(&once->state, old);
    }
    waiter_leave(&enter->waiter);
}

int once_enter_blocking_until(union once_ref once, uint64_t deadline_ns)
{
    struct once_enter enter;

    once_enter_start(&enter, NULL, once);
    return waiter_block(&enter.waiter, once_enter_future(&enter), &enter.result, deadline_ns);
}

int once_enter_blocking(union once_ref once)
{
    return once_enter_blocking_until(once, FUTEX_NO_DEADLINE);
}

DEFINE_FUTURE(once_enter);
