#include "sync/semaphore.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "rig.h"

static struct semaphore semaphore;

#define RigTest(name, ...) Test(semaphore, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

static void assert_state_at(unsigned long permits, bool has_waiters, int line)
{
    unsigned long state = atomic_load(&semaphore.compact.state);

    cr_assert_eq(state, permits << 2 | (has_waiters ? STATE_HAS_WAITERS : 0), "line %d: %#lx", line,
                 state);
    cr_assert_eq(semaphore_permits(&semaphore), permits);
}
#define assert_state(permits, has_waiters) assert_state_at(permits, has_waiters, __LINE__)

static void start(struct semaphore_acquire *acquire, uint32_t permits)
{
    static unsigned next_task;

    semaphore_acquire_start(acquire, rig_task(next_task++ % RIG_TASKS), &semaphore, permits);
}

static void queue(struct semaphore_acquire *acquire, uint32_t permits)
{
    start(acquire, permits);
    cr_assert_not(semaphore_acquire_poll(acquire));
    cr_assert(is_queued(&acquire->waiter));
}

/* It was given its permits. */
static void finish(struct semaphore_acquire *acquire)
{
    cr_assert(is_woken(&acquire->waiter));
    cr_assert(semaphore_acquire_poll(acquire));
    cr_assert_eq(acquire->result, 0);
    cr_assert(semaphore_acquire_poll(acquire), "and stays true");
}

RigTest(permits_are_taken_and_given_back)
{
    struct semaphore_acquire acquire;

    semaphore_init(&semaphore, 5);
    start(&acquire, 2);
    assert_state(5, false);
    cr_assert(semaphore_acquire_poll(&acquire));
    assert_state(3, false);
    cr_assert(semaphore_try_acquire(&semaphore, 3));
    assert_state(0, false);
    cr_assert_not(semaphore_try_acquire(&semaphore, 1));
    cr_assert(semaphore_try_acquire(&semaphore, 0));
    semaphore_release(&semaphore, 5);
    assert_state(5, false);
    cr_assert_not(semaphore_try_acquire(&semaphore, 6), "all or nothing");
    assert_state(5, false);
}

RigTest(waiters_are_served_in_order_whatever_they_want)
{
    struct semaphore_acquire acquires[3];

    queue(&acquires[0], 3);
    assert_state(0, true);
    queue(&acquires[1], 1);
    queue(&acquires[2], 2);
    semaphore_release(&semaphore, 2);
    assert_state(2, true);
    cr_assert(is_queued(&acquires[1].waiter), "not overtaken by one that wants less");
    semaphore_release(&semaphore, 2);
    assert_state(0, true);
    finish(&acquires[0]);
    finish(&acquires[1]);
    cr_assert(is_queued(&acquires[2].waiter));
    semaphore_release(&semaphore, 5);
    assert_state(3, false);
    finish(&acquires[2]);
}

RigTest(nobody_takes_permits_while_others_wait)
{
    struct semaphore_acquire acquires[2];

    semaphore_init(&semaphore, 1);
    queue(&acquires[0], 2);
    assert_state(1, true);
    cr_assert_not(semaphore_try_acquire(&semaphore, 1));
    queue(&acquires[1], 1);
    semaphore_release(&semaphore, 1);
    assert_state(0, true);
    cr_assert_not(semaphore_try_acquire(&semaphore, 1), "given, though not yet polled");
    finish(&acquires[0]);
    semaphore_acquire_cancel(&acquires[1]);
    assert_state(0, false);
}

RigTest(cancelled_before_it_was_served_it_leaves_and_those_behind_it_are_served)
{
    struct semaphore_acquire acquires[4];

    semaphore_init(&semaphore, 2);
    queue(&acquires[0], 3);
    queue(&acquires[1], 1);
    queue(&acquires[2], 1);
    queue(&acquires[3], 1);
    semaphore_acquire_cancel(&acquires[0]);
    cr_assert(semaphore_acquire_poll(&acquires[0]));
    cr_assert_eq(acquires[0].result, -ECANCELED);
    assert_state(0, true);
    finish(&acquires[1]);
    finish(&acquires[2]);
    semaphore_acquire_cancel(&acquires[3]);
    assert_state(0, false);
}

RigTest(cancelled_after_it_was_served_it_gives_the_permits_to_the_next_or_back)
{
    struct semaphore_acquire acquires[3];

    queue(&acquires[0], 2);
    queue(&acquires[1], 1);
    queue(&acquires[2], 2);
    semaphore_release(&semaphore, 2);
    assert_state(0, true);
    semaphore_acquire_cancel(&acquires[0]);
    cr_assert_eq(acquires[0].result, -ECANCELED);
    assert_state(1, true);
    finish(&acquires[1]);
    semaphore_acquire_cancel(&acquires[2]);
    assert_state(1, false);
}

RigTest(cancelled_before_its_first_poll_and_after_its_end)
{
    struct semaphore_acquire acquire;

    semaphore_init(&semaphore, 1);
    start(&acquire, 1);
    semaphore_acquire_cancel(&acquire);
    cr_assert(semaphore_acquire_poll(&acquire));
    cr_assert_eq(acquire.result, -ECANCELED);
    assert_state(1, false);
    start(&acquire, 1);
    cr_assert(semaphore_acquire_poll(&acquire));
    semaphore_acquire_cancel(&acquire);
    cr_assert_eq(acquire.result, 0, "they are ours");
    assert_state(0, false);
}

static void *acquirer_main(void *arg)
{
    (void)arg;
    semaphore_acquire_blocking(&semaphore, 2);
    return NULL;
}

Test(semaphore, a_plain_thread_waits_its_turn)
{
    pthread_t thread;

    semaphore_init(&semaphore, 1);
    cr_assert_eq(pthread_create(&thread, NULL, acquirer_main, NULL), 0);
    while (!(atomic_load(&semaphore.compact.state) & STATE_HAS_WAITERS))
        cpu_relax();
    semaphore_release(&semaphore, 2);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    assert_state(1, false);
}

Test(semaphore, a_plain_thread_that_times_out_takes_nothing)
{
    semaphore_init(&semaphore, 1);
    cr_assert_eq(semaphore_acquire_blocking_until(&semaphore, 2, clock_now_ns() + NS_PER_MS),
                 -ETIMEDOUT);
    assert_state(1, false);
    cr_assert_eq(semaphore_acquire_blocking_until(&semaphore, 1, 0), 0, "there is one");
    assert_state(0, false);
}

Test(semaphore, more_permits_than_the_limit_are_a_bug, .signal = SIGABRT)
{
    semaphore_init(&semaphore, SEMAPHORE_PERMITS_MAX);
    semaphore_release(&semaphore, 1);
}
