#include "exec/timer.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "exec/wheel.h"
#include "fixture.h"

/* ---- through an executor ---- */

struct sleeper {
    struct task task;
    struct timer timer;
    uint64_t deadline_ns;
    unsigned *next;
    unsigned position; /* in the order of the deadlines */
};

enum { SLEEPER_SLEEP = 1 };

static enum task_verdict sleeper_poll(struct task *task)
{
    struct sleeper *const sleeper = container_of(task, struct sleeper, task);

    ASYNC_BEGIN(task)
        ;
        timer_arm(&sleeper->timer, task, sleeper->deadline_ns);
        cr_assert(timer_is_armed(&sleeper->timer));
        cr_assert_eq(task->in_flight, 1);
        AWAIT(task, SLEEPER_SLEEP, timer_has_fired(&sleeper->timer));
        cr_assert_geq(clock_now_ns(), sleeper->deadline_ns, "never early");
        cr_assert_not(timer_is_armed(&sleeper->timer));
        cr_assert_eq((*sleeper->next)++, sleeper->position);
        ASYNC_END(task);
}

static const struct task_type sleeper_type = {.name = "sleeper", .poll = sleeper_poll};

Test(timer, sleepers_wake_in_the_order_of_their_deadlines)
{
    static const unsigned order[] = {3, 0, 4, 1, 2};
    const struct executor_config configs[2] = {{.poll_us_max = 0}, {.poll_us_max = 50}};

    for (unsigned c = 0; c < 2; c++) {
        struct executor *executor = fixture_create(&configs[c]);
        struct sleeper sleepers[5];
        uint64_t begin_ns = clock_now_ns() + 3 * NS_PER_MS;
        unsigned next = 0;

        for (unsigned i = 0; i < 5; i++) {
            sleepers[i] = (struct sleeper){.deadline_ns = begin_ns + order[i] * 700 * NS_PER_US,
                                           .next = &next,
                                           .position = order[i]};
            task_spawn(&sleepers[i].task, executor, &sleeper_type);
        }
        fixture_finish(executor);
        cr_assert_eq(next, 5);
    }
}

Test(timer, a_deadline_in_the_past_fires_at_once)
{
    struct executor *executor = fixture_create(NULL);
    unsigned next = 0;
    struct sleeper sleeper = {.deadline_ns = 0, .next = &next};

    task_spawn(&sleeper.task, executor, &sleeper_type);
    fixture_finish(executor);
    cr_assert_eq(next, 1);
}

struct fickle {
    struct task task;
    struct timer never;
    struct timer timer;
    unsigned polls;
};

static enum task_verdict fickle_poll(struct task *task)
{
    struct fickle *const fickle = container_of(task, struct fickle, task);
    uint64_t now_ns = executor_now_ns(task->executor);

    fickle->polls++;
    ASYNC_BEGIN(task)
        ;
        timer_cancel(&fickle->never);
        cr_assert_not(timer_is_armed(&fickle->never) || timer_has_fired(&fickle->never), "idle");
        /* Re-armed: only the last deadline counts. */
        timer_arm(&fickle->never, task, now_ns);
        timer_arm(&fickle->never, task, UINT64_MAX);
        cr_assert_eq(task->in_flight, 1);
        timer_arm(&fickle->timer, task, now_ns + 2 * NS_PER_MS);
        AWAIT(task, SLEEPER_SLEEP, timer_has_fired(&fickle->timer));
        cr_assert(timer_is_armed(&fickle->never), "a deadline that never comes");
        timer_cancel(&fickle->never);
        timer_cancel(&fickle->timer);
        cr_assert_not(timer_has_fired(&fickle->timer), "cancelled is idle again");
        cr_assert_eq(task->in_flight, 0);
        ASYNC_END(task);
}

Test(timer, is_armed_again_and_cancelled)
{
    static const struct task_type type = {.name = "fickle", .poll = fickle_poll};
    struct executor *executor = fixture_create(NULL);
    struct fickle fickle = {.polls = 0};

    task_spawn(&fickle.task, executor, &type);
    fixture_finish(executor);
#ifndef ASYNC_STRESS
    cr_assert_eq(fickle.polls, 2, "one start, one deadline");
#endif
}

static enum task_verdict forgetful_poll(struct task *task)
{
    timer_arm(&container_of(task, struct fickle, task)->timer, task, UINT64_MAX);
    return TASK_DONE;
}

Test(timer, ending_a_task_with_one_armed_is_a_bug, .signal = SIGABRT)
{
    static const struct task_type type = {.name = "forgetful", .poll = forgetful_poll};
    struct executor *executor = fixture_create(NULL);
    struct fickle fickle = {.polls = 0};

    task_spawn(&fickle.task, executor, &type);
    fixture_finish(executor);
}

/* ---- the wheel against a plain model ---- */

enum { MODEL_TIMERS = 500, TICK_NS = 1024 };

