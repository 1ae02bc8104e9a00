#include "exec/group.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "exec/timer.h"
#include "fixture.h"

enum { MEMBERS = 4 };

struct crew;

/* Sleeps, and ends with what it was told to. */
struct member {
    struct job job;
    struct timer timer;
    uint64_t sleep_ns;
    int outcome;
    struct crew *crew;
    struct member *recruit; /* started by this one when it has slept */
};

/* A task and its group; one play each. */
struct crew {
    struct task task;
    struct job_group group;
    struct member members[MEMBERS];
    unsigned releases;
    enum task_verdict (*play)(struct crew *crew);
};

enum { MEMBER_SLEEP = 1, FIRST = 1, SECOND };

static const struct job_type member_type;

static enum task_verdict member_poll(struct task *task)
{
    struct member *const member = container_of(task, struct member, job.task);

    ASYNC_BEGIN(task)
        timer_sleep(&member->timer, task, member->sleep_ns);
        JOB_AWAIT(&member->job, MEMBER_SLEEP, timer_future(&member->timer));
        member->job.result = timer_has_fired(&member->timer) ? member->outcome : -ECANCELED;
        if (member->recruit)
            group_spawn(&member->crew->group, &member->recruit->job, &member_type);
        ASYNC_END(task);
}

static void member_release(struct job *job)
{
    struct member *member = container_of(job, struct member, job);

    member->crew->releases++;
    free(member);
}

static const struct job_type member_type = JOB_TYPE("member", member_poll, NULL);
static const struct job_type heap_type = JOB_TYPE("member", member_poll, member_release);

static enum task_verdict crew_poll(struct task *task)
{
    struct crew *const crew = container_of(task, struct crew, task);

    return crew->play(crew);
}

static struct crew play(enum task_verdict (*what)(struct crew *crew))
{
    static const struct task_type type = {.name = "crew", .poll = crew_poll};
    struct executor *executor = fixture_create(NULL);
    struct crew crew = {.play = what};

    task_spawn(&crew.task, executor, &type);
    fixture_finish(executor);
    return crew;
}

static void start(struct crew *crew, enum group_mode mode, uint64_t sleep_ns)
{
    group_start(&crew->group, &crew->task, mode);
    for (unsigned i = 0; i < MEMBERS; i++) {
        crew->members[i] = (struct member){.sleep_ns = sleep_ns, .crew = crew};
        group_spawn(&crew->group, &crew->members[i].job, &member_type);
    }
}

static enum task_verdict runs_all(struct crew *crew)
{
    struct task *const task = &crew->task;

    ASYNC_BEGIN(task)
        start(crew, GROUP_RUNS_ALL, 1000);
        cr_assert_eq(task->in_flight, 1, "the group, not each member");
        crew->members[1].outcome = -EIO;
        crew->members[2].outcome = -ENOSPC;
        crew->members[2].sleep_ns = 5000;
        AWAIT(task, FIRST, group_is_done(&crew->group));
        for (unsigned i = 0; i < MEMBERS; i++) {
            cr_assert(job_is_done(&crew->members[i].job));
            cr_assert_not(crew->members[i].job.is_cancelled);
            cr_assert_eq(crew->members[i].job.result, crew->members[i].outcome);
        }
        cr_assert_eq(crew->group.result, -EIO, "the first error");
        cr_assert_eq(task->in_flight, 0);
        ASYNC_END(task);
}

Test(group, ends_when_all_members_have_ended)
{
    play(runs_all);
}

static enum task_verdict fails_fast(struct crew *crew)
{
    struct task *const task = &crew->task;

