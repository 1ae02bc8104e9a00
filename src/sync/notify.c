#include "sync/notify.h"

#include "base/check.h"

/* Under the spinlock, which it releases: one waiter, or the permit. */
static void give(struct notify_compact *notify)
{
    struct wave wave = {0};

    if (waitlist_is_empty(&notify->waiters)) {
        state_unlock(&notify->state, NOTIFY_PERMIT);
        return;
    }
    wave_take(&wave, &notify->waiters, notify->waiters.first);
    state_unlock(&notify->state, waitlist_is_empty(&notify->waiters) ? 0 : STATE_HAS_WAITERS);
    wave_wake(&wave);
}

void notify_one(union notify_ref notify)
{
    /* The spinlock also when the permit is there already: whoever takes it has to see what the
     * caller wrote. */
    state_lock(&notify.compact->state);
    give(notify.compact);
}

/* `waiter`: queues if there is no permit; NULL: fails instead. */
static bool take_or_else(struct notify_compact *notify, struct waiter *waiter)
{
    unsigned long old = state_lock(&notify->state);
    bool taken = old & NOTIFY_PERMIT;

    if (taken)
        old = 0;
    if (!taken && waiter) {
        waitlist_push_back(&notify->waiters, waiter);
        old = STATE_HAS_WAITERS;
    }
    state_unlock(&notify->state, old);
    return taken;
}

bool notify_try_take(union notify_ref notify)
{
    return take_or_else(notify.compact, NULL);
}

void notify_wait_start(struct notify_wait *wait, struct task *task, union notify_ref notify)
{
    waiter_init(&wait->waiter, task);
    wait->notify = notify.compact;
    wait->result = 0;
}

static bool take_or_queue(struct waiter *waiter)
{
    return take_or_else(container_of(waiter, struct notify_wait, waiter)->notify, waiter);
}

bool notify_wait_poll(struct notify_wait *wait)
{
    return waiter_poll(&wait->waiter, take_or_queue);
}

void notify_wait_cancel(struct notify_wait *wait)
{
    struct notify_compact *const notify = wait->notify;

    if (!waiter_begin_cancel(&wait->waiter, &wait->result))
        return;
    state_lock(&notify->state);
    if (waiter_status(&wait->waiter) == WAITER_QUEUED) {
        waitlist_remove(&notify->waiters, &wait->waiter);
        state_unlock(&notify->state, waitlist_is_empty(&notify->waiters) ? 0 : STATE_HAS_WAITERS);
    } else {
        give(notify);
    }
    waiter_leave(&wait->waiter);
}

int notify_wait_blocking_until(union notify_ref notify, uint64_t deadline_ns)
{
    struct notify_wait wait;

    notify_wait_start(&wait, NULL, notify);
    return waiter_block(&wait.waiter, notify_wait_future(&wait), &wait.result, deadline_ns);
}

void notify_wait_blocking(union notify_ref notify)
{
    int ret = notify_wait_blocking_until(notify, FUTEX_NO_DEADLINE);

    CHECK_CMP(ret, ==, 0);
}

DEFINE_FUTURE(notify_wait);
