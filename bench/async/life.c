/* Tasks from beginning to end: allocated, run once, freed; all of them alive at one time. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/check.h"
#include "bench.h"

struct mayfly {
    struct task task;
    void *payload;
};

static enum task_verdict mayfly_poll(struct task *task)
{
    (void)task;
    return TASK_DONE;
}

static void mayfly_done(struct task *task)
{
    free(container_of(task, struct mayfly, task));
}

struct cost {
    double ns, bytes; /* of one */
};

static uint64_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static struct cost live(uint64_t count)
{
    static const struct task_type type = {
        .name = "mayfly", .poll = mayfly_poll, .done = mayfly_done};
    struct executor *executor = bench_executor(0);
    uint64_t before = allocated();
    struct stopwatch watch;
    double bytes, ns;

    stopwatch_start(&watch);
    for (uint64_t i = 0; i < count; i++) {
        struct mayfly *mayfly = malloc(sizeof(*mayfly));

        CHECK(mayfly);
        task_spawn(&mayfly->task, executor, &type);
    }
    ns = stopwatch_ns(&watch);
    bytes = (double)(allocated() - before);
    ns += bench_run(executor);
    return (struct cost){ns / (double)count, bytes / (double)count};
}

/* What comes closest in libuv: a handle that is called in the next turn, closes itself, and is
 * freed. */
static void libuv_mayfly_closed(uv_handle_t *handle)
{
    free(handle);
}

static void libuv_mayfly_called(uv_idle_t *idle)
{
    uv_close((uv_handle_t *)idle, libuv_mayfly_closed);
}

static struct cost libuv_live(uint64_t count)
{
    struct stopwatch watch;
    uint64_t before;
    double bytes, ns;
    uv_loop_t loop;

    CHECK_CMP(uv_loop_init(&loop), ==, 0);
    before = allocated();
    stopwatch_start(&watch);
    for (uint64_t i = 0; i < count; i++) {
        uv_idle_t *idle = malloc(sizeof(*idle));

        CHECK(idle);
        uv_idle_init(&loop, idle);
        uv_idle_start(idle, libuv_mayfly_called);
    }
    bytes = (double)(allocated() - before);
    uv_run(&loop, UV_RUN_DEFAULT);
    ns = stopwatch_ns(&watch);
    CHECK_CMP(uv_loop_close(&loop), ==, 0);
    return (struct cost){ns / (double)count, bytes / (double)count};
}

static double task_life(const struct bench_size *size, unsigned parameter)
{
    (void)parameter;
    return live(size->tasks).ns;
}

static double task_bytes(const struct bench_size *size, unsigned parameter)
{
    (void)parameter;
    return live(size->tasks).bytes;
}

static double libuv_life(const struct bench_size *size, unsigned parameter)
{
    (void)parameter;
    return libuv_live(size->tasks).ns;
}

static double libuv_bytes(const struct bench_size *size, unsigned parameter)
{
    (void)parameter;
    return libuv_live(size->tasks).bytes;
}

static const struct bench benches[] = {
    {"task_life_1e6", "ns", task_life, "libuv idle", libuv_life, 0},
    {"task_bytes_1e6", "bytes", task_bytes, "libuv idle", libuv_bytes, 0},
};
const struct bench_group bench_life = {benches, array_count(benches), NULL};
