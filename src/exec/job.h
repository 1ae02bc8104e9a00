/*
 * Jobs: tasks with a handle. Who starts one can await its result, cancel it, or let it go.
 *
 *     struct fetch { struct job job; struct op op; ... };
 *
 *     enum { READ = 1 };
 *     static enum task_verdict fetch_poll(struct task *task)
 *     {
 *         struct fetch *const fetch = container_of(task, struct fetch, job.task);
 *         ASYNC_BEGIN(task)
 *         op_read(&fetch->op, task, ...);
 *         JOB_AWAIT(&fetch->job, READ, op_future(&fetch->op));
 *         fetch->job.result = fetch->op.result;
 *         ASYNC_END(task);
 *     }
 *     static const struct job_type fetch_type = JOB_TYPE("fetch", fetch_poll, NULL);
 *
 *     job_start(&frame->fetch.job, task, &fetch_type);
 *     AWAIT(task, FETCH, job_is_done(&frame->fetch.job));
 *
 * Cancel is a request, and stays: whatever the job awaits with JOB_AWAIT, now and later, is
 * cancelled, so that it comes to its end without further ado. It awaits with plain AWAIT what it
 * must finish in any case. What it makes of it is its own business: it may still succeed.
 *
 * The handle is the job itself:
 *  1. The task that started it holds it, and may not end (asserted) while the job runs, unless it
 *     detached it. So a job may be a member of that task's frame.
 *  2. A job with a frame of its own has a `release` in its type. It is called once the job has
 *     ended AND its handle was given up with job_detach; a group gives up the handle at the end.
 * Executor thread only.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/future.h"
#include "exec/task.h"

struct job_group;
struct job;

struct job_type {
    struct task_type task;
    /* Optional: frees the frame, or returns it to its pool. */
    void (*release)(struct job *job);
};

/* The task type of a job is made by this: its `done` is taken. */
#define JOB_TYPE(job_name, job_poll, job_release) \
    {                                             \
        .task = {.name = (job_name),              \
                 .poll = (job_poll),              \
                 .done = job_task_done,           \
                 .name_of = job_task_name},       \
        .release = (job_release)                  \
    }

struct job {
    struct task task;        /* private, except for what task.h says */
    const char *name;        /* of this one job, for dumps: set after it was started; NULL: none */
    struct task *awaiter;    /* private: woken at the end */
    struct job_group *group; /* private */
    struct list link;        /* private: in its group */
    struct future awaited;   /* private: what a cancel goes to */
    int result;              /* set by the job, 0 at its start; valid once it is done */
    bool is_cancelled;       /* read-only: it was asked to end */
    bool is_done;            /* private */
    bool is_detached;        /* private */
};

/* Starts it on the executor of `awaiter`, which is woken when it is done. */
void job_start(struct job *job, struct task *awaiter, const struct job_type *type);
/* Starts it without a handle. Also before executor_run starts, from any thread. */
void job_start_detached(struct job *job, struct executor *executor, const struct job_type *type);

/* True when it has returned TASK_DONE and nothing refers to its frame any more. */
static inline bool job_is_done(const struct job *job)
{
    return job->is_done;
}

void job_cancel(struct job *job);
/* Gives up the handle: the awaiter is not woken any more, and the frame is released at the end,
 * which may be now. A job without `release` is not detached while it runs (asserted). */
void job_detach(struct job *job);
/* Finished when it is done. */
struct future job_future(struct job *job);

/*
 * In a job's poll: awaits a future that was started for its task, and passes a cancel of the job on
 * to it. Its own result says whether it was cancelled.
 */
#define JOB_AWAIT(job, STATE, future)                      \
    do {                                                   \
        job_await(job, future);                            \
        AWAIT(&(job)->task, STATE, job_poll_awaited(job)); \
    } while (0)

/* The rest is for the macros here and for group.c. */
void job_await(struct job *job, struct future future);
bool job_poll_awaited(struct job *job);
void job_task_done(struct task *task);
const char *job_task_name(const struct task *task);
void job_spawn(struct job *job, struct executor *executor, const struct job_type *type);