struct model {
    struct wheel wheel;
    struct timer timers[MODEL_TIMERS];
    uint64_t now_ns;
    uint64_t random;
};

static struct model model;

static uint64_t draw(void)
{
    model.random ^= model.random << 13;
    model.random ^= model.random >> 7;
    model.random ^= model.random << 17;
    return model.random;
}

static void model_fire(struct timer *timer)
{
    cr_assert_eq(timer->status, TIMER_ARMED);
    cr_assert_leq(timer->deadline_ns, model.now_ns, "never early");
    timer->status = TIMER_FIRED;
}

static uint64_t model_earliest(void)
{
    uint64_t earliest = UINT64_MAX;

    for (unsigned i = 0; i < MODEL_TIMERS; i++)
        if (model.timers[i].status == TIMER_ARMED && model.timers[i].deadline_ns < earliest)
            earliest = model.timers[i].deadline_ns;
    return earliest;
}

static void model_arm(struct timer *timer, uint64_t deadline_ns)
{
    timer->deadline_ns = deadline_ns;
    timer->status = TIMER_ARMED;
    wheel_add(&model.wheel, timer);
}

/* Times of every magnitude, from nothing to beyond the end of time. */
static uint64_t draw_delay(void)
{
    return draw() >> (draw() % 64);
}

static void model_step(void)
{
    struct timer *timer = &model.timers[draw() % MODEL_TIMERS];
    uint64_t delay_ns = draw_delay();

    if (timer->status == TIMER_ARMED) {
        wheel_remove(&model.wheel, timer);
        timer->status = TIMER_IDLE;
    } else if (delay_ns < UINT64_MAX - model.now_ns) {
        model_arm(timer, model.now_ns + delay_ns);
    }
    if (draw() % 4)
        return;
    /* Not past the end of time, so that late steps still have room. */
    delay_ns = draw_delay() >> 24;
    if (delay_ns < UINT64_MAX - model.now_ns)
        model.now_ns += delay_ns;
    wheel_advance(&model.wheel, model.now_ns, model_fire);
}

static void model_check(void)
{
    uint64_t earliest = model_earliest();
    uint64_t next = wheel_next_ns(&model.wheel);

    if (earliest == UINT64_MAX) {
        cr_assert_eq(next, UINT64_MAX);
        return;
    }
    cr_assert_geq(earliest + TICK_NS, model.now_ns, "nothing that is due is left");
    cr_assert_leq(next - TICK_NS, earliest, "never late");
}

Test(wheel, fires_what_a_plain_model_fires, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        memset(&model, 0, sizeof(model));
        model.random = seed * 0x9e3779b97f4a7c15ULL;
        model.now_ns = draw() >> 20;
        wheel_init(&model.wheel, model.now_ns);
        for (unsigned i = 0; i < 20000; i++) {
            model_step();
            if (i % 16 == 0)
                model_check();
        }
    }
}

Test(wheel, the_next_deadline_is_exact_far_ahead)
{
    static struct wheel wheel;
    struct timer near = {.deadline_ns = 100 * NS_PER_MS}, far = {.deadline_ns = 3600 * NS_PER_S};

    wheel_init(&wheel, 0);
    cr_assert_eq(wheel_next_ns(&wheel), UINT64_MAX);
    wheel_add(&wheel, &far);
    cr_assert_geq(wheel_next_ns(&wheel), far.deadline_ns, "one wake-up, not one per level");
    cr_assert_lt(wheel_next_ns(&wheel), far.deadline_ns + TICK_NS);
    wheel_add(&wheel, &near);
    cr_assert_geq(wheel_next_ns(&wheel), near.deadline_ns);
    cr_assert_lt(wheel_next_ns(&wheel), near.deadline_ns + TICK_NS);
    wheel_remove(&wheel, &near);
    cr_assert_geq(wheel_next_ns(&wheel), far.deadline_ns);
}

static unsigned fired;

static void count_fire(struct timer *timer)
{
    timer->status = TIMER_FIRED;
    fired++;
}

Test(wheel, a_crowd_fires_as_one, .timeout = 60)
{
    enum { CROWD = 100000 };
    static struct wheel wheel;
    struct timer *timers = calloc(CROWD, sizeof(*timers));
    uint64_t now_ns = 0, wakes = 0;

    cr_assert_not_null(timers);
    wheel_init(&wheel, 0);
    for (unsigned i = 0; i < CROWD; i++) {
        timers[i] = (struct timer){.deadline_ns = NS_PER_S + i % 7, .status = TIMER_ARMED};
        wheel_add(&wheel, &timers[i]);
    }
    for (; fired < CROWD; wakes++) {
        uint64_t next_ns = wheel_next_ns(&wheel);

        cr_assert_gt(next_ns, now_ns, "each wake-up moves on");
        now_ns = next_ns;
        wheel_advance(&wheel, now_ns, count_fire);
    }
    cr_assert_leq(wakes, WHEEL_LEVELS);
    cr_assert_eq(wheel.armed, 0);
    free(timers);
}
