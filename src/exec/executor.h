/*
 * The executor: one thread, one io_uring, many tasks. Phases of a turn:
 *
 *     run ready tasks -> look around: inbox, timers, watches -> submit and collect in one enter
 *        ^                                                          -> reap: makes tasks ready
 *        |                                                                 |
 *        +---- something is ready -----------------------------------------+
 *        +---- poll for a bounded, adaptive time <---- nothing is ready ---+
 *        +---- rearm watches, announce the sleep, sleep in enter <--- still nothing
 *
 * A turn runs each task that was ready at its start once: a task that wakes itself runs again in
 * the next turn, after everybody else's I/O was submitted and reaped.
 *
 * The ring is made with SINGLE_ISSUER and DEFER_TASKRUN; no other thread touches it. Other threads
 * reach the executor only through task_wake and executor_stop.
 *
 * Lifetime: executor_create -> task_spawn ... -> executor_run (on the thread that will own it) ->
 * executor_destroy. Every task must be done before executor_destroy (asserted); an operation in
 * flight keeps its task alive.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/err.h"
#include "exec/task.h"
#include "exec/watch.h"

struct executor;

enum {
    EXECUTOR_ENTRIES_DEFAULT = 256,
    EXECUTOR_ENTRIES_MAX = 4096,
    EXECUTOR_FILE_SLOTS_DEFAULT = 64,
    EXECUTOR_FILE_SLOTS_MAX = 4096,
    EXECUTOR_POLL_US_MAX = 1000,
};

struct executor_config {
    uint32_t entries;     /* submission queue size; 0: the default */
    uint32_t poll_us_max; /* upper bound of polling before a sleep; 0 turns polling off */
    uint32_t file_slots;  /* registered files; 0: the default */
    bool opens;           /* allow what makes and closes connections: see op_connect */
    bool trace;           /* measure run time and wake-to-run latency: two clock reads a poll */
};

/*
 * Any thread. `config` may be NULL: all defaults. Fails with one line that says which sysctl,
 * seccomp profile or kernel version is in the way (-ENOSYS, -EPERM, -EINVAL), or -ENOMEM. A config
 * beyond the limits above is -ERANGE.
 */
must_check int executor_create(struct executor **out, const struct executor_config *config,
                               struct err *err);
/* NULL is allowed. Not while executor_run is running; no live task may be left, and the threads
 * that posted to it have ended. */
void executor_destroy(struct executor *executor);

/*
 * Ties the executor to the calling thread for good: restricts the ring to the operations of op.h,
 * and enables it. executor_run does it if it was not done; a thread that wants to install a seccomp
 * filter does it first. -EEXIST when another thread has done it.
 */
must_check int executor_bind(struct executor *executor, struct err *err);

/*
 * Registers memory, at most 4 regions: reads and writes of one buffer inside it save 40 to 150 ns.
 * Pins all of it, for as long as the executor lives, so it is no match for a balloon. Once, before
 * executor_bind. An option: everything works without when it fails, most likely with -ENOMEM for
 * the limit on locked memory.
 */
must_check int executor_register_memory(struct executor *executor, const struct iovec *regions,
                                        uint32_t count);

/* Runs tasks until executor_stop or until no live task is left. 0, or a negative errno from the
 * ring that no retry mends (-EEXIST: bound to another thread). */
must_check int executor_run(struct executor *executor);
/* Makes executor_run return after its current turn; live tasks stay as they are, and a later
 * executor_run continues them. Any thread, also from a signal handler. One that comes while the
 * executor does not run ends the next run after one turn. */
void executor_stop(struct executor *executor);
/* Like executor_run, but returns when `until(arg)` holds; checked once a turn, so what it looks at
 * is changed by tasks. For tests and drains. */
must_check int executor_run_until(struct executor *executor, bool (*until)(void *arg), void *arg);

/* True on the thread that is inside executor_run of this executor. */
bool executor_is_current(const struct executor *executor);
/* Monotonic time, read at most once per turn: cheap. Executor thread. */
uint64_t executor_now_ns(struct executor *executor);

/*
 * Whether the executor's thread was last seen on another cpu than the caller's: only then can it
 * answer a task_wake while the caller spins. Any thread; false while it is not known.
 */
bool executor_is_elsewhere(const struct executor *executor);

struct executor_stats {
    uint64_t turns;
    uint64_t enters;    /* io_uring_enter system calls */
    uint64_t submitted; /* operations */
    uint64_t completed; /* completions, of cancels and each shot as well */
    uint64_t sleeps;
    uint64_t polls;       /* task polls */
    uint64_t inbox_wakes; /* wake-ups from other threads */
    uint64_t poll_ns;     /* time spent polling before a sleep */
    uint64_t latency_ns;  /* wake to run, all polls; only while tracing, and so the next */
    uint64_t latency_ns_max;
};
void executor_stats_read(const struct executor *executor, struct executor_stats *stats);

/* One line per live task: name, state name, polls, operations in flight. Executor thread, or when
 * it does not run. */
void executor_dump(const struct executor *executor, FILE *out);
/* What of io_uring is in use and what was probed and not found, for --version -v. */
void executor_describe(const struct executor *executor, FILE *out);
