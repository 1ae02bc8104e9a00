#include "exec/group.h"

#include "base/check.h"
#include "exec/executor_internal.h"

void group_start(struct job_group *group, struct task *task, enum group_mode mode)
{
    *group = (struct job_group){.task = task, .mode = mode};
    list_init(&group->running);
}

void group_spawn(struct job_group *group, struct job *job, const struct job_type *type)
{
    /* The group as a whole is one thing that the task has in flight. */
    if (list_is_empty(&group->running)) {
        CHECK_CMP(group->task->in_flight, <, UINT16_MAX);
        group->task->in_flight++;
    }
    job_spawn(job, group->task->executor, type);
    job->group = group;
    job->is_detached = true;
    job->is_cancelled = group->is_cancelled;
    list_push_back(&group->running, &job->link);
}

void group_cancel(struct job_group *group)
{
    group->is_cancelled = true;
    list_for_each (link, &group->running)
        job_cancel(container_of(link, struct job, link));
}

void group_job_ended(struct job_group *group, struct job *job)
{
    list_remove(&job->link);
    if (job->result < 0 && !group->result) {
        group->result = job->result;
        if (group->mode == GROUP_FAILS_FAST)
            group_cancel(group);
    }
    if (!list_is_empty(&group->running))
        return;
    group->task->in_flight--;
    executor_make_ready(group->task->executor, group->task);
}

static bool poll_group(void *self)
{
    return group_is_done(self);
}

static void cancel_group(void *self)
{
    group_cancel(self);
}

struct future group_future(struct job_group *group)
{
    static const struct future_type type = {poll_group, cancel_group};

    return (struct future){&type, group};
}
