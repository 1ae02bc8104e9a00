#include "sync/once.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "rig.h"

static struct once once;

#define RigTest(name, ...) Test(once, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

static unsigned long state(void)
{
    return atomic_load(&once.compact.state);
}

/* The first one is the initialiser, the others wait. */
static void enter(struct once_enter *enters, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        once_enter_start(&enters[i], rig_task(i), &once);
        cr_assert_eq(once_enter_poll(&enters[i]), i == 0);
    }
    cr_assert_eq(enters[0].result, ONCE_INITIALISE);
    cr_assert_eq(state(), ONCE_RUNNING | (count > 1 ? STATE_HAS_WAITERS : 0));
}

static void expect(struct once_enter *enter, int result)
{
    cr_assert(once_enter_poll(enter));
    cr_assert_eq(enter->result, result);
    cr_assert(once_enter_poll(enter));
    cr_assert_eq(enter->result, result, "and stays");
}

RigTest(one_initialises_and_the_others_wait)
{
    struct once_enter enters[4], late;

    cr_assert_not(once_is_complete(&once));
    enter(enters, 4);
    once_complete(&once);
    cr_assert_eq(state(), ONCE_COMPLETE);
    cr_assert(once_is_complete(&once));
    for (unsigned i = 1; i < 4; i++)
        expect(&enters[i], ONCE_READY);
    once_enter_start(&late, rig_task(0), &once);
    expect(&late, ONCE_READY);
    cr_assert_eq(state(), ONCE_COMPLETE);
}

RigTest(an_initialiser_that_abandons_hands_on_to_the_first_that_waits)
{
    struct once_enter enters[3];

    enter(enters, 3);
    once_abandon(&once);
    cr_assert_eq(state(), ONCE_RUNNING | STATE_HAS_WAITERS);
    cr_assert(is_queued(&enters[2].waiter));
    expect(&enters[1], ONCE_INITIALISE);
    once_complete(&once);
    expect(&enters[2], ONCE_READY);
}

RigTest(abandoned_with_nobody_waiting_it_is_as_new)
{
    struct once_enter enters[1];

    enter(enters, 1);
    once_abandon(&once);
    cr_assert_eq(state(), 0);
    enter(enters, 1);
    once_complete(&once);
}

RigTest(one_that_was_appointed_and_is_cancelled_hands_on)
{
    struct once_enter enters[3];

    enter(enters, 3);
    once_abandon(&once);
    cr_assert(is_woken(&enters[1].waiter));
    once_enter_cancel(&enters[1]);
    expect(&enters[1], -ECANCELED);
    expect(&enters[2], ONCE_INITIALISE);
    cr_assert_eq(state(), ONCE_RUNNING);
    once_complete(&once);
}

RigTest(the_last_one_appointed_leaves_it_as_new)
{
    struct once_enter enters[2];

    enter(enters, 2);
    once_abandon(&once);
    once_enter_cancel(&enters[1]);
    expect(&enters[1], -ECANCELED);
    cr_assert_eq(state(), 0);
}

RigTest(one_that_waits_is_cancelled_at_any_time)
{
    struct once_enter enters[4], early;

    once_enter_start(&early, rig_task(9), &once);
    once_enter_cancel(&early);
    expect(&early, -ECANCELED);
    cr_assert_eq(state(), 0);
    enter(enters, 4);
    once_enter_cancel(&enters[2]);
    cr_assert_eq(state(), ONCE_RUNNING | STATE_HAS_WAITERS);
    once_enter_cancel(&enters[1]);
    cr_assert_eq(state(), ONCE_RUNNING | STATE_HAS_WAITERS);
    once_complete(&once);
    once_enter_cancel(&enters[3]);
    cr_assert_eq(state(), ONCE_COMPLETE);
    for (unsigned i = 1; i < 4; i++)
        expect(&enters[i], -ECANCELED);
}

RigTest(the_last_that_leaves_while_it_runs_leaves_no_trace)
{
    struct once_enter enters[2];

    enter(enters, 2);
    once_enter_cancel(&enters[1]);
    cr_assert_eq(state(), ONCE_RUNNING);
    once_complete(&once);
}

static unsigned initialised; /* guarded by the once */

static void *enterer_main(void *arg)
{
    bool fails = arg;

    if (once_enter_blocking(&once) == ONCE_INITIALISE) {
        if (fails) {
            once_abandon(&once);
            return NULL;
        }
        initialised++;
        once_complete(&once);
    }
    cr_assert_eq(initialised, 1);
    return NULL;
}

Test(once, plain_threads_initialise_it_once, .timeout = 60)
{
    for (unsigned round = 0; round < 200; round++) {
        pthread_t threads[4];

        once = (struct once){0};
        initialised = 0;
        for (unsigned i = 0; i < 4; i++)
            cr_assert_eq(
                pthread_create(&threads[i], NULL, enterer_main, i % 2 ? &initialised : NULL), 0);
        for (unsigned i = 0; i < 4; i++)
            cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(state(), ONCE_COMPLETE);
    }
}

Test(once, a_plain_thread_times_out)
{
    cr_assert_eq(once_enter_blocking(&once), ONCE_INITIALISE);
    cr_assert_eq(once_enter_blocking_until(&once, clock_now_ns() + NS_PER_MS), -ETIMEDOUT);
    cr_assert_eq(state(), ONCE_RUNNING);
}

Test(once, completing_what_nobody_runs_is_a_bug, .signal = SIGABRT)
{
    once_complete(&once);
}
