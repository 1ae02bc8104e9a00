/*
 * The executor: one thread, one io_uring, many tasks. Phases of a turn:
 *
 *     run ready tasks (bounded) -> submit everything in one enter -> reap -> drain inbox -> fire
 * timers -> run ...
 *                                     `-> nothing ready: poll for a bounded, adaptive time, then
 * sleep in the same enter
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

#include "base/compiler.h"
#include "base/err.h"
#include "exec/task.h"

struct executor;

struct executor_config {
    uint32_t entries;     /* submission queue size; 0: the default */
    uint32_t poll_us_max; /* upper bound of polling before a sleep; 0 turns polling off */
    uint32_t file_slots;  /* registered files; 0: the default */
};

/*
 * Any thread. Fails with one line that says which sysctl, seccomp profile or kernel version is in
 * the way (-ENOSYS, -EPERM, -EINVAL), or -ENOMEM.
 */
must_check int executor_create(struct executor **out, const struct executor_config *config,
                               struct err *err);
/* NULL is allowed. Not while executor_run is running; no live task may be left. */
void executor_destroy(struct executor *executor);

/* Runs tasks until executor_stop or until no live task is left. 0, or a negative errno from the
 * ring that no retry mends. */
must_check int executor_run(struct executor *executor);
/* Makes executor_run return after its current turn; live tasks stay as they are, and a later
 * executor_run continues them. Any thread. */
void executor_stop(struct executor *executor);
/* Like executor_run, but returns when `until(arg)` holds; checked once a turn. For tests and
 * drains. */
must_check int executor_run_until(struct executor *executor, bool (*until)(void *arg), void *arg);

/* True on the thread that is inside executor_run of this executor. */
bool executor_is_current(const struct executor *executor);
/* Monotonic time, read once per turn: cheap. Executor thread. */
uint64_t executor_now_ns(const struct executor *executor);

/*
 * True while the executor will look at its work without being woken: devices ask their guest for no
 * kicks (used-ring flags / EVENT_IDX) while this holds, and re-check when told that it ends.
 * Executor thread.
 */
bool executor_is_busy(const struct executor *executor);

struct executor_stats {
    uint64_t turns;
    uint64_t enters;    /* io_uring_enter system calls */
    uint64_t submitted; /* operations */
    uint64_t completed;
    uint64_t sleeps;
    uint64_t polls;       /* task polls */
    uint64_t inbox_wakes; /* wake-ups from other threads */
    uint64_t poll_ns;     /* time spent polling before a sleep */
};
void executor_stats_read(const struct executor *executor, struct executor_stats *stats);

/* One line per live task: name, state name, polls, operations in flight. Executor thread, or when
 * it does not run. */
void executor_dump(const struct executor *executor, FILE *out);
/* What of io_uring is in use and what was probed and not found, for --version -v. */
void executor_describe(const struct executor *executor, FILE *out);
