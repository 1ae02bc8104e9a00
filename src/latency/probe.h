/*
 * The measurements. Each runs a small scene over and over, as fast as it goes, and records how long
 * the part of it took that it is named after: from one read of the clock to the next.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"
#include "latency/files.h"
#include "report/histogram.h"

enum {
    PROBE_COUNT = 11,
    /* First samples that are dropped: caches, page faults, threads that start. */
    PROBE_WARM_UP = 16,
};

/* What a measurement needs, and where it leaves what it finds. */
struct probe_run {
    struct histogram *histogram;
    const struct files *files;
    uint64_t deadline_ns; /* of CLOCK_MONOTONIC; one sample at least is taken all the same */
    uint64_t samples_left;
    uint64_t random;       /* state of random_next, never 0 */
    uint32_t poll_us;      /* how long executors poll before they sleep */
    uint32_t load_tasks;   /* busy tasks in each executor, see load.h */
    uint32_t warm_up_left; /* PROBE_WARM_UP at the start */
    atomic_bool is_over;
    uint64_t run_delay_ns; /* result: how long its threads waited for a cpu */
};

/* Any thread. */
static inline bool probe_is_over(const struct probe_run *run)
{
    return atomic_load_explicit(&run->is_over, memory_order_relaxed);
}

/* After a failure; else probe_record knows. */
static inline void probe_end(struct probe_run *run)
{
    atomic_store_explicit(&run->is_over, true, memory_order_relaxed);
}

struct probe {
    const char *name;
    const char *title;
    const char *help;
    /* Any thread, which becomes that of an executor. 0, or a negative errno with its line. */
    int (*measure)(struct probe_run *run, struct err *err);
};

extern const struct probe probes[PROBE_COUNT];

/* True: that was the last one. Of several threads one at a time. */
bool probe_record(struct probe_run *run, uint64_t begin_ns, uint64_t end_ns);

/* xorshift64: the same numbers for the same seed. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* From `min` to `max`, both included. */
static inline uint64_t random_between(uint64_t *state, uint64_t min, uint64_t max)
{
    return min + random_next(state) % (max - min + 1);
}

/* Between tasks of one executor. */
must_check int wake_measure(struct probe_run *run, struct err *err);
must_check int lock_measure(struct probe_run *run, struct err *err);
must_check int channel_measure(struct probe_run *run, struct err *err);
/* Between tasks of two executors, each on its thread. */
must_check int lock_threads_measure(struct probe_run *run, struct err *err);
must_check int channel_threads_measure(struct probe_run *run, struct err *err);
/* Between a plain thread and a task. */
must_check int post_polling_measure(struct probe_run *run, struct err *err);
must_check int post_asleep_measure(struct probe_run *run, struct err *err);
/* Between a task and the kernel. */
must_check int timer_measure(struct probe_run *run, struct err *err);
must_check int nop_measure(struct probe_run *run, struct err *err);
must_check int read_measure(struct probe_run *run, struct err *err);
must_check int disk_measure(struct probe_run *run, struct err *err);
