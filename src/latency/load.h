/*
 * What competes with a measurement: threads, for cpus, caches and memory, and in each executor
 * tasks that compute and let others run, over and over.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"

#include "exec/executor.h"
#include "latency/probe.h"

enum { LOAD_THREADS_MAX = 256, LOAD_TASKS_MAX = 1000 };

struct load_size {
    uint32_t threads;
    uint32_t tasks; /* in each executor */
};

static inline bool load_size_is_zero(const struct load_size *size)
{
    return !size->threads && !size->tasks;
}

struct load {
    unsigned count;                      /* read-only */
    pthread_t threads[LOAD_THREADS_MAX]; /* private */
    atomic_uint state;                   /* private */
};

/* Starts `count` threads, at most LOAD_THREADS_MAX (asserted), which sleep. 0, or a negative errno
 * with its line. */
must_check int load_create(struct load *load, unsigned count, struct err *err);
/* Lets them work, or sleep again soon. */
void load_set_busy(struct load *load, bool busy);
void load_destroy(struct load *load);

struct load_task;

/* The load of one executor: run->load_tasks tasks, which end soon after the measurement is over.
 * Freed by free() then; NULL when there are none. 0 or -ENOMEM. */
must_check int load_tasks_create(struct load_task **tasks, struct probe_run *run);
/* Before the executor runs. */
void load_tasks_spawn(struct load_task *tasks, uint32_t count, struct executor *executor);
