/* The executor's insides. Private to src/exec. */
#pragma once
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/asan.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "base/list.h"
#include "exec/executor.h"
#include "exec/inbox.h"
#include "exec/iopoll.h"
#include "exec/op.h"
#include "exec/poller.h"
#include "exec/ring.h"
#include "exec/task.h"
#include "exec/wheel.h"

struct executor {
    /* Singly linked through ready_next, which is NULL outside the queue and READY_END at its end,
     * so that the link itself says whether a task is ready. */
    struct task *ready_first;
    struct task **ready_end;
    bool trace;
    bool now_is_read; /* now_ns is of this turn */
    uint32_t polls_until_look;
    uint64_t now_ns;
    uint64_t live_count;
    uint64_t run_ns_rest; /* of a traced poll, less than what task->run_us counts in */
    struct ring ring;
    struct iopoll *iopoll;    /* NULL: no file is polled */
    pthread_t owner;          /* once the ring is bound */
    struct op *backlog_first; /* ops (and cancels) that found the submission queue full, in order */
    struct op **backlog_end;
    int error;    /* found where it could not be returned: executor_run does */
    int cpu;      /* as published in inbox.owner_cpu */
    int peer_cpu; /* of the last poster since the last idle time; -1: none, or unknown */
    bool waker_armed;
    struct poller poller;
    struct list watches;
    struct list tasks; /* live ones */
    struct executor_stats stats;
    struct wheel wheel;
    cache_isolated struct inbox inbox; /* what other threads touch */
};

/* The device of an operation has to be asked for its completion: no sleep until then. */
static inline bool executor_polls_devices(const struct executor *executor)
{
    return unlikely(executor->iopoll) && ring_in_flight(&executor->iopoll->ring);
}

#define READY_END ((struct task *)1)

/* user_data of SQEs that are no op. */
enum { USER_DATA_IGNORED = 0, USER_DATA_WAKER = 1 };

/* The executor whose executor_run the calling thread is inside of. */
extern __thread struct executor *executor_current;

cold_fn void executor_trace_ready(struct task *task);

static inline bool executor_has_ready(const struct executor *executor)
{
    return executor->ready_first != READY_END;
}

static inline void executor_make_ready(struct executor *executor, struct task *task)
{
    if (task->ready_next)
        return;
    task->ready_next = READY_END;
    *executor->ready_end = task;
    executor->ready_end = &task->ready_next;
    if (unlikely(executor->trace))
        executor_trace_ready(task);
}

static inline struct task *executor_pop_ready(struct executor *executor)
{
    struct task *task = executor->ready_first;

    executor->ready_first = task->ready_next;
    if (executor->ready_first == READY_END)
        executor->ready_end = &executor->ready_first;
    task->ready_next = NULL;
    return task;
}

/* Moves ops from the backlog to the submission queue, as many as fit. */
void op_backlog_flush(struct executor *executor);
/* A completion for `op` that is not the plain one: a shot, an interruption, of a cancelled one. */
void op_complete_special(struct op *op, int32_t result);

enum {
    OP_MULTISHOT = 1,
    OP_CANCEL_WANTED = 2,
    OP_CANCEL_QUEUED = 4, /* in the backlog for its cancel */
    OP_IOPOLL = 8,        /* in the ring that is polled */
};

static inline void op_finish(struct op *op)
{
    struct task *task = op->task;

    op->status = OP_DONE;
    task->in_flight--;
    executor_make_ready(task->executor, task);
}

/* While the kernel has an op, nobody else has business with its results and its vector. */
static inline void op_poison(struct op *op)
{
    if (op->opcode == IORING_OP_READV || op->opcode == IORING_OP_WRITEV)
        ASAN_POISON_MEMORY_REGION((void *)(uintptr_t)op->addr, op->len * sizeof(struct iovec));
    /* Last: it covers what the line before reads. */
    ASAN_POISON_MEMORY_REGION(&op->result, offsetof(struct op, next) - offsetof(struct op, result));
}

static inline void op_unpoison(struct op *op)
{
    ASAN_UNPOISON_MEMORY_REGION(&op->result,
                                offsetof(struct op, next) - offsetof(struct op, result));
    if (op->opcode == IORING_OP_READV || op->opcode == IORING_OP_WRITEV)
        ASAN_UNPOISON_MEMORY_REGION((void *)(uintptr_t)op->addr, op->len * sizeof(struct iovec));
}

/* Reaping: makes the op's task ready. */
static inline void op_complete(struct op *op, int32_t result, uint32_t cqe_flags)
{
    op_unpoison(op);
    op->result = result;
    op->cqe_flags = cqe_flags;
    if (likely(!op->flags && result != -EINTR))
        op_finish(op);
    else
        op_complete_special(op, result);
}
