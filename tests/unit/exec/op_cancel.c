/* Operations that are cancelled, dropped or interrupted. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "exec/executor_internal.h"
#include "fixture.h"

/* A task with a few operations; its poll is the test's. */
struct probe {
    struct task task;
    struct op op;
    struct op other;
    struct op ops[64];
    int fds[2];
    unsigned count, threads;
    char buffer[64];
};

static void run_probe(struct probe *probe, const struct task_type *type)
{
    struct executor *executor = fixture_create(NULL);

    task_spawn(&probe->task, executor, type);
    fixture_finish(executor);
}

static void open_pipe(struct probe *probe)
{
    cr_assert_eq(pipe(probe->fds), 0);
}

enum { FIRST = 1, SECOND, THIRD };

static enum task_verdict cancel_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        op_cancel(&probe->op);
        cr_assert_not(op_is_done(&probe->op), "cancelling an idle op does nothing");
        op_read(&probe->op, task, io_file_plain(probe->fds[0]), probe->buffer, 1, UINT64_MAX);
        /* The kernel has it for sure after this one. */
        op_nop(&probe->other, task);
        AWAIT(task, FIRST, op_is_done(&probe->other));
        cr_assert(op_is_in_flight(&probe->op));
        op_cancel(&probe->op);
        op_cancel(&probe->op);
        AWAIT(task, SECOND, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, -ECANCELED);
        op_cancel(&probe->op);
        cr_assert_eq(task->in_flight, 0, "cancelling a done op does nothing");
        /* Started and cancelled in one breath: the kernel sees both at once. */
        op_read(&probe->op, task, io_file_plain(probe->fds[0]), probe->buffer, 1, UINT64_MAX);
        op_cancel(&probe->op);
        AWAIT(task, THIRD, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, -ECANCELED);
        probe->count++;
        ASYNC_END(task);
}

Test(op, cancel_before_completion_arrives_at_the_same_await)
{
    static const struct task_type type = {.name = "cancel", .poll = cancel_poll};
    struct probe probe = {0};

    open_pipe(&probe);
    run_probe(&probe, &type);
    cr_assert_eq(probe.count, 1);
}

enum { RACE_ROUNDS = 2000 };

static enum task_verdict race_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        for (; probe->count < RACE_ROUNDS; probe->count++) {
            op_read(&probe->op, task, io_file_plain(probe->fds[0]), probe->buffer, 1, UINT64_MAX);
            op_nop(&probe->ops[0], task);
            AWAIT(task, FIRST, op_is_done(&probe->ops[0]));
            /* Both ends of the race in one submission, in both orders. */
            if (probe->count % 2)
                op_cancel(&probe->op);
            op_write(&probe->other, task, io_file_plain(probe->fds[1]), "x", 1, UINT64_MAX);
            op_cancel(&probe->op);
            AWAIT(task, SECOND, op_is_done(&probe->op) && op_is_done(&probe->other));
            cr_assert_eq(probe->other.result, 1);
            if (probe->op.result == 1)
                continue;
            cr_assert_eq(probe->op.result, -ECANCELED);
            /* The byte was not taken: it still is in the pipe, unharmed. */
            op_read(&probe->op, task, io_file_plain(probe->fds[0]), probe->buffer, 1, UINT64_MAX);
            AWAIT(task, THIRD, op_is_done(&probe->op));
            cr_assert_eq(probe->op.result, 1);
        }
        ASYNC_END(task);
}

Test(op, cancel_that_races_completion_loses_nothing)
{
    static const struct task_type type = {.name = "race", .poll = race_poll};
    struct probe probe = {0};

    open_pipe(&probe);
    run_probe(&probe, &type);
    cr_assert_eq(probe.count, RACE_ROUNDS);
}

static bool all_done(const struct probe *probe)
{
    for (unsigned i = 0; i < array_count(probe->ops); i++)
        if (!op_is_done(&probe->ops[i]))
            return false;
    return true;
}

static enum task_verdict drop_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        for (unsigned i = 0; i < array_count(probe->ops); i++)
            op_read(&probe->ops[i], task, io_file_plain(probe->fds[0]), &probe->buffer[i], 1,
                    UINT64_MAX);
        op_nop(&probe->op, task);
        AWAIT(task, FIRST, op_is_done(&probe->op));
        for (unsigned i = 0; i < array_count(probe->ops); i++)
            op_cancel(&probe->ops[i]);
        AWAIT(task, SECOND, all_done(probe));
        ASYNC_END(task);
}

static void drop_done(struct task *task)
{
    struct probe *probe = container_of(task, struct probe, task);

    close(probe->fds[0]);
    close(probe->fds[1]);
    free(probe);
}

Test(op, a_frame_is_dropped_by_cancelling_and_draining)
{
    static const struct task_type type = {.name = "drop", .poll = drop_poll, .done = drop_done};
    struct executor *executor = fixture_create(NULL);

    for (unsigned i = 0; i < 4; i++) {
        struct probe *probe = calloc(1, sizeof(*probe));

        cr_assert_not_null(probe);
        open_pipe(probe);
        task_spawn(&probe->task, executor, &type);
    }
    fixture_finish(executor);
}

enum { TERMINAL_ROUNDS = 100 };

static unsigned thread_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    unsigned count = 0;

    cr_assert_not_null(tasks);
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

static enum task_verdict terminal_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        probe->threads = thread_count();
        for (; probe->count < TERMINAL_ROUNDS; probe->count++) {
            op_poll(&probe->op, task, io_file_terminal(probe->fds[0]), POLLIN);
            op_nop(&probe->other, task);
            AWAIT(task, FIRST, op_is_done(&probe->other));
            op_cancel(&probe->op);
            AWAIT(task, SECOND, op_is_done(&probe->op));
            cr_assert_eq(probe->op.result, -ECANCELED);
        }
        cr_assert_eq(thread_count(), probe->threads);
        ASYNC_END(task);
}

/* A worker thread that is about to arm a poll does not notice that it is cancelled. */
Test(op, cancel_of_a_poll_of_a_terminal_meets_no_worker_thread)
{
    static const struct task_type type = {.name = "terminal", .poll = terminal_poll};
    struct probe probe = {0};

    probe.fds[1] = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(probe.fds[1] >= 0 && !grantpt(probe.fds[1]) && !unlockpt(probe.fds[1]));
    probe.fds[0] = open(ptsname(probe.fds[1]), O_RDWR | O_NOCTTY);
    cr_assert_geq(probe.fds[0], 0);
    run_probe(&probe, &type);
    cr_assert_eq(probe.count, TERMINAL_ROUNDS);
}

/* ---- interruptions ---- */

static enum task_verdict interrupted_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        /* As if the kernel had interrupted a NOP that is not cancelled: it is done again. */
        probe->op = (struct op){.opcode = IORING_OP_NOP, .fd = -1, .task = task};
        probe->op.status = OP_SUBMITTED;
        task->in_flight++;
        op_complete(&probe->op, -EINTR, 0);
        AWAIT(task, FIRST, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, 0);
        /* And one that is: that is its result. */
        probe->op.status = OP_SUBMITTED;
        probe->op.flags = OP_CANCEL_WANTED;
        task->in_flight++;
        op_complete(&probe->op, -EINTR, 0);
        AWAIT(task, SECOND, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, -EINTR);
        probe->count++;
        ASYNC_END(task);
}

Test(op, an_interrupted_one_is_done_again_unless_it_was_cancelled)
{
    static const struct task_type type = {.name = "interrupted", .poll = interrupted_poll};
    struct probe probe = {0};

    run_probe(&probe, &type);
    cr_assert_eq(probe.count, 1);
}
