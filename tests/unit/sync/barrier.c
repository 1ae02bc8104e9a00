#include "sync/barrier.h"

#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "rig.h"

static struct barrier barrier;

#define RigTest(name, ...) Test(barrier, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

static unsigned long state(void)
{
    return atomic_load(&barrier.compact.state);
}

RigTest(all_pass_when_the_last_one_comes_over_and_over)
{
    struct barrier_wait waits[3];

    barrier_init(&barrier, 3);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 3; i++)
            barrier_wait_start(&waits[i], rig_task(i), &barrier);
        for (unsigned i = 0; i < 2; i++) {
            cr_assert_not(barrier_wait_poll(&waits[i]));
            cr_assert_eq(state(), STATE_HAS_WAITERS);
        }
        cr_assert(barrier_wait_poll(&waits[2]));
        cr_assert_eq(state(), 0);
        cr_assert_eq(waits[2].result, BARRIER_LAST);
        for (unsigned i = 0; i < 2; i++) {
            cr_assert(is_woken(&waits[i].waiter));
            cr_assert(barrier_wait_poll(&waits[i]));
            cr_assert_eq(waits[i].result, BARRIER_THROUGH);
        }
    }
}

RigTest(a_single_party_never_waits)
{
    struct barrier_wait wait;

    barrier_init(&barrier, 1);
    barrier_wait_start(&wait, rig_task(0), &barrier);
    cr_assert(barrier_wait_poll(&wait));
    cr_assert_eq(wait.result, BARRIER_LAST);
    cr_assert_eq(barrier_wait_blocking(&barrier), BARRIER_LAST);
}

RigTest(one_that_is_cancelled_does_not_count)
{
    struct barrier_wait waits[3];

    barrier_init(&barrier, 2);
    for (unsigned i = 0; i < 3; i++)
        barrier_wait_start(&waits[i], rig_task(i), &barrier);
    cr_assert_not(barrier_wait_poll(&waits[0]));
    barrier_wait_cancel(&waits[0]);
    cr_assert_eq(waits[0].result, -ECANCELED);
    cr_assert_eq(state(), 0);
    cr_assert_not(barrier_wait_poll(&waits[1]), "nobody is there");
    cr_assert(barrier_wait_poll(&waits[2]));
    cr_assert(barrier_wait_poll(&waits[1]));
    barrier_wait_start(&waits[0], rig_task(0), &barrier);
    barrier_wait_cancel(&waits[0]);
    cr_assert(barrier_wait_poll(&waits[0]));
    cr_assert_eq(waits[0].result, -ECANCELED);
    cr_assert_eq(state(), 0);
}

RigTest(a_cancel_that_comes_after_the_others_is_too_late)
{
    struct barrier_wait waits[2];

    barrier_init(&barrier, 2);
    for (unsigned i = 0; i < 2; i++)
        barrier_wait_start(&waits[i], rig_task(i), &barrier);
    cr_assert_not(barrier_wait_poll(&waits[0]));
    cr_assert(barrier_wait_poll(&waits[1]));
    barrier_wait_cancel(&waits[0]);
    cr_assert(barrier_wait_poll(&waits[0]));
    cr_assert_eq(waits[0].result, BARRIER_THROUGH);
    cr_assert_eq(state(), 0);
}

enum { THREADS = 4, ROUNDS = 200 };

static atomic_uint arrivals;
static atomic_uint leaders;

static void *party_main(void *arg)
{
    (void)arg;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        atomic_fetch_add_explicit(&arrivals, 1, memory_order_relaxed);
        if (barrier_wait_blocking(&barrier) == BARRIER_LAST)
            atomic_fetch_add_explicit(&leaders, 1, memory_order_relaxed);
        cr_assert_geq(atomic_load_explicit(&arrivals, memory_order_relaxed), round * THREADS);
    }
    return NULL;
}

Test(barrier, plain_threads_wait_for_each_other, .timeout = 60)
{
    pthread_t threads[THREADS];

    barrier_init(&barrier, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, party_main, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(atomic_load(&leaders), ROUNDS, "one of them each time");
    cr_assert_eq(state(), 0);
}

Test(barrier, a_plain_thread_that_times_out_does_not_count)
{
    barrier_init(&barrier, 2);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(barrier_wait_blocking_until(&barrier, clock_now_ns() + NS_PER_MS), -ETIMEDOUT);
    cr_assert_eq(state(), 0);
}
