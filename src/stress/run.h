/*
 * A run: all workers on one primitive, from the first operation to the state at rest, watched.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"
#include "stress/config.h"

struct host;
struct worker;
struct workload;

struct run {
    /* Read-only for workloads. */
    const struct stress_config *config;
    const struct workload *workload;
    void *arena;
    struct worker *workers;
    uint32_t worker_count;
    uint64_t quota; /* operations of each worker */

    /* Private. */
    atomic_bool stop;         /* nobody begins anything new */
    atomic_bool is_abandoned; /* after a failure: tasks cancel and end */
    atomic_uint failing;      /* enum failing */
    char failure[320];
    struct host *hosts;
    uint32_t host_count;
    uint64_t begin_ns;
    atomic_uint gate;    /* enum gate: threads wait for it to open */
    atomic_uint running; /* threads with workers that run */
};

/* Something that must hold does not. Any thread; only the first one counts. */
cold_fn void run_fail(struct run *run, const char *format, ...) printf_like(2, 3);
/* Any thread. Then everything stays as it is. */
bool run_has_failed(const struct run *run);
/* Any thread. Until what is left is told to end. */
bool run_is_abandoned(const struct run *run);
/* A thread need not wait for longer: by then the watch has seen that the bound is broken. */
uint64_t run_wait_limit_ns(const struct run *run);

struct run_summary {
    uint64_t elapsed_ns;
    uint64_t operations;
    uint64_t cancelled;
    uint64_t starved;
    uint64_t wait_p50_ns, wait_p999_ns, wait_max_ns;
    uint64_t share_min, share_max; /* operations of a worker */
    bool has_failed;
    char failure[320];
};

/* How a run tells what it does: called about ten times a second. True: enough. */
struct run_view {
    bool (*tick)(struct run_view *view, const struct run *run, uint64_t now_ns);
};

uint64_t run_operations(const struct run *run);
uint64_t run_cancelled(const struct run *run);

/*
 * Runs a workload to its end. 0 also when something did not hold: then summary says so, and the
 * state of everything was written to `dump`. Negative errno: it could not begin. `view` may be
 * NULL. When a thread is stuck for good after a failure there is no way back: ends the process
 * with 1.
 */
must_check int run_workload(const struct workload *workload, const struct stress_config *config,
                            struct run_view *view, FILE *dump, struct run_summary *summary,
                            struct err *err);