    ASYNC_BEGIN(task)
        start(crew, GROUP_FAILS_FAST, UINT64_MAX);
        crew->members[2].sleep_ns = 1000;
        crew->members[2].outcome = -EIO;
        AWAIT(task, FIRST, group_is_done(&crew->group));
        for (unsigned i = 0; i < MEMBERS; i++)
            cr_assert_eq(crew->members[i].job.result, i == 2 ? -EIO : -ECANCELED);
        cr_assert_eq(crew->group.result, -EIO, "not what the cancelled ones say");
        cr_assert(crew->group.is_cancelled);
        ASYNC_END(task);
}

Test(group, the_first_error_cancels_the_others)
{
    play(fails_fast);
}

static enum task_verdict cancels(struct crew *crew)
{
    struct task *const task = &crew->task;

    ASYNC_BEGIN(task)
        start(crew, GROUP_RUNS_ALL, UINT64_MAX);
        YIELD(task, FIRST);
        future_cancel(group_future(&crew->group));
        cr_assert_not(future_poll(group_future(&crew->group)), "they have yet to end");
        AWAIT(task, SECOND, future_poll(group_future(&crew->group)));
        for (unsigned i = 0; i < MEMBERS; i++)
            cr_assert_eq(crew->members[i].job.result, -ECANCELED);
        ASYNC_END(task);
}

Test(group, a_cancel_reaches_every_member)
{
    play(cancels);
}

static enum task_verdict recruits(struct crew *crew)
{
    struct task *const task = &crew->task;

    ASYNC_BEGIN(task)
        group_start(&crew->group, task, GROUP_RUNS_ALL);
        cr_assert(group_is_done(&crew->group), "no member yet");
        for (unsigned i = 0; i < MEMBERS; i++)
            crew->members[i] =
                (struct member){.crew = crew,
                                .outcome = (int)i,
                                .recruit = i + 1 < MEMBERS ? &crew->members[i + 1] : NULL};
        group_spawn(&crew->group, &crew->members[0].job, &member_type);
        AWAIT(task, FIRST, group_is_done(&crew->group));
        for (unsigned i = 0; i < MEMBERS; i++) {
            cr_assert(job_is_done(&crew->members[i].job));
            cr_assert_eq(crew->members[i].job.result, (int)i);
        }
        ASYNC_END(task);
}

Test(group, members_start_further_members)
{
    play(recruits);
}

static enum task_verdict recruits_late(struct crew *crew)
{
    struct task *const task = &crew->task;

    ASYNC_BEGIN(task)
        group_start(&crew->group, task, GROUP_RUNS_ALL);
        group_cancel(&crew->group);
        crew->members[0].sleep_ns = UINT64_MAX;
        group_spawn(&crew->group, &crew->members[0].job, &member_type);
        AWAIT(task, FIRST, group_is_done(&crew->group));
        cr_assert_eq(crew->members[0].job.result, -ECANCELED);
        ASYNC_END(task);
}

Test(group, a_member_that_comes_after_the_cancel_is_cancelled)
{
    play(recruits_late);
}

static enum task_verdict spawns_on_heap(struct crew *crew)
{
    struct task *const task = &crew->task;

    ASYNC_BEGIN(task)
        group_start(&crew->group, task, GROUP_RUNS_ALL);
        for (unsigned i = 0; i < MEMBERS; i++) {
            struct member *member = calloc(1, sizeof(*member));

            cr_assert_not_null(member);
            member->crew = crew;
            member->outcome = i == 3 ? -EIO : 0;
            group_spawn(&crew->group, &member->job, &heap_type);
        }
        AWAIT(task, FIRST, group_is_done(&crew->group));
        cr_assert_eq(crew->releases, MEMBERS);
        cr_assert_eq(crew->group.result, -EIO);
        ASYNC_END(task);
}

Test(group, releases_its_members)
{
    play(spawns_on_heap);
}

static enum task_verdict leaves(struct crew *crew)
{
    start(crew, GROUP_RUNS_ALL, UINT64_MAX);
    return TASK_DONE;
}

Test(group, leaving_it_while_members_run_is_a_bug, .signal = SIGABRT)
{
    play(leaves);
}
