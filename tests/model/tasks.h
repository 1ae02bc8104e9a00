/*
 * Executors for scenarios whose subject is not the executor: a few tasks each, woken like real ones
 * (acquire and release as in exec/inbox.c, one wake-up for many), timers that fire at any time.
 * Defines what exec/task.h and exec/timer.h declare. Each lives in the state of its scenario.
 */
#pragma once
#include "base/atomic.h"
#include "exec/future.h"
#include "exec/task.h"

enum { MODEL_TASKS_MAX = 4 };

struct executor {
    _Atomic uint64_t posted; /* a bit for each task */
    uint64_t ready, gone;    /* likewise */
    struct task *tasks[MODEL_TASKS_MAX];
    unsigned count, live;
    struct timer *timer; /* armed */
    unsigned owner;      /* thread */
};

/* In setup: `thread` will run it. */
void model_executor_init(struct executor *executor, unsigned thread);
/* Until all of its tasks are done. */
void model_executor_run(struct executor *executor);

/*
 * A task that awaits one future after the other, as most do. With `may_cancel` it gives up whenever
 * it waits, and whenever it was woken and has not looked yet: each is explored.
 */
struct user {
    struct task task;
    struct future future; /* what it waits for: set by `step` */
    bool may_cancel;
    bool was_cancelled; /* the future that is finished now */
    unsigned stage;     /* for `step` */
    /* Called at first, and whenever the future is finished. False: the task is done. */
    bool (*step)(struct user *user);
    /* The memory of its futures, which ends with the task. */
    const void *futures;
    size_t futures_size;
};

void user_spawn(struct user *user, struct executor *executor);
