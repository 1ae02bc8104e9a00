#include "exec/job.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "exec/race.h"
#include "exec/timer.h"
#include "fixture.h"

/* ---- the child: sleeps, then says how that went ---- */

struct child {
    struct job job;
    uint64_t sleep_ns;
    struct timer timer;
    struct timer cleanup;
    unsigned *releases;
};

enum { CHILD_SLEEP = 1, CHILD_CLEANUP };

static enum task_verdict child_poll(struct task *task)
{
    struct child *const child = container_of(task, struct child, job.task);

    ASYNC_BEGIN(task)
        timer_sleep(&child->timer, task, child->sleep_ns);
        JOB_AWAIT(&child->job, CHILD_SLEEP, timer_future(&child->timer));
        child->job.result = timer_has_fired(&child->timer) ? 7 : -ECANCELED;
        /* Not cancelled with the job: what must be done in any case. */
        timer_sleep(&child->cleanup, task, 1000);
        AWAIT(task, CHILD_CLEANUP, timer_has_fired(&child->cleanup));
        ASYNC_END(task);
}

static void child_release(struct job *job)
{
    struct child *child = container_of(job, struct child, job);

    ++*child->releases;
    free(child);
}

static const struct job_type child_type = JOB_TYPE("child", child_poll, NULL);
static const struct job_type heap_type = JOB_TYPE("child", child_poll, child_release);

static struct child *child_create(uint64_t sleep_ns, unsigned *releases)
{
    struct child *child = calloc(1, sizeof(*child));

    cr_assert_not_null(child);
    child->sleep_ns = sleep_ns;
    child->releases = releases;
    return child;
}

/* ---- the parent: one play each ---- */

struct parent {
    struct task task;
    struct child child;
    struct child *heap;
    struct timer timer;
    struct future parts[2];
    struct race race;
    unsigned releases;
    unsigned polls;
    enum task_verdict (*play)(struct parent *parent);
};

enum { FIRST = 1, SECOND, THIRD };

static enum task_verdict parent_poll(struct task *task)
{
    struct parent *const parent = container_of(task, struct parent, task);

    parent->polls++;
    return parent->play(parent);
}

static struct parent play(enum task_verdict (*what)(struct parent *parent))
{
    static const struct task_type type = {.name = "parent", .poll = parent_poll};
    struct executor *executor = fixture_create(NULL);
    struct parent parent = {.play = what};

    task_spawn(&parent.task, executor, &type);
    fixture_finish(executor);
    return parent;
}

static enum task_verdict awaits_result(struct parent *parent)
{
    struct task *const task = &parent->task;

    ASYNC_BEGIN(task)
        job_start(&parent->child.job, task, &child_type);
        cr_assert_eq(task->in_flight, 1, "a running job keeps its parent");
        cr_assert_not(job_is_done(&parent->child.job));
        AWAIT(task, FIRST, job_is_done(&parent->child.job));
        cr_assert_eq(parent->child.job.result, 7);
        cr_assert_not(parent->child.job.is_cancelled);
        cr_assert_not(task_is_live(&parent->child.job.task));
        cr_assert_eq(task->in_flight, 0);
        ASYNC_END(task);
}

Test(job, its_result_is_awaited)
{
    struct parent parent = play(awaits_result);

#ifndef ASYNC_STRESS
    cr_assert_eq(parent.polls, 2, "a start, and the end of the child");
#endif
    cr_assert_geq(parent.polls, 2);
}

static enum task_verdict cancels(struct parent *parent)
{
    struct task *const task = &parent->task;

    ASYNC_BEGIN(task)
        parent->child.sleep_ns = UINT64_MAX;
        job_start(&parent->child.job, task, &child_type);
        YIELD(task, FIRST);
        cr_assert(timer_is_armed(&parent->child.timer), "it sleeps");
        job_cancel(&parent->child.job);
        job_cancel(&parent->child.job);
        cr_assert(parent->child.job.is_cancelled);
        AWAIT(task, SECOND, job_is_done(&parent->child.job));
        cr_assert_eq(parent->child.job.result, -ECANCELED);
        cr_assert(timer_has_fired(&parent->child.cleanup), "plain awaits are not cancelled");
        job_cancel(&parent->child.job);
        ASYNC_END(task);
}

Test(job, a_cancel_ends_what_it_awaits)
{
    play(cancels);
}

static enum task_verdict cancels_early(struct parent *parent)
{
    struct task *const task = &parent->task;

