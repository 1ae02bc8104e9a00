#include "exec/interval.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "base/clock.h"
#include "fixture.h"

#define PERIOD_NS (200 * NS_PER_US)

struct metronome {
    struct task task;
    struct interval interval;
    uint64_t start_ns; /* at the latest */
    uint64_t ticks;
    uint64_t resume_ns;
};

enum { TICK = 1, LATE, GRID };

static enum task_verdict metronome_poll(struct task *task)
{
    struct metronome *const metronome = container_of(task, struct metronome, task);
    struct interval *const interval = &metronome->interval;

    ASYNC_BEGIN(task)
        interval_start(interval, task, PERIOD_NS);
        cr_assert_eq(interval_take(interval), 0, "none is due");
        metronome->start_ns = interval->timer.deadline_ns - PERIOD_NS;
        while (metronome->ticks < 5) {
            AWAIT(task, TICK, interval_is_due(interval));
            metronome->ticks += interval_take(interval);
            cr_assert_geq(clock_now_ns(), metronome->start_ns + metronome->ticks * PERIOD_NS,
                          "never early");
            cr_assert_not(interval_is_due(interval), "taken");
        }
        /* A task that is held up for three periods misses ticks: they come as one. */
        metronome->resume_ns = clock_now_ns() + 3 * PERIOD_NS;
        AWAIT(task, LATE, interval_is_due(interval));
        while (clock_now_ns() < metronome->resume_ns)
            ;
        metronome->ticks = interval_take(interval);
        cr_assert_geq(metronome->ticks, 3);
        cr_assert_not(interval_is_due(interval));
        /* And the next is on the grid again. */
        cr_assert_eq((interval->timer.deadline_ns - metronome->start_ns) % PERIOD_NS, 0);
        AWAIT(task, GRID, future_poll(interval_future(interval)));
        interval_take(interval);
        interval_stop(interval);
        cr_assert(future_poll(interval_future(interval)), "a stopped one is finished");
        cr_assert_not(interval_is_due(interval));
        ASYNC_END(task);
}

static const struct task_type metronome_type = {.name = "metronome", .poll = metronome_poll};

Test(interval, ticks_stay_on_the_grid_and_missed_ones_are_counted)
{
    struct executor *executor = fixture_create(NULL);
    struct metronome metronome = {.ticks = 0};

    task_spawn(&metronome.task, executor, &metronome_type);
    fixture_finish(executor);
}

static enum task_verdict wrong_poll(struct task *task)
{
    interval_start(&container_of(task, struct metronome, task)->interval, task, 0);
    return TASK_DONE;
}

Test(interval, without_a_period_is_a_bug, .signal = SIGABRT)
{
    static const struct task_type type = {.name = "wrong", .poll = wrong_poll};
    struct executor *executor = fixture_create(NULL);
    struct metronome metronome = {.ticks = 0};

    task_spawn(&metronome.task, executor, &type);
    fixture_finish(executor);
}
