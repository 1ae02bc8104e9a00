/* The ready queue: tasks that wake themselves, and each other. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/arith.h"
#include "base/check.h"
#include "bench.h"

/* ---- resume: tasks that wake themselves ---- */

struct spinner {
    struct task task;
    uint64_t left;
};

static enum task_verdict spinner_poll(struct task *task)
{
    struct spinner *const spinner = container_of(task, struct spinner, task);

    if (!--spinner->left)
        return TASK_DONE;
    task_wake(task);
    return TASK_PENDING;
}

static double resume(const struct bench_size *size, unsigned parameter)
{
    static const struct task_type type = {.name = "spinner", .poll = spinner_poll};
    uint64_t tasks = u64_min(parameter, size->resumes), rounds = size->resumes / tasks;
    struct executor *executor = bench_executor(0);
    struct spinner *spinners = bench_alloc(tasks, sizeof(*spinners));
    double ns;

    for (uint64_t i = 0; i < tasks; i++) {
        spinners[i].left = rounds;
        task_spawn(&spinners[i].task, executor, &type);
    }
    ns = bench_run(executor) / (double)(rounds * tasks);
    free(spinners);
    return ns;
}

/* What libuv calls in every turn of its loop. */
static void idle_called(uv_idle_t *idle)
{
    uint64_t *left = idle->data;

    if (!--*left)
        uv_stop(idle->loop);
}

static double libuv_idle(const struct bench_size *size, unsigned parameter)
{
    uint64_t count = u64_min(parameter, size->resumes), left = size->resumes / count * count;
    uv_idle_t *idles = bench_alloc(count, sizeof(*idles));
    uint64_t total = left;
    struct stopwatch watch;
    double ns;
    uv_loop_t loop;

    CHECK_CMP(uv_loop_init(&loop), ==, 0);
    for (uint64_t i = 0; i < count; i++) {
        uv_idle_init(&loop, &idles[i]);
        idles[i].data = &left;
        uv_idle_start(&idles[i], idle_called);
    }
    stopwatch_start(&watch);
    uv_run(&loop, UV_RUN_DEFAULT);
    ns = stopwatch_ns(&watch);
    for (uint64_t i = 0; i < count; i++)
        uv_close((uv_handle_t *)&idles[i], NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_CMP(uv_loop_close(&loop), ==, 0);
    free(idles);
    return ns / (double)total;
}

/* ---- wake: two tasks that wake each other ---- */

struct pair {
    struct task tasks[2];
    uint64_t left;
};

static enum task_verdict pair_poll(struct pair *pair, unsigned self)
{
    if (task_is_live(&pair->tasks[!self]))
        task_wake(&pair->tasks[!self]);
    if (pair->left <= 1)
        return TASK_DONE;
    pair->left--;
    return TASK_PENDING;
}

static enum task_verdict ping_poll(struct task *task)
{
    return pair_poll(container_of(task, struct pair, tasks[0]), 0);
}

static enum task_verdict pong_poll(struct task *task)
{
    return pair_poll(container_of(task, struct pair, tasks[1]), 1);
}

static double wake(const struct bench_size *size, unsigned parameter)
{
    static const struct task_type types[2] = {{.name = "ping", .poll = ping_poll},
                                              {.name = "pong", .poll = pong_poll}};
    struct executor *executor = bench_executor(0);
    struct pair pair = {.left = size->resumes};

    (void)parameter;
    /* The second waits for the first's wake-up from the start. */
    task_spawn(&pair.tasks[0], executor, &types[0]);
    task_spawn(&pair.tasks[1], executor, &types[1]);
    return bench_run(executor) / (double)size->resumes;
}

struct libuv_pair {
    uv_async_t asyncs[2];
    uint64_t left;
};

static void async_called(uv_async_t *async)
{
    struct libuv_pair *pair = async->data;

    if (!--pair->left)
        uv_stop(async->loop);
    else
        uv_async_send(&pair->asyncs[async == &pair->asyncs[0]]);
}

static double libuv_async(const struct bench_size *size, unsigned parameter)
{
    uint64_t total = size->resumes / 10;
    struct libuv_pair pair = {.left = total};
    struct stopwatch watch;
    double ns;
    uv_loop_t loop;

    (void)parameter;
    CHECK_CMP(uv_loop_init(&loop), ==, 0);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_CMP(uv_async_init(&loop, &pair.asyncs[i], async_called), ==, 0);
        pair.asyncs[i].data = &pair;
    }
    stopwatch_start(&watch);
    uv_async_send(&pair.asyncs[0]);
    uv_run(&loop, UV_RUN_DEFAULT);
    ns = stopwatch_ns(&watch);
    for (unsigned i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&pair.asyncs[i], NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_CMP(uv_loop_close(&loop), ==, 0);
    return ns / (double)total;
}

static void print_sizes(void)
{
    printf("task %zu", sizeof(struct task));
}

static const struct bench benches[] = {
    {"resume", "ns", resume, "libuv idle", libuv_idle, 1},
    {"resume_100", "ns", resume, "libuv idle", libuv_idle, 100},
    {"resume_100000", "ns", resume, "libuv idle", libuv_idle, 100000},
    {"wake", "ns", wake, "libuv async", libuv_async, 0},
};
const struct bench_group bench_ready = {benches, array_count(benches), print_sizes};
