#include "exec/poller.h"

#include <criterion/criterion.h>

#include "base/clock.h"

static struct poller poller;

/* `times` idle times during which polling, if it is on, finds nothing. */
static unsigned fail(unsigned times, uint64_t idle_us)
{
    unsigned polls = 0;

    for (unsigned i = 0; i < times; i++) {
        bool polled = poller.window_ns > 0;

        polls += polled;
        poller_slept(&poller, polled, idle_us * NS_PER_US);
    }
    return polls;
}

Test(poller, stops_polling_when_it_gains_nothing)
{
    poller_init(&poller, 50 * NS_PER_US);
    cr_assert_eq(poller.window_ns, 50 * NS_PER_US);
    cr_assert_leq(fail(1000, 1000), 5);
    cr_assert_eq(poller.window_ns, 0);
}

Test(poller, starts_again_when_work_arrives_soon)
{
    poller_init(&poller, 50 * NS_PER_US);
    fail(10, 1000);
    fail(1, 40);
    cr_assert_gt(poller.window_ns, 0);
    fail(3, 60);
    cr_assert_eq(poller.window_ns, 32 * NS_PER_US, "a sleep takes its own time");
    poller_succeeded(&poller);
    fail(1, 60);
    cr_assert_eq(poller.window_ns, 50 * NS_PER_US, "up to the bound");
}

Test(poller, keeps_a_window_that_suffices)
{
    poller_init(&poller, 50 * NS_PER_US);
    fail(1, 1000);
    for (unsigned i = 0; i < 100; i++)
        poller_succeeded(&poller);
    cr_assert_eq(poller.window_ns, 25 * NS_PER_US);
}

Test(poller, gives_up_where_work_arrives_only_when_it_ends)
{
    poller_init(&poller, 50 * NS_PER_US);
    /* Both on one cpu: the peer runs when the window is over, and posts at once. */
    cr_assert_eq(fail(5, 51), 5);
    cr_assert_eq(poller.window_ns, 0);
    cr_assert_eq(fail(16, 10), 0, "a pause, however short the sleeps");
    cr_assert_leq(fail(10000, 51), 150, "longer each time");
    /* The peer has moved: the first success ends it. */
    while (!poller.window_ns)
        fail(1, 10);
    poller_succeeded(&poller);
    fail(4, 10);
    cr_assert_eq(poller.window_ns, 50 * NS_PER_US);
}

Test(poller, never_polls_when_turned_off)
{
    poller_init(&poller, 0);
    fail(10, 1);
    cr_assert_eq(poller.window_ns, 0);
}
