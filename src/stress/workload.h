/*
 * A workload: what workers do with one primitive, and what must hold meanwhile. A worker goes
 *
 *     plan -> start (a task) or block (a plain thread) -> finish -> hold -> leave -> plan ...
 *
 * All are called by the worker's own thread.
 */
#pragma once
#include <stdio.h>

#include "stress/run.h"
#include "stress/worker.h"

enum plan {
    PLAN_WAITS,   /* for the future that `start` starts */
    PLAN_IS_DONE, /* without waiting; finish comes next, with 0 */
    PLAN_ENDS,    /* the worker is at its end */
};

enum outcome {
    OUTCOME_AGAIN, /* cancelled, or one wait of several */
    OUTCOME_DONE,  /* one operation more */
    OUTCOME_HOLDS, /* the same, and `leave` ends it after the hold */
};

struct workload {
    const char *name;
    const char *summary;
    bool is_blocking; /* no tasks: for primitives of plain threads */
    bool has_readers;
    size_t arena_size; /* of run->arena, zeroed and aligned for isolated primitives */
    const char *const *phases;
    /* Optional; before there are workers. 0 or -ENOMEM. */
    int (*init)(struct run *run);
    /* Optional; not called after an init that failed. */
    void (*fini)(struct run *run);
    enum plan (*plan)(struct worker *worker);
    void (*start)(struct worker *worker);
    /* 0, or -ETIMEDOUT; the deadline is of CLOCK_MONOTONIC. */
    int (*block)(struct worker *worker, uint64_t deadline_ns);
    /* result: what the future, or `block`, says. */
    enum outcome (*finish)(struct worker *worker, int result);
    void (*leave)(struct worker *worker);
    /* All workers have ended by themselves: what must hold at rest. */
    void (*check_end)(struct run *run);
    /* Words of state, a line each. The workers have stopped somewhere. */
    void (*dump)(const struct run *run, FILE *out);
};

extern const struct workload workload_mutex, workload_rwlock, workload_cond, workload_semaphore,
    workload_channel, workload_event, workload_notify, workload_barrier, workload_once,
    workload_wait_group, workload_pthread_mutex, workload_pthread_rwlock, workload_pthread_cond;

/* All of them; NULL ends the list. */
extern const struct workload *const workloads[];
