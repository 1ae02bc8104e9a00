/* One or two executors that run at the same time, for the measurements. */
#pragma once
#include <pthread.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"
#include "exec/executor.h"

enum { CREW_SIZE_MAX = 2 };

struct crew {
    struct executor *executors[CREW_SIZE_MAX]; /* read-only */
    unsigned count;                            /* private: and so the rest */
    pthread_t thread;
    atomic_uint gate;
    uint64_t run_delay_ns;
};

/* The crew is neither moved nor freed until crew_destroy. 0, or a negative errno with its line. */
must_check int crew_create(struct crew *crew, unsigned count, uint32_t poll_us, struct err *err);

/*
 * Runs the executors, whose tasks have been spawned, until none is left: the first on this thread,
 * the second on one of its own. Adds to *delay_ns how long both waited for a cpu. Once.
 */
void crew_run(struct crew *crew, uint64_t *delay_ns);

/* After the run, or without one while no task was spawned. */
void crew_destroy(struct crew *crew);