    ASYNC_BEGIN(task)
        parent->child.sleep_ns = UINT64_MAX;
        job_start(&parent->child.job, task, &child_type);
        job_cancel(&parent->child.job);
        AWAIT(task, FIRST, job_is_done(&parent->child.job));
        cr_assert_eq(parent->child.job.result, -ECANCELED);
        ASYNC_END(task);
}

Test(job, a_cancel_stays_for_later_awaits)
{
    play(cancels_early);
}

static enum task_verdict races(struct parent *parent)
{
    struct task *const task = &parent->task;

    ASYNC_BEGIN(task)
        parent->child.sleep_ns = UINT64_MAX;
        job_start(&parent->child.job, task, &child_type);
        timer_sleep(&parent->timer, task, 1000);
        parent->parts[0] = job_future(&parent->child.job);
        parent->parts[1] = timer_future(&parent->timer);
        race_start(&parent->race, parent->parts, 2);
        AWAIT(task, FIRST, race_poll(&parent->race));
        cr_assert_eq(race_winner(&parent->race), 1);
        cr_assert(job_is_done(&parent->child.job));
        cr_assert_eq(parent->child.job.result, -ECANCELED);
        ASYNC_END(task);
}

Test(job, loses_a_race)
{
    play(races);
}

/* ---- detached ---- */

static enum task_verdict detaches(struct parent *parent)
{
    struct child *child = child_create(2000, &parent->releases);

    job_start(&child->job, &parent->task, &heap_type);
    job_detach(&child->job);
    cr_assert_eq(parent->task.in_flight, 0);
    return TASK_DONE;
}

Test(job, a_detached_one_outlives_its_parent_and_is_released)
{
    struct parent parent = {.play = detaches};
    static const struct task_type type = {.name = "parent", .poll = parent_poll};
    struct executor *executor = fixture_create(NULL);

    task_spawn(&parent.task, executor, &type);
    fixture_finish(executor);
    cr_assert_eq(parent.polls, 1, "not woken");
    cr_assert_eq(parent.releases, 1);
}

static enum task_verdict keeps(struct parent *parent)
{
    struct task *const task = &parent->task;

    ASYNC_BEGIN(task)
        parent->heap = child_create(0, &parent->releases);
        job_start(&parent->heap->job, task, &heap_type);
        AWAIT(task, FIRST, job_is_done(&parent->heap->job));
        cr_assert_eq(parent->heap->job.result, 7);
        cr_assert_eq(parent->releases, 0, "the handle is held");
        job_detach(&parent->heap->job);
        cr_assert_eq(parent->releases, 1);
        ASYNC_END(task);
}

Test(job, its_frame_stays_until_the_handle_is_given_up)
{
    play(keeps);
}

Test(job, starts_without_a_handle)
{
    struct executor *executor = fixture_create(NULL);
    unsigned releases = 0;
    struct child on_stack = {.sleep_ns = 0};
    struct child *child = child_create(0, &releases);

    job_start_detached(&child->job, executor, &heap_type);
    job_start_detached(&on_stack.job, executor, &child_type);
    fixture_finish(executor);
    cr_assert_eq(releases, 1);
    cr_assert(job_is_done(&on_stack.job));
    cr_assert_eq(on_stack.job.result, 7);
}

/* ---- what is a bug ---- */

static enum task_verdict forgets(struct parent *parent)
{
    job_start(&parent->child.job, &parent->task, &child_type);
    return TASK_DONE;
}

Test(job, ending_before_a_job_whose_handle_one_holds_is_a_bug, .signal = SIGABRT)
{
    play(forgets);
}

static enum task_verdict detaches_a_member(struct parent *parent)
{
    job_start(&parent->child.job, &parent->task, &child_type);
    job_detach(&parent->child.job);
    return TASK_DONE;
}

Test(job, detaching_one_that_lives_in_its_parent_is_a_bug, .signal = SIGABRT)
{
    play(detaches_a_member);
}

/* ---- names ---- */

Test(job, has_a_name_of_its_own_in_dumps)
{
    struct executor *executor = fixture_create(NULL);
    struct child children[2] = {{.sleep_ns = 0}, {.sleep_ns = 0}};
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    for (unsigned i = 0; i < 2; i++)
        job_start_detached(&children[i].job, executor, &child_type);
    children[1].job.name = "child 1";
    cr_assert_str_eq(task_name(&children[0].job.task), "child");
    cr_assert_str_eq(task_name(&children[1].job.task), "child 1");
    executor_dump(executor, out);
    fclose(out);
    cr_assert(strstr(text, "\nchild: state 0"));
    cr_assert(strstr(text, "\nchild 1: state 0"));
    free(text);
    fixture_finish(executor);
}
