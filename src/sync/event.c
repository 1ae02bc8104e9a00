#include "sync/event.h"

#include "base/check.h"

void event_set(union event_ref ref)
{
    struct event_compact *const event = ref.compact;
    struct wave wave = {0};

    if (event_is_set(ref))
        return;
    state_lock(&event->state);
    while (!waitlist_is_empty(&event->waiters))
        wave_take(&wave, &event->waiters, event->waiters.first);
    /* The event may be gone from here on. */
    state_unlock(&event->state, EVENT_SET);
    wave_wake(&wave);
}

void event_wait_start(struct event_wait *wait, struct task *task, union event_ref event)
{
    waiter_init(&wait->waiter, task);
    wait->event = event.compact;
    wait->result = 0;
}

/* True: no need to, it is set. */
static bool queue_unless_set(struct waiter *waiter)
{
    struct event_compact *const event = container_of(waiter, struct event_wait, waiter)->event;
    unsigned long old;

    if (event_is_set((union event_ref){.compact = event}))
        return true;
    old = state_lock(&event->state);
    if (old & EVENT_SET) {
        state_unlock(&event->state, old);
        return true;
    }
    waitlist_push_back(&event->waiters, waiter);
    state_unlock(&event->state, STATE_HAS_WAITERS);
    return false;
}

bool event_wait_poll(struct event_wait *wait)
{
    return waiter_poll(&wait->waiter, queue_unless_set);
}

void event_wait_cancel(struct event_wait *wait)
{
    struct event_compact *const event = wait->event;
    unsigned long old;

    if (!waiter_begin_cancel(&wait->waiter, &wait->result))
        return;
    old = state_lock(&event->state);
    if (waiter_status(&wait->waiter) == WAITER_QUEUED) {
        waitlist_remove(&event->waiters, &wait->waiter);
        if (waitlist_is_empty(&event->waiters))
            old &= ~(unsigned long)STATE_HAS_WAITERS;
    }
    state_unlock(&event->state, old);
    waiter_leave(&wait->waiter);
}

int event_wait_blocking_until(union event_ref event, uint64_t deadline_ns)
{
    struct event_wait wait;

    event_wait_start(&wait, NULL, event);
    return waiter_block(&wait.waiter, event_wait_future(&wait), &wait.result, deadline_ns);
}

void event_wait_blocking(union event_ref event)
{
    int ret = event_wait_blocking_until(event, FUTEX_NO_DEADLINE);

    CHECK_CMP(ret, ==, 0);
}

DEFINE_FUTURE(event_wait);
