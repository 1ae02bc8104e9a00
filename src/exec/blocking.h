/*
 * A pool of threads for system calls that block and that io_uring has no operation for.
 *
 *     struct lookup { struct blocking_call call; ... };
 *     static int64_t lookup_run(struct blocking_call *call) { ... getaddrinfo ... }
 *
 *     blocking_call_start(&frame->lookup.call, task, pool, lookup_run);
 *     AWAIT(task, LOOKUP, blocking_call_poll(&frame->lookup.call));
 *     ret = frame->lookup.call.result;
 *
 * Threads start when there is work for them, up to a bound, and end after an idle time. Calls that
 * wait for a thread are bounded, too: one that comes when the queue is full fails with -EBUSY, and
 * its task decides whether to try again. A call is a struct in the frame; nothing is allocated for
 * it. Several executors can share a pool; it is shut down before any of them is destroyed.
 *
 * Lifetime: a call that was started keeps its frame (asserted) until its poll was true. Cancelling
 * takes a call out of the queue; one that runs already is not interrupted, and its result arrives.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"
#include "base/list.h"
#include "exec/future.h"
#include "exec/task.h"

enum {
    BLOCKING_THREADS_DEFAULT = 4,
    BLOCKING_THREADS_MAX = 64,
    BLOCKING_QUEUE_DEFAULT = 256,
};

struct blocking_pool;

struct blocking_pool_config {
    uint32_t threads_max; /* 0: the default */
    uint32_t queue_max;   /* calls that wait for a thread; 0: the default */
    uint64_t idle_ns;     /* a thread that found no work for so long ends; 0: at once */
};

/* Any thread. `config` may be NULL: the defaults, and threads end after 10 seconds. -ENOMEM, or
 * -ERANGE for a config beyond the limits above. Starts no thread yet. */
must_check int blocking_pool_create(struct blocking_pool **out,
                                    const struct blocking_pool_config *config, struct err *err);

/*
 * Takes no more calls (they fail with -ECANCELED), cancels those that wait, and blocks until those
 * that run have returned and all threads have ended, or until `deadline_ns` of CLOCK_MONOTONIC:
 * then -ETIMEDOUT, and it may be called again. 0 when no thread is left. Any thread, though it
 * blocks an executor's; the executors whose tasks have calls here run on, or run later, to let
 * those tasks see their results.
 */
must_check int blocking_pool_shutdown(struct blocking_pool *pool, uint64_t deadline_ns);

/* After a shutdown that returned 0 (asserted), or when it was never used. NULL is allowed. */
void blocking_pool_destroy(struct blocking_pool *pool);

/* Threads at this time, for dumps. Any thread. */
uint32_t blocking_pool_thread_count(struct blocking_pool *pool);

/* Zeroed is idle. */
struct blocking_call {
    int64_t result;                             /* what `run` returned, or a negative errno */
    int64_t (*run)(struct blocking_call *call); /* private */
    struct task *task;                          /* private */
    struct blocking_pool *pool;                 /* private */
    struct list link;                           /* private: in the queue */
    atomic_uint status;                         /* private */
};

/*
 * Executor thread, as all below. `run` is called on a thread of the pool; it touches only what the
 * frame keeps for it. Never fails, and waits for nothing, though it takes some 50 us where a thread
 * has to be started: the result is -EBUSY when the queue is full, -EAGAIN when there is no thread
 * and none can be started, -ECANCELED after a shutdown.
 */
void blocking_call_start(struct blocking_call *call, struct task *task, struct blocking_pool *pool,
                         int64_t (*run)(struct blocking_call *call));
bool blocking_call_poll(struct blocking_call *call);
/* The result is -ECANCELED unless it ran already. */
void blocking_call_cancel(struct blocking_call *call);
struct future blocking_call_future(struct blocking_call *call);
