#include "legacy/alarm.h"

#include <criterion/criterion.h>

#include "base/clock.h"

struct bell {
    struct alarm alarm;
    unsigned rings;
    unsigned again; /* how often it sets itself anew */
};

static void bell_ring(struct alarm *alarm)
{
    struct bell *bell = container_of(alarm, struct bell, alarm);

    bell->rings++;
    if (bell->again) {
        bell->again--;
        alarm_set(alarm, clock_now_ns());
    }
}

static struct bell bell_create(void)
{
    struct bell bell = {.alarm = {.ring = bell_ring}};

    cr_assert_eq(executor_create(&bell.alarm.executor, NULL, NULL), 0);
    return bell;
}

static void bell_run(struct bell *bell)
{
    cr_assert_eq(executor_run(bell->alarm.executor), 0);
    cr_assert_not(bell->alarm.is_spawned, "at rest it has no task");
}

Test(alarm, rings_once_and_is_at_rest)
{
    struct bell bell = bell_create();

    alarm_set(&bell.alarm, clock_now_ns() + NS_PER_MS);
    bell_run(&bell);
    cr_assert_eq(bell.rings, 1);
    alarm_set(&bell.alarm, 1);
    bell_run(&bell);
    cr_assert_eq(bell.rings, 2);
    executor_destroy(bell.alarm.executor);
}

Test(alarm, a_new_deadline_replaces_the_old_one)
{
    struct bell bell = bell_create();

    alarm_set(&bell.alarm, clock_now_ns() + 3600 * NS_PER_S);
    alarm_set(&bell.alarm, clock_now_ns());
    bell_run(&bell);
    cr_assert_eq(bell.rings, 1);
    executor_destroy(bell.alarm.executor);
}

Test(alarm, may_be_set_again_while_it_rings)
{
    struct bell bell = bell_create();

    bell.again = 5;
    alarm_set(&bell.alarm, clock_now_ns());
    bell_run(&bell);
    cr_assert_eq(bell.rings, 6);
    executor_destroy(bell.alarm.executor);
}

Test(alarm, does_not_ring_once_it_is_cleared)
{
    struct bell bell = bell_create();

    alarm_clear(&bell.alarm);
    alarm_set(&bell.alarm, clock_now_ns());
    alarm_clear(&bell.alarm);
    bell_run(&bell);
    cr_assert_eq(bell.rings, 0);
    executor_destroy(bell.alarm.executor);
}

struct setter {
    struct task task;
    struct bell *bell;
};

/* The alarm's task has ended, but is still in the ready queue: it was cleared after it had fired.
 */
static enum task_verdict setter_poll(struct task *task)
{
    struct bell *bell = container_of(task, struct setter, task)->bell;

    for (int i = 0; i < 3; i++) {
        alarm_clear(&bell->alarm);
        alarm_set(&bell->alarm, clock_now_ns());
    }
    if (bell->rings > 3)
        return TASK_DONE;
    task_wake(task);
    return TASK_PENDING;
}

Test(alarm, clearing_and_setting_at_any_moment_loses_nothing)
{
    static const struct task_type type = {.name = "setter", .poll = setter_poll};
    struct bell bell = bell_create();
    struct setter setter = {.bell = &bell};

    task_spawn(&setter.task, bell.alarm.executor, &type);
    bell_run(&bell);
    cr_assert_geq(bell.rings, 4);
    executor_destroy(bell.alarm.executor);
}
