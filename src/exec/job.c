#include "exec/job.h"

#include "base/check.h"
#include "exec/executor_internal.h"
#include "exec/group.h"

void job_spawn(struct job *job, struct executor *executor, const struct job_type *type)
{
    *job = (struct job){.result = 0};
    task_spawn(&job->task, executor, &type->task);
}

void job_start(struct job *job, struct task *awaiter, const struct job_type *type)
{
    job_spawn(job, awaiter->executor, type);
    CHECK_CMP(awaiter->in_flight, <, UINT16_MAX);
    awaiter->in_flight++;
    job->awaiter = awaiter;
}

void job_start_detached(struct job *job, struct executor *executor, const struct job_type *type)
{
    job_spawn(job, executor, type);
    job->is_detached = true;
}

static const struct job_type *type_of(const struct job *job)
{
    return container_of_const(job->task.type, struct job_type, task);
}

static void release(struct job *job)
{
    if (type_of(job)->release)
        type_of(job)->release(job);
}

static struct task *take_awaiter(struct job *job)
{
    struct task *awaiter = job->awaiter;

    job->awaiter = NULL;
    if (awaiter)
        awaiter->in_flight--;
    return awaiter;
}

void job_task_done(struct task *task)
{
    struct job *job = container_of(task, struct job, task);
    struct task *awaiter = take_awaiter(job);

    job->is_done = true;
    if (awaiter)
        executor_make_ready(awaiter->executor, awaiter);
    else if (job->group)
        group_job_ended(job->group, job);
    if (job->is_detached)
        release(job);
}

void job_detach(struct job *job)
{
    CHECK(job->is_done || type_of(job)->release);
    CHECK(!job->is_detached && !job->group);
    take_awaiter(job);
    job->is_detached = true;
    if (job->is_done)
        release(job);
}

void job_cancel(struct job *job)
{
    if (job->is_done || job->is_cancelled)
        return;
    job->is_cancelled = true;
    if (job->awaited.type) {
        future_cancel(job->awaited);
        /* What is finished by its cancel wakes nobody. */
        task_wake(&job->task);
    }
}

void job_await(struct job *job, struct future future)
{
    job->awaited = future;
    if (job->is_cancelled)
        future_cancel(future);
}

bool job_poll_awaited(struct job *job)
{
    if (!future_poll(job->awaited))
        return false;
    job->awaited = (struct future){.type = NULL};
    return true;
}

const char *job_task_name(const struct task *task)
{
    return container_of_const(task, struct job, task)->name;
}

static bool poll_job(void *self)
{
    return job_is_done(self);
}

static void cancel_job(void *self)
{
    job_cancel(self);
}

struct future job_future(struct job *job)
{
    static const struct future_type type = {poll_job, cancel_job};

    return (struct future){&type, job};
}
