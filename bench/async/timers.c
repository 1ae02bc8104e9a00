/* Timers: many of them armed at pseudo-random times within 100 s, then cancelled. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "bench.h"
#include "exec/timer.h"

/* A task counts what it has in flight in 16 bits: the timers are spread over many tasks. */
enum { TIMERS_PER_TASK = 1 << 15 };

/* Nanoseconds for all timers in all rounds. */
struct times {
    double arm_ns, cancel_ns;
};

/* Few timers are armed and cancelled again and again, so that the clock sees something. */
static uint64_t rounds_of(const struct bench_size *size, uint64_t count)
{
    return u64_max(1, size->timers / count / 4);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

struct clockmaker {
    struct task task;
    struct task *owners;
    struct timer *timers;
    uint64_t count, rounds;
    struct times times;
};

static enum task_verdict clockmaker_poll(struct task *task)
{
    struct clockmaker *const maker = container_of(task, struct clockmaker, task);
    uint64_t random = 88172645463325252ULL;

    for (uint64_t round = 0; round < maker->rounds; round++) {
        uint64_t now_ns = clock_now_ns();
        struct stopwatch watch;

        stopwatch_start(&watch);
        for (uint64_t i = 0; i < maker->count; i++)
            timer_arm(&maker->timers[i], &maker->owners[i / TIMERS_PER_TASK],
                      now_ns + NS_PER_S + next_random(&random) % (100 * NS_PER_S));
        maker->times.arm_ns += stopwatch_ns(&watch);
        stopwatch_start(&watch);
        for (uint64_t i = 0; i < maker->count; i++)
            timer_cancel(&maker->timers[i]);
        maker->times.cancel_ns += stopwatch_ns(&watch);
    }
    return TASK_DONE;
}

static struct times measure(const struct bench_size *size, uint64_t count)
{
    static const struct task_type type = {.name = "clockmaker", .poll = clockmaker_poll};
    struct executor *executor = bench_executor(0);
    uint64_t owner_count = count / TIMERS_PER_TASK + 1;
    struct clockmaker maker = {
        .owners = bench_alloc(owner_count, sizeof(struct task)),
        .timers = bench_alloc(count, sizeof(struct timer)),
        .count = count,
        .rounds = rounds_of(size, count),
    };

    for (uint64_t i = 0; i < owner_count; i++)
        maker.owners[i] = (struct task){.type = &type, .executor = executor};
    task_spawn(&maker.task, executor, &type);
    bench_run(executor);
    free(maker.timers);
    free(maker.owners);
    return maker.times;
}

static void libuv_timer_called(uv_timer_t *timer)
{
    (void)timer;
}

static struct times libuv_measure(const struct bench_size *size, uint64_t count)
{
    uv_timer_t *timers = bench_alloc(count, sizeof(*timers));
    uint64_t rounds = rounds_of(size, count), random = 88172645463325252ULL;
    struct times times = {0};
    uv_loop_t loop;

    CHECK_CMP(uv_loop_init(&loop), ==, 0);
    for (uint64_t i = 0; i < count; i++)
        uv_timer_init(&loop, &timers[i]);
    for (uint64_t round = 0; round < rounds; round++) {
        struct stopwatch watch;

        stopwatch_start(&watch);
        for (uint64_t i = 0; i < count; i++)
            uv_timer_start(&timers[i], libuv_timer_called, 1000 + next_random(&random) % 100000, 0);
        times.arm_ns += stopwatch_ns(&watch);
        stopwatch_start(&watch);
        for (uint64_t i = 0; i < count; i++)
            uv_timer_stop(&timers[i]);
        times.cancel_ns += stopwatch_ns(&watch);
    }
    for (uint64_t i = 0; i < count; i++)
        uv_close((uv_handle_t *)&timers[i], NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_CMP(uv_loop_close(&loop), ==, 0);
    free(timers);
    return times;
}

/* The smoke size has fewer than the largest benchmarks ask for. */
static uint64_t count_of(const struct bench_size *size, unsigned parameter)
{
    return u64_min(parameter, size->timers);
}

static double per_timer(const struct bench_size *size, uint64_t count, double ns)
{
    return ns / (double)(count * rounds_of(size, count));
}

static double arm(const struct bench_size *size, unsigned parameter)
{
    uint64_t count = count_of(size, parameter);

    return per_timer(size, count, measure(size, count).arm_ns);
}

static double cancel(const struct bench_size *size, unsigned parameter)
{
    uint64_t count = count_of(size, parameter);

    return per_timer(size, count, measure(size, count).cancel_ns);
}

static double libuv_arm(const struct bench_size *size, unsigned parameter)
{
    uint64_t count = count_of(size, parameter);

    return per_timer(size, count, libuv_measure(size, count).arm_ns);
}

static double libuv_cancel(const struct bench_size *size, unsigned parameter)
{
    uint64_t count = count_of(size, parameter);

    return per_timer(size, count, libuv_measure(size, count).cancel_ns);
}

static void print_sizes(void)
{
    printf(", timer %zu (libuv %zu)", sizeof(struct timer), sizeof(uv_timer_t));
}

static const struct bench benches[] = {
    {"timer_arm_1e2", "ns", arm, "libuv timer", libuv_arm, 100},
    {"timer_arm_1e4", "ns", arm, "libuv timer", libuv_arm, 10000},
    {"timer_arm_1e6", "ns", arm, "libuv timer", libuv_arm, 1000000},
    {"timer_cancel_1e2", "ns", cancel, "libuv timer", libuv_cancel, 100},
    {"timer_cancel_1e4", "ns", cancel, "libuv timer", libuv_cancel, 10000},
    {"timer_cancel_1e6", "ns", cancel, "libuv timer", libuv_cancel, 1000000},
};
const struct bench_group bench_timers = {benches, array_count(benches), print_sizes};
