/* Two tasks of one executor that wake each other. */
#include "base/clock.h"
#include "latency/crew.h"
#include "latency/probe.h"

struct wake_scene {
    struct task tasks[2];
    struct probe_run *run;
    unsigned turn;
    uint64_t woken_ns; /* 0: not yet */
};

static enum task_verdict player_poll(struct wake_scene *scene, unsigned self)
{
    uint64_t now_ns = clock_now_ns();

    if (probe_is_over(scene->run))
        return TASK_DONE;
    if (scene->turn != self)
        return TASK_PENDING;
    if (scene->woken_ns)
        probe_record(scene->run, scene->woken_ns, now_ns);
    scene->turn = !self;
    scene->woken_ns = clock_now_ns();
    task_wake(&scene->tasks[!self]);
    return probe_is_over(scene->run) ? TASK_DONE : TASK_PENDING;
}

static enum task_verdict player_0_poll(struct task *task)
{
    return player_poll(container_of(task, struct wake_scene, tasks[0]), 0);
}

static enum task_verdict player_1_poll(struct task *task)
{
    return player_poll(container_of(task, struct wake_scene, tasks[1]), 1);
}

int wake_measure(struct probe_run *run, struct err *err)
{
    static const struct task_type types[2] = {{.name = "ping", .poll = player_0_poll},
                                              {.name = "pong", .poll = player_1_poll}};
    struct wake_scene scene = {.run = run};
    struct crew crew;
    int ret = crew_create(&crew, run, 1, run->poll_us, err);

    if (ret)
        return ret;
    for (unsigned i = 0; i < 2; i++)
        task_spawn(&scene.tasks[i], crew.executors[0], &types[i]);
    crew_run(&crew);
    crew_destroy(&crew);
    return 0;
}
