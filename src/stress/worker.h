/*
 * A worker: a task, or a plain thread, that uses one primitive over and over. What the primitive is
 * and what must hold is up to the run's workload; a worker waits, holds, cancels and counts.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "exec/future.h"
#include "exec/task.h"
#include "exec/timer.h"
#include "report/histogram.h"
#include "sync/acond.h"
#include "sync/amutex.h"
#include "sync/barrier.h"
#include "sync/channel.h"
#include "sync/event.h"
#include "sync/notify.h"
#include "sync/once.h"
#include "sync/semaphore.h"
#include "sync/wait_group.h"

struct run;

struct worker {
    /* Read-only for workloads. */
    cache_isolated struct run *run;
    uint32_t index; /* in run->workers */
    bool is_thread; /* plain, no task */

    /* The workload's. */
    uint8_t phase; /* indexes workload->phases */
    bool is_exclusive;
    bool has_arrived;
    bool has_ended;
    uint32_t permits;
    uint64_t generation; /* or sequence number */
    uint64_t writes;
    union {
        struct amutex_lock lock;
        struct amutex_lock_timeout lock_timeout;
        struct acond_wait cond;
        struct acond_wait_timeout cond_timeout;
        struct semaphore_acquire acquire;
        struct channel_send send;
        struct channel_recv recv;
        struct event_wait event;
        struct notify_wait notify;
        struct wait_group_wait group;
        struct barrier_wait barrier;
        struct once_enter once;
    } as;
    struct {
        uint64_t producer, sequence;
    } item;

    /* Private. */
    struct task task;
    struct timer timer; /* until the cancel, then until the end of the hold */
    struct future future;
    const int32_t *result;
    int32_t immediate; /* 0: the result where there was no wait */
    uint8_t hold;
    uint8_t cancel;
    uint8_t cancel_polls;
    uint64_t random;
    struct histogram *waits; /* of all workers of this thread */

    /* Written by the worker, read by whoever watches. */
    atomic_ulong waiting_since_ns; /* 0: does not wait */
    atomic_ulong operations;
    atomic_ulong cancelled;
    atomic_ulong starved; /* waits of more than a tenth of the bound */
    atomic_ulong done_ns; /* when it finished its last operation; 0: none yet */
};

/* For workloads. Uniform in 0 to `below` - 1. */
uint32_t worker_random(struct worker *worker, uint32_t below);
/* It has done its share, or the run's time is up: it begins nothing new. */
bool worker_is_through(const struct worker *worker);
/* In workload->start: what is awaited, and where its result will be. */
static inline void worker_awaits(struct worker *worker, struct future future, const int32_t *result)
{
    worker->future = future;
    worker->result = result;
}

/* For the run. `executor` NULL: a plain thread's. Tasks are spawned. */
void worker_init(struct worker *worker, struct run *run, uint32_t index, struct executor *executor,
                 struct histogram *waits);
/* All that a plain thread does. */
void worker_run(struct worker *worker);
/* One line: who, where, for how long. */
void worker_describe(const struct worker *worker, uint64_t now_ns, char *text, size_t size);
