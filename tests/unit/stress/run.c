/* Each primitive under a bounded stress: tasks of two executors and plain threads, with cancels. */
#include "stress/run.h"

#include <criterion/criterion.h>

#include "base/clock.h"
#include "stress/workload.h"

static void holds(const struct workload *workload, uint32_t hold_us)
{
    const struct stress_config config = {
        .tasks = 24,
        .executors = 2,
        .threads = 2,
        .hold_us = hold_us,
        .cancel_percent = 30,
        .reader_percent = 60,
        .operations = 6000,
        .bound_ns = 60 * NS_PER_S,
        .seed = 7,
    };
    struct run_summary summary;
    struct err err;

    cr_assert_eq(run_workload(workload, &config, NULL, stderr, &summary, &err), 0, "%s", err.text);
    cr_assert(!summary.has_failed, "%s", summary.failure);
    cr_assert_geq(summary.operations, config.operations / 2);
    cr_assert_gt(summary.cancelled, 0);
    cr_assert_geq(summary.wait_max_ns, summary.wait_p50_ns);
    cr_assert_geq(summary.share_max, summary.share_min);
}

Test(stress_run, a_mutex_holds)
{
    holds(&workload_mutex, 0);
}

Test(stress_run, a_mutex_with_long_holds_holds)
{
    holds(&workload_mutex, 20);
}

Test(stress_run, a_rwlock_holds)
{
    holds(&workload_rwlock, 0);
}

Test(stress_run, a_condition_variable_holds)
{
    holds(&workload_cond, 0);
}

Test(stress_run, a_semaphore_holds)
{
    holds(&workload_semaphore, 0);
}

Test(stress_run, a_channel_holds)
{
    holds(&workload_channel, 0);
}

Test(stress_run, an_event_holds)
{
    holds(&workload_event, 0);
}

Test(stress_run, a_notify_holds)
{
    holds(&workload_notify, 0);
}

Test(stress_run, a_barrier_holds)
{
    holds(&workload_barrier, 0);
}

Test(stress_run, a_once_holds)
{
    holds(&workload_once, 0);
}

Test(stress_run, a_wait_group_holds)
{
    holds(&workload_wait_group, 0);
}

Test(stress_run, pthread_mutexes_hold)
{
    holds(&workload_pthread_mutex, 10);
}

Test(stress_run, pthread_rwlocks_hold)
{
    holds(&workload_pthread_rwlock, 10);
}

Test(stress_run, pthread_condition_variables_hold)
{
    holds(&workload_pthread_cond, 10);
}

Test(stress_run, plain_threads_alone_need_no_executor)
{
    const struct stress_config config = {.executors = 1,
                                         .threads = 3,
                                         .cancel_percent = 10,
                                         .operations = 3000,
                                         .bound_ns = 60 * NS_PER_S};
    struct run_summary summary;
    struct err err;

    cr_assert_eq(run_workload(&workload_mutex, &config, NULL, stderr, &summary, &err), 0);
    cr_assert(!summary.has_failed, "%s", summary.failure);
    cr_assert_geq(summary.operations, 3000);
}

Test(stress_run, the_number_of_operations_is_spread_evenly)
{
    const struct stress_config config = {
        .tasks = 5, .executors = 1, .operations = 100, .bound_ns = 60 * NS_PER_S};
    struct run_summary summary;
    struct err err;

    cr_assert_eq(run_workload(&workload_semaphore, &config, NULL, stderr, &summary, &err), 0);
    cr_assert_eq(summary.share_min, 21);
    cr_assert_eq(summary.share_max, 21);
}

static bool enough(struct run_view *view, const struct run *run, uint64_t now_ns)
{
    (void)view;
    (void)now_ns;
    return run_operations(run) >= 100;
}

Test(stress_run, a_view_ends_a_run_that_has_no_other_end)
{
    const struct stress_config config = {
        .tasks = 4, .executors = 1, .duration_ns = UINT64_MAX / 4, .bound_ns = 60 * NS_PER_S};
    struct run_view view = {.tick = enough};
    struct run_summary summary;
    struct err err;

    cr_assert_eq(run_workload(&workload_channel, &config, &view, stderr, &summary, &err), 0);
    cr_assert(!summary.has_failed, "%s", summary.failure);
    cr_assert_geq(summary.operations, 100);
}
