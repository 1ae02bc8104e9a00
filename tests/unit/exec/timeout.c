#include "exec/timeout.h"

#include <criterion/criterion.h>

#include "base/clock.h"
#include "fixture.h"
#include "probe.h"

enum { FIRST = 1, SECOND, THIRD };

/* One scene each, in a task, since a timer fires only in an executor. */
struct scene {
    struct task task;
    struct probe probe;
    struct timeout timeout;
    struct timer timer;
    enum task_verdict (*play)(struct scene *scene);
};

static enum task_verdict scene_poll(struct task *task)
{
    struct scene *const scene = container_of(task, struct scene, task);

    return scene->play(scene);
}

static void play(enum task_verdict (*what)(struct scene *scene))
{
    static const struct task_type type = {.name = "scene", .poll = scene_poll};
    struct executor *executor = fixture_create(NULL);
    struct scene scene = {.play = what};

    task_spawn(&scene.task, executor, &type);
    fixture_finish(executor);
}

static enum task_verdict finishes_in_time(struct scene *scene)
{
    timeout_start(&scene->timeout, &scene->task, probe_future(&scene->probe), UINT64_MAX);
    cr_assert_eq(scene->task.in_flight, 1, "the timer");
    cr_assert_not(timeout_poll(&scene->timeout));
    scene->probe.finished = true;
    cr_assert(timeout_poll(&scene->timeout));
    cr_assert(timeout_poll(&scene->timeout), "stays finished");
    cr_assert_not(timeout_has_expired(&scene->timeout));
    cr_assert_eq(scene->probe.cancels, 0);
    /* Ending with the timer armed would abort. */
    return TASK_DONE;
}

Test(timeout, a_future_that_is_finished_in_time_disarms_it)
{
    play(finishes_in_time);
}

static enum task_verdict expires(struct scene *scene)
{
    struct task *const task = &scene->task;

    ASYNC_BEGIN(task)
        timeout_start(&scene->timeout, task, probe_future(&scene->probe),
                      clock_now_ns() + 50 * NS_PER_US);
        AWAIT(task, FIRST, timeout_poll(&scene->timeout));
        cr_assert(timeout_has_expired(&scene->timeout));
        cr_assert_eq(scene->probe.cancels, 1);
        cr_assert(timeout_poll(&scene->timeout), "stays finished");
        cr_assert(timeout_has_expired(&scene->timeout));
        ASYNC_END(task);
}

Test(timeout, cancels_the_future_when_the_time_is_up)
{
    play(expires);
}

static enum task_verdict lingers(struct scene *scene)
{
    struct task *const task = &scene->task;

    ASYNC_BEGIN(task)
        scene->probe.lingers = true;
        timeout_start(&scene->timeout, task, probe_future(&scene->probe), 0);
        AWAIT(task, FIRST, timer_has_fired(&scene->timeout.timer));
        cr_assert_not(timeout_poll(&scene->timeout), "it has not let go");
        cr_assert_not(timeout_poll(&scene->timeout));
        cr_assert_eq(scene->probe.cancels, 1, "cancelled once");
        scene->probe.finished = true;
        cr_assert(timeout_poll(&scene->timeout));
        cr_assert(timeout_has_expired(&scene->timeout));
        ASYNC_END(task);
}

Test(timeout, is_over_when_the_future_has_let_go)
{
    play(lingers);
}

static enum task_verdict ties(struct scene *scene)
{
    struct task *const task = &scene->task;

    ASYNC_BEGIN(task)
        timeout_start(&scene->timeout, task, probe_future(&scene->probe), 0);
        AWAIT(task, FIRST, timer_has_fired(&scene->timeout.timer));
        scene->probe.finished = true;
        cr_assert(timeout_poll(&scene->timeout));
        cr_assert_not(timeout_has_expired(&scene->timeout));
        cr_assert_eq(scene->probe.cancels, 0);
        ASYNC_END(task);
}

Test(timeout, a_future_that_is_finished_at_that_time_wins)
{
    play(ties);
}

static enum task_verdict cancelled(struct scene *scene)
{
    scene->probe.lingers = true;
    timeout_start(&scene->timeout, &scene->task, probe_future(&scene->probe), UINT64_MAX);
    future_cancel(timeout_future(&scene->timeout));
    cr_assert_eq(scene->probe.cancels, 1);
    cr_assert_eq(scene->task.in_flight, 0, "no timer any more");
    cr_assert_not(future_poll(timeout_future(&scene->timeout)), "it has not let go");
    scene->probe.finished = true;
    cr_assert(future_poll(timeout_future(&scene->timeout)));
    cr_assert_not(timeout_has_expired(&scene->timeout));
    return TASK_DONE;
}

Test(timeout, a_cancel_goes_to_the_future)
{
    play(cancelled);
}

/* ---- sleep ---- */

static enum task_verdict sleeps(struct scene *scene)
{
    static uint64_t begin_ns;
    struct task *const task = &scene->task;

    ASYNC_BEGIN(task)
        begin_ns = clock_now_ns();
        timer_sleep(&scene->timer, task, 300 * NS_PER_US);
        cr_assert_not(future_poll(timer_future(&scene->timer)));
        AWAIT(task, FIRST, future_poll(timer_future(&scene->timer)));
        cr_assert_geq(clock_now_ns() - begin_ns, 300 * NS_PER_US, "never too short");
        /* For ever, as far as the clock goes. */
        timer_sleep(&scene->timer, task, UINT64_MAX);
        cr_assert_eq(scene->timer.deadline_ns, UINT64_MAX);
        future_cancel(timer_future(&scene->timer));
        cr_assert(future_poll(timer_future(&scene->timer)), "a cancelled one is finished");
        ASYNC_END(task);
}

Test(timeout, a_sleep_is_never_too_short)
{
    play(sleeps);
}
