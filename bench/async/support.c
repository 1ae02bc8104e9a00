#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "bench.h"
#include "report/run_delay.h"

struct executor *bench_executor(uint32_t poll_us)
{
    const struct executor_config config = {.poll_us_max = poll_us};
    struct executor *executor;
    struct err err;

    if (executor_create(&executor, &config, &err) < 0) {
        fprintf(stderr, "bench-async: %s\n", err.text);
        exit(1);
    }
    return executor;
}

void *bench_alloc(uint64_t count, uint64_t size)
{
    uint64_t bytes = align_up(count * size, 128);
    void *memory = aligned_alloc(128, bytes);

    if (!memory) {
        fprintf(stderr, "bench-async: no memory for %llu bytes\n", (unsigned long long)bytes);
        exit(1);
    }
    memset(memory, 0, bytes);
    return memory;
}

void stopwatch_start(struct stopwatch *watch)
{
    /* The clock first here and last in stopwatch_ns: a wait between the two looks is not taken off,
     * or it would be taken off a time that it is not part of. */
    watch->begin_ns = clock_now_ns();
    watch->delay_ns = run_delay_ns();
}

double stopwatch_ns(const struct stopwatch *watch)
{
    uint64_t delay_ns = run_delay_ns() - watch->delay_ns;

    return (double)(clock_now_ns() - watch->begin_ns - delay_ns);
}

double bench_run(struct executor *executor)
{
    struct stopwatch watch;
    double ns;

    stopwatch_start(&watch);
    CHECK_CMP(executor_run(executor), ==, 0);
    ns = stopwatch_ns(&watch);
    executor_destroy(executor);
    return ns;
}

/* ---- threads that begin together ---- */

struct crowd {
    pthread_barrier_t gate;
    unsigned count;
    void (*run)(void *arg, unsigned index);
    void *arg;
};

struct runner {
    struct crowd *crowd;
    unsigned index;
    pthread_t thread;
};

int bench_cpu_at(const cpu_set_t *cpus, bool is_last)
{
    int found = -1;

    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((unsigned)cpu, cpus) && (found < 0 || is_last))
            found = cpu;
    return found;
}

void bench_pin_to(int cpu)
{
    cpu_set_t only;

    CPU_ZERO(&only);
    CPU_SET((unsigned)cpu, &only);
    CHECK_CMP(sched_setaffinity(0, sizeof(only), &only), ==, 0);
}

/* Of two each has a cpu to itself. */
static void place(const struct runner *runner)
{
    cpu_set_t cpus;

    if (runner->crowd->count != 2)
        return;
    CHECK_CMP(sched_getaffinity(0, sizeof(cpus), &cpus), ==, 0);
    bench_pin_to(bench_cpu_at(&cpus, runner->index));
}

static void *runner_main(void *arg)
{
    struct runner *runner = arg;

    place(runner);
    pthread_barrier_wait(&runner->crowd->gate);
    runner->crowd->run(runner->crowd->arg, runner->index);
    return NULL;
}

double bench_threads(unsigned count, void (*run)(void *arg, unsigned index), void *arg)
{
    struct crowd crowd = {.count = count, .run = run, .arg = arg};
    struct runner *runners = bench_alloc(count, sizeof(*runners));
    uint64_t begin_ns;

    CHECK_CMP(pthread_barrier_init(&crowd.gate, NULL, count + 1), ==, 0);
    for (unsigned i = 0; i < count; i++) {
        runners[i] = (struct runner){.crowd = &crowd, .index = i};
        CHECK_CMP(pthread_create(&runners[i].thread, NULL, runner_main, &runners[i]), ==, 0);
    }
    begin_ns = clock_now_ns();
    pthread_barrier_wait(&crowd.gate);
    for (unsigned i = 0; i < count; i++)
        CHECK_CMP(pthread_join(runners[i].thread, NULL), ==, 0);
    begin_ns = clock_now_ns() - begin_ns;
    pthread_barrier_destroy(&crowd.gate);
    free(runners);
    return (double)begin_ns;
}

static void run_one_of_two(void *arg, unsigned index)
{
    struct executor **executors = arg;

    CHECK_CMP(executor_run(executors[index]), ==, 0);
}

double bench_run_two(struct executor *here, struct executor *there)
{
    struct executor *executors[] = {here, there};
    double ns = bench_threads(2, run_one_of_two, executors);

    /* Only now: each may have woken tasks of the other. */
    executor_destroy(here);
    executor_destroy(there);
    return ns;
}
