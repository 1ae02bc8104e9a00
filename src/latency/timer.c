/* A task that sleeps for times of all lengths, and looks how late it is. */
#include "exec/timer.h"

#include "base/clock.h"
#include "latency/crew.h"
#include "latency/probe.h"

#define SLEEP_MIN_NS (50 * NS_PER_US)
#define SLEEP_MAX_NS (1000 * NS_PER_US)

struct sleeper {
    struct task task;
    struct timer timer;
    struct probe_run *run;
};

enum { SLEEPER_SLEEP = 1 };

static enum task_verdict sleeper_poll(struct task *task)
{
    struct sleeper *const sleeper = container_of(task, struct sleeper, task);

    ASYNC_BEGIN(task)
        ;
        do {
            timer_sleep(&sleeper->timer, task,
                        random_between(&sleeper->run->random, SLEEP_MIN_NS, SLEEP_MAX_NS));
            AWAIT(task, SLEEPER_SLEEP, timer_has_fired(&sleeper->timer));
        } while (!probe_record(sleeper->run, sleeper->timer.deadline_ns, clock_now_ns()));
        ASYNC_END(task);
}

int timer_measure(struct probe_run *run, struct err *err)
{
    static const struct task_type type = {.name = "sleeper", .poll = sleeper_poll};
    struct sleeper sleeper = {.run = run};
    struct crew crew;
    int ret = crew_create(&crew, run, 1, run->poll_us, err);

    if (ret)
        return ret;
    task_spawn(&sleeper.task, crew.executors[0], &type);
    crew_run(&crew);
    crew_destroy(&crew);
    return 0;
}
