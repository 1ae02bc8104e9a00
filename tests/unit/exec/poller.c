#include "exec/poller.h"

#include <criterion/criterion.h>

#include "base/clock.h"

static struct poller poller;

static void learn(unsigned times, uint64_t idle_us)
{
    for (unsigned i = 0; i < times; i++)
        poller_learn(&poller, idle_us * NS_PER_US);
}

Test(poller, stops_polling_when_it_gains_nothing)
{
    poller_init(&poller, 50 * NS_PER_US);
    cr_assert_eq(poller.window_ns, 50 * NS_PER_US);
    learn(10, 1000);
    cr_assert_eq(poller.window_ns, 0);
}

Test(poller, starts_again_when_work_arrives_soon)
{
    poller_init(&poller, 50 * NS_PER_US);
    learn(10, 1000);
    learn(1, 40);
    cr_assert_gt(poller.window_ns, 0);
    learn(10, 60);
    cr_assert_eq(poller.window_ns, 50 * NS_PER_US, "up to the bound; a sleep takes its own time");
}

Test(poller, keeps_a_window_that_suffices)
{
    poller_init(&poller, 50 * NS_PER_US);
    learn(1, 1000);
    cr_assert_eq(poller.window_ns, 25 * NS_PER_US);
    learn(100, 20);
    cr_assert_eq(poller.window_ns, 25 * NS_PER_US);
}

Test(poller, never_polls_when_turned_off)
{
    poller_init(&poller, 0);
    learn(10, 1);
    cr_assert_eq(poller.window_ns, 0);
}
