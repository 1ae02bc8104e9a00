/*
 * Scoped groups: jobs that end before the task does that started them.
 *
 *     group_start(&frame->group, task, GROUP_FAILS_FAST);
 *     for (unsigned i = 0; i < array_count(frame->fetches); i++)
 *         group_spawn(&frame->group, &frame->fetches[i].job, &fetch_type);
 *     AWAIT(task, ALL, group_is_done(&frame->group));
 *     ret = frame->group.result;
 *
 * The task may not end (asserted) while jobs of its group run: it awaits the group, after
 * group_cancel where it is in a hurry. The group holds the handles of its jobs: each is released
 * when it ends, if its type has a `release`; the others' results stay readable in the frame.
 * A member may start further members. A group is a future itself, see future.h.
 * Executor thread only.
 */
#pragma once
#include <stdbool.h>

#include "exec/future.h"
#include "exec/job.h"

enum group_mode {
    GROUP_RUNS_ALL,   /* an error of one is noted, the others go on */
    GROUP_FAILS_FAST, /* the first error cancels the others */
};

/* The C library has another `struct group`, in <grp.h>. */
struct job_group {
    struct task *task;    /* private */
    struct list running;  /* private: jobs */
    int result;           /* read-only: the first negative result of a job, or 0 */
    enum group_mode mode; /* private */
    bool is_cancelled;    /* read-only */
};

/* `task` is woken when the last job has ended. */
void group_start(struct job_group *group, struct task *task, enum group_mode mode);
/* Starts a job as a member. In a group that was cancelled it starts as a cancelled one. */
void group_spawn(struct job_group *group, struct job *job, const struct job_type *type);
/* Cancels every member, and those that are still to come. */
void group_cancel(struct job_group *group);

/* True while it has no member: all have ended, or none was started yet. */
static inline bool group_is_done(const struct job_group *group)
{
    return list_is_empty(&group->running);
}

/* Finished when it is done. */
struct future group_future(struct job_group *group);

/* For job.c. */
void group_job_ended(struct job_group *group, struct job *job);
