#include "sync/barrier.h"

#include "base/check.h"

static struct barrier_wait *wait_of(struct waiter *waiter)
{
    return container_of(waiter, struct barrier_wait, waiter);
}

void barrier_init(union barrier_ref barrier, uint32_t parties)
{
    CHECK_CMP(parties, >, 0U);
    *barrier.compact = (struct barrier_compact){.parties = parties};
}

void barrier_wait_start(struct barrier_wait *wait, struct task *task, union barrier_ref barrier)
{
    waiter_init(&wait->waiter, task);
    wait->barrier = barrier.compact;
    wait->result = BARRIER_THROUGH;
}

/* True: it was the last, and nobody needs to wait. */
static bool release_or_queue(struct waiter *waiter)
{
    struct barrier_compact *const barrier = wait_of(waiter)->barrier;
    struct wave wave = {0};

    state_lock(&barrier->state);
    if (barrier->waiting + 1 < barrier->parties) {
        barrier->waiting++;
        waitlist_push_back(&barrier->waiters, waiter);
        state_unlock(&barrier->state, STATE_HAS_WAITERS);
        return false;
    }
    while (!waitlist_is_empty(&barrier->waiters))
        wave_take(&wave, &barrier->waiters, barrier->waiters.first);
    barrier->waiting = 0;
    state_unlock(&barrier->state, 0);
    wave_wake(&wave);
    wait_of(waiter)->result = BARRIER_LAST;
    return true;
}

bool barrier_wait_poll(struct barrier_wait *wait)
{
    return waiter_poll(&wait->waiter, release_or_queue);
}

void barrier_wait_cancel(struct barrier_wait *wait)
{
    struct barrier_compact *const barrier = wait->barrier;

    if (!waiter_begin_cancel(&wait->waiter, &wait->result))
        return;
    state_lock(&barrier->state);
    if (waiter_status(&wait->waiter) == WAITER_QUEUED) {
        waitlist_remove(&barrier->waiters, &wait->waiter);
        barrier->waiting--;
    } else {
        wait->result = BARRIER_THROUGH;
    }
    state_unlock(&barrier->state, barrier->waiting ? STATE_HAS_WAITERS : 0);
    waiter_leave(&wait->waiter);
}

int barrier_wait_blocking_until(union barrier_ref barrier, uint64_t deadline_ns)
{
    struct barrier_wait wait;

    barrier_wait_start(&wait, NULL, barrier);
    return waiter_block(&wait.waiter, barrier_wait_future(&wait), &wait.result, deadline_ns);
}

int barrier_wait_blocking(union barrier_ref barrier)
{
    return barrier_wait_blocking_until(barrier, FUTEX_NO_DEADLINE);
}

DEFINE_FUTURE(barrier_wait);
