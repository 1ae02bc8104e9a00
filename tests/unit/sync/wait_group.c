#include "sync/wait_group.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "rig.h"

static struct wait_group group;

#define RigTest(name, ...) \
    Test(wait_group, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

static void assert_state_at(unsigned long count, bool has_waiters, int line)
{
    unsigned long state = atomic_load(&group.compact.state);

    cr_assert_eq(state, count << 2 | (has_waiters ? STATE_HAS_WAITERS : 0), "line %d: %#lx", line,
                 state);
}
#define assert_state(count, has_waiters) assert_state_at(count, has_waiters, __LINE__)

RigTest(the_last_one_that_is_done_wakes_everybody)
{
    struct wait_group_wait waits[3];

    wait_group_add(&group, 2);
    assert_state(2, false);
    for (unsigned i = 0; i < 3; i++) {
        wait_group_wait_start(&waits[i], rig_task(i), &group);
        cr_assert_not(wait_group_wait_poll(&waits[i]));
    }
    assert_state(2, true);
    wait_group_done(&group);
    assert_state(1, true);
    wait_group_add(&group, 1);
    wait_group_done(&group);
    assert_state(1, true);
    cr_assert(is_queued(&waits[0].waiter));
    wait_group_done(&group);
    assert_state(0, false);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(is_woken(&waits[i].waiter));
        cr_assert(wait_group_wait_poll(&waits[i]));
        cr_assert_eq(waits[i].result, 0);
    }
}

RigTest(with_nothing_added_nobody_waits_and_it_may_be_used_again)
{
    struct wait_group_wait wait;

    for (unsigned i = 0; i < 3; i++) {
        wait_group_wait_start(&wait, rig_task(0), &group);
        cr_assert(wait_group_wait_poll(&wait));
        wait_group_add(&group, 1);
        wait_group_wait_start(&wait, rig_task(0), &group);
        cr_assert_not(wait_group_wait_poll(&wait));
        wait_group_done(&group);
        cr_assert(wait_group_wait_poll(&wait));
        assert_state(0, false);
    }
}

RigTest(it_is_cancelled_at_any_time)
{
    struct wait_group_wait waits[4];

    wait_group_add(&group, 1);
    for (unsigned i = 0; i < 4; i++)
        wait_group_wait_start(&waits[i], rig_task(i), &group);
    wait_group_wait_cancel(&waits[0]);
    for (unsigned i = 1; i < 4; i++)
        cr_assert_not(wait_group_wait_poll(&waits[i]));
    wait_group_wait_cancel(&waits[1]);
    assert_state(1, true);
    wait_group_wait_cancel(&waits[2]);
    wait_group_done(&group);
    wait_group_wait_cancel(&waits[3]);
    assert_state(0, false);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(wait_group_wait_poll(&waits[i]));
        cr_assert_eq(waits[i].result, -ECANCELED);
    }
}

RigTest(the_last_waiter_that_leaves_leaves_no_trace)
{
    struct wait_group_wait wait;

    wait_group_add(&group, 1);
    wait_group_wait_start(&wait, rig_task(0), &group);
    cr_assert_not(wait_group_wait_poll(&wait));
    assert_state(1, true);
    wait_group_wait_cancel(&wait);
    assert_state(1, false);
}

static void *worker_main(void *arg)
{
    wait_group_done((struct wait_group *)arg);
    return NULL;
}

Test(wait_group, a_plain_thread_waits_or_times_out)
{
    pthread_t threads[4];

    wait_group_add(&group, 4);
    cr_assert_eq(wait_group_wait_blocking_until(&group, clock_now_ns() + NS_PER_MS), -ETIMEDOUT);
    assert_state(4, false);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, worker_main, &group), 0);
    wait_group_wait_blocking(&group);
    assert_state(0, false);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}

Test(wait_group, one_done_too_many_is_a_bug, .signal = SIGABRT)
{
    wait_group_done(&group);
}
