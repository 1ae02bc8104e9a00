/*
 * One or two executors that run at the same time, for the measurements, each with its share of the
 * load.
 */
#pragma once
#include <pthread.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"
#include "exec/executor.h"
#include "latency/load.h"
#include "latency/probe.h"

enum { CREW_SIZE_MAX = 2 };

struct crew {
    struct executor *executors[CREW_SIZE_MAX]; /* read-only */
    struct probe_run *run;                     /* private: and so the rest */
    struct load_task *load[CREW_SIZE_MAX];
    unsigned count;
    pthread_t thread;
    atomic_uint gate;
    uint64_t run_delay_ns;
};

/* The crew is neither moved nor freed until crew_destroy. 0: it will be run; or a negative errno
 * with its line. */
must_check int crew_create(struct crew *crew, struct probe_run *run, unsigned count,
                           uint32_t poll_us, struct err *err);

/*
 * Runs the executors, whose tasks have been spawned, until none is left: the first on this thread,
 * the second on one of its own. Adds to run->run_delay_ns how long both waited for a cpu. Once.
 */
void crew_run(struct crew *crew);

/* After the run. */
void crew_destroy(struct crew *crew);
