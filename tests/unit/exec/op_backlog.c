/* More operations than the queues of the ring hold. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "exec/executor_internal.h"
#include "fixture.h"

enum { FIRST = 1 };

struct flood {
    struct task task;
    struct op *ops;
    unsigned count;
    unsigned cancel_from;
};

static enum task_verdict flood_poll(struct task *task)
{
    struct flood *const flood = container_of(task, struct flood, task);

    ASYNC_BEGIN(task)
        ;
        for (unsigned i = 0; i < flood->count; i++)
            op_nop(&flood->ops[i], task);
        AWAIT(task, FIRST, task->in_flight == 0);
        for (unsigned i = 0; i < flood->count; i++) {
            cr_assert(op_is_done(&flood->ops[i]));
            cr_assert_eq(flood->ops[i].result, 0);
        }
        ASYNC_END(task);
}

static const struct task_type flood_type = {.name = "flood", .poll = flood_poll};

Test(op, more_than_both_queues_hold_complete_all_the_same)
{
    const struct executor_config config = {.entries = 4};
    struct executor *executor = fixture_create(&config);
    struct flood flood = {.ops = calloc(3000, sizeof(struct op)), .count = 3000};
    struct executor_stats stats;

    cr_assert_not_null(flood.ops);
    task_spawn(&flood.task, executor, &flood_type);
    cr_assert_eq(executor_run(executor), 0);
    executor_stats_read(executor, &stats);
    cr_assert_eq(stats.submitted, 3000);
    cr_assert_eq(stats.completed, 3000);
    cr_assert_geq(stats.enters, 3000 / 4, "the submission queue has four entries");
    executor_destroy(executor);
    free(flood.ops);
}

static enum task_verdict backlog_poll(struct task *task)
{
    struct flood *const flood = container_of(task, struct flood, task);

    if (task->in_flight)
        return TASK_PENDING;
    for (unsigned i = 0; i < flood->count; i++)
        cr_assert_eq(flood->ops[i].result, i < flood->cancel_from ? 0 : -ECANCELED);
    return TASK_DONE;
}

Test(op, started_before_the_run_they_wait_in_the_backlog)
{
    static const struct task_type type = {.name = "backlog", .poll = backlog_poll};
    const struct executor_config config = {.entries = 4};
    struct executor *executor = fixture_create(&config);
    struct op ops[100] = {0};
    struct flood flood = {.ops = ops, .count = array_count(ops), .cancel_from = 90};

    task_spawn(&flood.task, executor, &type);
    for (unsigned i = 0; i < flood.count; i++)
        op_nop(&ops[i], &flood.task);
    /* Not yet with the kernel: cancelled on the spot, from the end, the middle and the new end. */
    for (unsigned i = 95; i < 100; i++)
        op_cancel(&ops[i]);
    for (unsigned i = 90; i < 95; i++)
        op_cancel(&ops[i]);
    cr_assert(op_is_done(&ops[99]) && op_is_in_flight(&ops[0]));
    fixture_finish(executor);
}

Test(op, cancels_wait_in_the_backlog_too)
{
    static const struct task_type type = {.name = "backlog", .poll = backlog_poll};
    const struct executor_config config = {.entries = 4};
    struct executor *executor = fixture_create(&config);
    struct op ops[8] = {0};
    struct flood flood = {.ops = ops, .count = array_count(ops), .cancel_from = 0};
    char bytes[8];
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    task_spawn(&flood.task, executor, &type);
    for (unsigned i = 0; i < flood.count; i++)
        op_read(&ops[i], &flood.task, io_file_plain(fds[0]), &bytes[i], 1, UINT64_MAX);
    /* The first four fill the submission queue: their cancels queue up behind the other four. */
    for (unsigned i = 0; i < 4; i++)
        op_cancel(&ops[i]);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(op_is_in_flight(&ops[i]));
    for (unsigned i = 4; i < 8; i++)
        op_cancel(&ops[i]);
    fixture_finish(executor);
}

static enum task_verdict until_quiet_poll(struct task *task)
{
    return task->in_flight ? TASK_PENDING : TASK_DONE;
}

Test(op, one_that_completes_before_its_queued_cancel_takes_that_along)
{
    static const struct task_type type = {.name = "quiet", .poll = until_quiet_poll};
    const struct executor_config config = {.entries = 4};
    struct executor *executor = fixture_create(&config);
    struct op ops[8] = {0};
    struct task task;

    task_spawn(&task, executor, &type);
    for (unsigned i = 0; i < 4; i++)
        op_nop(&ops[i], &task);
    /* As if it had been with the kernel for long. */
    ops[4] = (struct op){.task = &task, .status = OP_SUBMITTED, .opcode = IORING_OP_NOP};
    task.in_flight++;
    for (unsigned i = 5; i < 8; i++) {
        if (i == 6)
            op_cancel(&ops[4]);
        op_nop(&ops[i], &task);
    }
    cr_assert(op_is_in_flight(&ops[4]), "its cancel waits for room");
    op_complete(&ops[4], 7, 0);
    cr_assert_eq(ops[4].result, 7);
    ops[4] = (struct op){0};
    /* The frame may be gone: nothing points at it, and the others are still in order. */
    cr_assert_eq(executor->backlog_first, &ops[5]);
    cr_assert_eq(ops[5].next, &ops[6]);
    cr_assert_eq(ops[6].next, &ops[7]);
    cr_assert_null(ops[7].next);
    fixture_finish(executor);
}
