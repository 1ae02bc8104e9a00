/*
 * The benchmarks of the async library, by subject. Each does its work once and says what a piece of
 * it cost; its reference does the same work with what others have. main.c alternates the two.
 */
#pragma once
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "exec/executor.h"
#include "exec/task.h"

enum {
    /* Of executors that may poll: longer than any answer that is worth polling for. */
    BENCH_POLL_US = 50,
};

/* How much work a run does; the smoke size only shows that everything runs. */
struct bench_size {
    uint64_t resumes;
    uint64_t operations; /* of io_uring */
    uint64_t timers;
    uint64_t tasks;
    uint64_t posts;
    uint64_t locks;     /* nobody waits */
    uint64_t handovers; /* a task waits for another one */
    uint64_t switches;  /* a thread waits for another one: each costs a thousand times as much */
};

struct bench {
    const char *name;
    const char *unit;
    double (*ours)(const struct bench_size *size, unsigned parameter);
    const char *reference; /* what `other` is, or NULL */
    double (*other)(const struct bench_size *size, unsigned parameter);
    unsigned parameter;
};

struct bench_group {
    const struct bench *benches;
    unsigned count;
    void (*print_sizes)(void); /* optional: of the structs */
};

extern const struct bench_group bench_ready, bench_io, bench_timers, bench_life, bench_locks,
    bench_handovers, bench_post;

/* Failures end the program with a line: there is nothing to measure. */

struct executor *bench_executor(uint32_t poll_us);
/* Zeroed, and touched: page faults are not what is measured. */
void *bench_alloc(uint64_t count, uint64_t size);
/* Work of the calling thread alone. */
struct stopwatch {
    uint64_t begin_ns, delay_ns;
};

void stopwatch_start(struct stopwatch *watch);
/* Nanoseconds since then, less what the thread waited for a cpu: others' work is not its cost. */
double stopwatch_ns(const struct stopwatch *watch);

/* Runs the tasks of an executor, and destroys it. Nanoseconds of a stopwatch. */
double bench_run(struct executor *executor);
/* The same of two executors at the same time, on two threads and cpus. Nanoseconds that passed. */
double bench_run_two(struct executor *here, struct executor *there);
/* `count` threads that begin together; two are on two cpus. Nanoseconds until the last one has
 * ended. */
double bench_threads(unsigned count, void (*run)(void *arg, unsigned index), void *arg);

/* The first or the last of `cpus`. */
int bench_cpu_at(const cpu_set_t *cpus, bool is_last);
/* The calling thread, and so those that it creates. */
void bench_pin_to(int cpu);
