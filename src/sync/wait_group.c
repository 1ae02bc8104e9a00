#include "sync/wait_group.h"

#include "base/check.h"

enum { COUNT_SHIFT = 2 };

static const unsigned long count_one = 1UL << COUNT_SHIFT;

static unsigned long count_of(unsigned long state)
{
    return state >> COUNT_SHIFT;
}

void wait_group_add(union wait_group_ref ref, uint32_t count)
{
    struct wait_group_compact *const group = ref.compact;
    unsigned long old = state_lock(&group->state);

    CHECK_CMP(count_of(old) + count, <=, WAIT_GROUP_COUNT_MAX);
    state_unlock(&group->state, old + count * count_one);
}

void wait_group_done(union wait_group_ref ref)
{
    struct wait_group_compact *const group = ref.compact;
    unsigned long old = state_lock(&group->state);
    struct wave wave = {0};

    CHECK_CMP(count_of(old), >, 0UL);
    old -= count_one;
    if (!count_of(old)) {
        while (!waitlist_is_empty(&group->waiters))
            wave_take(&wave, &group->waiters, group->waiters.first);
        old = 0;
    }
    /* The group may be gone from here on. */
    state_unlock(&group->state, old);
    wave_wake(&wave);
}

void wait_group_wait_start(struct wait_group_wait *wait, struct task *task,
                           union wait_group_ref group)
{
    waiter_init(&wait->waiter, task);
    wait->group = group.compact;
    wait->result = 0;
}

/* True: no need to, all is done. */
static bool queue_unless_done(struct waiter *waiter)
{
    struct wait_group_compact *const group =
        container_of(waiter, struct wait_group_wait, waiter)->group;
    unsigned long old = state_lock(&group->state);

    if (count_of(old)) {
        waitlist_push_back(&group->waiters, waiter);
        state_unlock(&group->state, old | STATE_HAS_WAITERS);
        return false;
    }
    state_unlock(&group->state, old);
    return true;
}

bool wait_group_wait_poll(struct wait_group_wait *wait)
{
    return waiter_poll(&wait->waiter, queue_unless_done);
}

void wait_group_wait_cancel(struct wait_group_wait *wait)
{
    struct wait_group_compact *const group = wait->group;
    unsigned long old;

    if (!waiter_begin_cancel(&wait->waiter, &wait->result))
        return;
    old = state_lock(&group->state);
    if (waiter_status(&wait->waiter) == WAITER_QUEUED) {
        waitlist_remove(&group->waiters, &wait->waiter);
        if (waitlist_is_empty(&group->waiters))
            old &= ~(unsigned long)STATE_HAS_WAITERS;
    }
    state_unlock(&group->state, old);
    waiter_leave(&wait->waiter);
}

int wait_group_wait_blocking_until(union wait_group_ref group, uint64_t deadline_ns)
{
    struct wait_group_wait wait;

    wait_group_wait_start(&wait, NULL, group);
    return waiter_block(&wait.waiter, wait_group_wait_future(&wait), &wait.result, deadline_ns);
}

void wait_group_wait_blocking(union wait_group_ref group)
{
    int ret = wait_group_wait_blocking_until(group, FUTEX_NO_DEADLINE);

    CHECK_CMP(ret, ==, 0);
}

DEFINE_FUTURE(wait_group_wait);
