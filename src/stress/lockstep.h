/*
 * Workers in lockstep: nobody finishes generation g before all have arrived at it. Used by the
 * primitives that many wait for at once. Each leaves a mark before it arrives, in plain memory, and
 * looks at another's afterwards: so ThreadSanitizer sees a primitive that does not order.
 */
#pragma once
#include <stdint.h>

#include "base/atomic.h"
#include "stress/run.h"
#include "stress/worker.h"

struct lockstep {
    /* No generation from here on: somebody said so before it arrived at the one before. */
    cache_isolated atomic_ulong end;
    uint64_t *marks[2]; /* of each worker, in even and in odd generations */
};

must_check int lockstep_init(struct lockstep *lockstep, struct run *run);
void lockstep_fini(struct lockstep *lockstep);
/* Before the worker arrives at its generation. False: that one does not take place. */
must_check bool lockstep_begin(struct lockstep *lockstep, struct worker *worker);
/* The worker has finished its generation, the next one is its next. */
void lockstep_finish(struct lockstep *lockstep, struct worker *worker);
void lockstep_dump(const struct lockstep *lockstep, const struct run *run, FILE *out);
