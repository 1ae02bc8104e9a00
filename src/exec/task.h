/*
 * Stackless tasks: a poll function and a few words of state, embedded in the caller's own struct.
 *
 * A task runs only on its executor's thread. poll() advances it as far as it can go, then returns
 * TASK_PENDING (somebody must hold a reference through which it will be woken) or TASK_DONE.
 * Wake-ups carry no information and may be spurious: poll re-checks what it waits for.
 *
 * Lifetime rules:
 *  1. A task that was spawned is neither freed nor moved until its poll has returned TASK_DONE and
 *     type->done was called.
 *  2. An op, timer or other future inside the frame that is still in flight keeps the frame alive:
 *     a task does not return TASK_DONE with an operation in flight or a timer armed (asserted).
 *  3. Locals do not survive an AWAIT: what must live longer is a member of the frame. Only
 *     `T *const` frame pointers are locals of an async poll function.
 *  4. Reaping completions and firing timers never run user code: they only make tasks ready.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/list.h"

struct executor;
struct task;

enum task_verdict { TASK_PENDING, TASK_DONE };

struct task_type {
    const char *name;
    /* Executor thread only. Never blocks. */
    enum task_verdict (*poll)(struct task *task);
    /* Optional; called last, after TASK_DONE: may free the frame, return it to its pool, or spawn
     * it again. */
    void (*done)(struct task *task);
    /* Optional names of the await states, for dumps; index is the state, entries may be NULL. */
    const char *const *state_names;
    uint16_t state_count;
    /* Optional: a name of this one task, for dumps, from its frame; NULL: the type's. */
    const char *(*name_of)(const struct task *task);
};

struct task {
    const struct task_type *type; /* read-only */
    struct executor *executor;    /* read-only */
    struct task *ready_next;      /* private: NULL when it is not in the ready queue */
    struct task *inbox_next;      /* private */
    struct list all_link;         /* private: every live task of the executor, for dumps */
    uint8_t state;                /* the await point: used by ASYNC_BEGIN and AWAIT, 0 at spawn */
    atomic_bool posted;           /* private: in the inbox */
    uint16_t in_flight;           /* read-only: operations in flight and timers armed */
    uint32_t poll_count;          /* read-only */
    uint32_t woken_at_ns;         /* private: low half of the time, while the executor traces */
    uint32_t run_us;              /* read-only: time in poll, while the executor traces */
};

_Static_assert(sizeof(struct task) <= 64, "a task header is one cache line at most");

/*
 * Makes `task`, whose frame the caller owns, a live task of `executor` in state 0 and ready to run.
 * Executor thread, or any thread before executor_run starts.
 */
void task_spawn(struct task *task, struct executor *executor, const struct task_type *type);

/*
 * Makes a live task ready; a no-op when it is ready already. ANY thread: on the executor's own
 * thread it is a plain list push, elsewhere it goes through the inbox and wakes the executor if it
 * sleeps. From another thread the caller guarantees that the task stays live until this returns
 * (for example because it owes that task the answer it waits for), and that the executor is not
 * destroyed before that thread has ended.
 */
void task_wake(struct task *task);

/*
 * task_wake in two steps, for a waker that keeps the frame alive by a mark that the task respects:
 * it may take the mark off after task_wake_begin, which makes no system call. The executor that it
 * returns, NULL when there is nothing left to do, is owed a task_wake_finish.
 */
must_check struct executor *task_wake_begin(struct task *task);
void task_wake_finish(struct executor *executor);

/* True from task_spawn until type->done; a zeroed task is not live. Executor thread. */
static inline bool task_is_live(const struct task *task)
{
    return task->all_link.next;
}

/* The name of the task: its own, or that of its type. Executor thread. */
const char *task_name(const struct task *task);

/* The name of the task's await state, or NULL when its type names none. Executor thread. */
const char *task_state_name(const struct task *task);

/*
 * Flows with two or more awaits, with named states:
 *
 *     enum { FSYNC = 1, REPLY };
 *     static enum task_verdict flush_poll(struct task *task)
 *     {
 *         struct flush *const flush = container_of(task, struct flush, task);
 *         ASYNC_BEGIN(task);
 *         op_fsync(&flush->op, task, flush->file, 0);
 *         AWAIT(task, FSYNC, op_is_done(&flush->op));
 *         ...
 *         ASYNC_END(task);
 *     }
 *
 * States are 1 to 255, each used once. With ASYNC_STRESS every AWAIT suspends at least once.
 */
#define ASYNC_BEGIN(task)    \
    switch ((task)->state) { \
    case 0:

#ifdef ASYNC_STRESS
#define ASYNC_STRESS_SUSPEND(task) return (task_wake(task), TASK_PENDING)
#else
#define ASYNC_STRESS_SUSPEND(task) \
    do {                           \
    } while (0)
#endif

#define AWAIT(task, STATE, condition) \
    do {                              \
        (task)->state = (STATE);      \
        ASYNC_STRESS_SUSPEND(task);   \
        __attribute__((fallthrough)); \
    case (STATE):                     \
        if (!(condition))             \
            return TASK_PENDING;      \
    } while (0)

/* Lets everything else that is ready run once. */
#define YIELD(task, STATE)       \
    do {                         \
        (task)->state = (STATE); \
        task_wake(task);         \
        return TASK_PENDING;     \
    case (STATE):;               \
    } while (0)

#define ASYNC_END(task) \
    }                   \
    return TASK_DONE
