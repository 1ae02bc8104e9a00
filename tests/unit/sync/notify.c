#include "sync/notify.h"

#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "rig.h"

static struct notify notify;

#define RigTest(name, ...) Test(notify, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

static unsigned long state(void)
{
    return atomic_load(&notify.compact.state);
}

static void queue(struct notify_wait *wait, unsigned task)
{
    notify_wait_start(wait, rig_task(task), &notify);
    cr_assert_not(notify_wait_poll(wait));
    cr_assert_eq(state(), STATE_HAS_WAITERS);
}

RigTest(one_wake_up_is_remembered_and_not_two)
{
    struct notify_wait waits[2];

    notify_one(&notify);
    notify_one(&notify);
    cr_assert_eq(state(), NOTIFY_PERMIT);
    notify_wait_start(&waits[0], rig_task(0), &notify);
    cr_assert_eq(state(), NOTIFY_PERMIT);
    cr_assert(notify_wait_poll(&waits[0]));
    cr_assert_eq(state(), 0);
    cr_assert_not(notify_try_take(&notify));
    notify_one(&notify);
    cr_assert(notify_try_take(&notify));
    cr_assert_eq(state(), 0);
}

RigTest(waiters_are_woken_one_by_one_in_order)
{
    struct notify_wait waits[3];

    for (unsigned i = 0; i < 3; i++)
        queue(&waits[i], i);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(is_queued(&waits[i].waiter));
        notify_one(&notify);
        cr_assert_eq(state(), i < 2 ? STATE_HAS_WAITERS : 0);
        cr_assert(notify_wait_poll(&waits[i]));
        cr_assert_eq(waits[i].result, 0);
    }
    notify_one(&notify);
    cr_assert_eq(state(), NOTIFY_PERMIT);
}

RigTest(cancelled_before_it_was_woken_it_only_leaves)
{
    struct notify_wait waits[3];

    notify_wait_start(&waits[0], rig_task(0), &notify);
    notify_wait_cancel(&waits[0]);
    cr_assert_eq(state(), 0);
    queue(&waits[1], 1);
    queue(&waits[2], 2);
    notify_wait_cancel(&waits[1]);
    cr_assert_eq(state(), STATE_HAS_WAITERS);
    cr_assert(is_queued(&waits[2].waiter));
    notify_wait_cancel(&waits[2]);
    cr_assert_eq(state(), 0);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(notify_wait_poll(&waits[i]));
        cr_assert_eq(waits[i].result, -ECANCELED);
    }
}

RigTest(cancelled_after_it_was_woken_it_passes_the_wake_up_on_or_leaves_the_permit)
{
    struct notify_wait waits[2];

    queue(&waits[0], 0);
    queue(&waits[1], 1);
    notify_one(&notify);
    notify_wait_cancel(&waits[0]);
    cr_assert_eq(state(), 0);
    cr_assert(is_woken(&waits[1].waiter));
    notify_wait_cancel(&waits[1]);
    cr_assert_eq(state(), NOTIFY_PERMIT);
}

static void *waiter_main(void *arg)
{
    (void)arg;
    notify_wait_blocking(&notify);
    return NULL;
}

Test(notify, a_plain_thread_waits_or_times_out)
{
    pthread_t thread;

    cr_assert_eq(notify_wait_blocking_until(&notify, clock_now_ns() + NS_PER_MS), -ETIMEDOUT);
    cr_assert_eq(state(), 0);
    cr_assert_eq(pthread_create(&thread, NULL, waiter_main, NULL), 0);
    notify_one(&notify);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(state(), 0);
}
