#include "sync/event.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "rig.h"

static struct event event;

#define RigTest(name, ...) Test(event, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

static unsigned long state(void)
{
    return atomic_load(&event.compact.state);
}

static void queue(struct event_wait *wait, unsigned task)
{
    event_wait_start(wait, rig_task(task), &event);
    cr_assert_not(event_wait_poll(wait));
    cr_assert(is_queued(&wait->waiter));
    cr_assert_eq(state(), STATE_HAS_WAITERS);
}

RigTest(setting_it_wakes_everybody)
{
    struct event_wait waits[5];

    cr_assert_not(event_is_set(&event));
    for (unsigned i = 0; i < 5; i++)
        queue(&waits[i], i);
    event_set(&event);
    cr_assert_eq(state(), EVENT_SET);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert(is_woken(&waits[i].waiter));
        cr_assert(event_wait_poll(&waits[i]));
        cr_assert_eq(waits[i].result, 0);
    }
    cr_assert(event_is_set(&event));
}

RigTest(once_set_it_stays_set_and_nobody_waits)
{
    struct event_wait wait;

    event_set(&event);
    event_set(&event);
    cr_assert_eq(state(), EVENT_SET);
    event_wait_start(&wait, rig_task(0), &event);
    cr_assert(event_wait_poll(&wait));
    cr_assert_eq(rig_task(0)->in_flight, 0);
    cr_assert_eq(event_wait_blocking_until(&event, 0), 0);
    cr_assert_eq(state(), EVENT_SET);
}

RigTest(it_is_cancelled_at_any_time)
{
    struct event_wait waits[4];

    event_wait_start(&waits[0], rig_task(0), &event);
    event_wait_cancel(&waits[0]);
    cr_assert_eq(state(), 0);
    queue(&waits[1], 1);
    queue(&waits[2], 2);
    event_wait_cancel(&waits[1]);
    cr_assert_eq(state(), STATE_HAS_WAITERS);
    event_wait_cancel(&waits[2]);
    cr_assert_eq(state(), 0);
    queue(&waits[3], 3);
    event_set(&event);
    event_wait_cancel(&waits[3]);
    cr_assert_eq(state(), EVENT_SET);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(event_wait_poll(&waits[i]));
        cr_assert_eq(waits[i].result, -ECANCELED);
    }
}

/* The event lives on the stack of the one that waits, and goes with it. */
static void *setter_main(void *arg)
{
    event_set((struct event_compact *)arg);
    return NULL;
}

Test(event, it_may_go_when_its_wait_has_finished)
{
    for (unsigned i = 0; i < 300; i++) {
        struct event_compact done = {0};
        pthread_t thread;

        cr_assert_eq(pthread_create(&thread, NULL, setter_main, &done), 0);
        /* Half of them meet the setter in its middle, the others sleep. */
        for (unsigned spin = 0; i % 2 && spin < 2000 && !event_is_set(&done); spin++)
            cpu_relax();
        event_wait_blocking(&done);
        memset(&done, 0xff, sizeof(done));
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_assert_eq(atomic_load(&done.state), ULONG_MAX, "nobody wrote to what is gone");
    }
}

Test(event, a_plain_thread_times_out)
{
    cr_assert_eq(event_wait_blocking_until(&event, clock_now_ns() + NS_PER_MS), -ETIMEDOUT);
    cr_assert_eq(state(), 0);
}
