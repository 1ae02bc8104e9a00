#include "exec/join.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#include "exec/timer.h"
#include "fixture.h"
#include "probe.h"

Test(join, is_finished_when_all_are)
{
    struct probe probes[3] = {{.finished = false}};
    const struct future futures[3] = {probe_future(&probes[0]), probe_future(&probes[1]),
                                      probe_future(&probes[2])};
    struct join join;

    join_start(&join, futures, 3);
    cr_assert_not(join_poll(&join));
    probes[2].finished = true;
    cr_assert_not(join_poll(&join));
    probes[0].finished = true;
    cr_assert_not(join_poll(&join));
    probes[1].finished = true;
    cr_assert(join_poll(&join));
    cr_assert(join_poll(&join), "stays finished");
}

Test(join, polls_all_that_wait)
{
    struct probe probes[2] = {{.finished = false}};
    const struct future futures[2] = {probe_future(&probes[0]), probe_future(&probes[1])};
    struct join join;

    join_start(&join, futures, 2);
    cr_assert_not(join_poll(&join));
    cr_assert_eq(probes[0].polls, 1);
    cr_assert_eq(probes[1].polls, 1, "a lock that was woken must hear of it");
}

Test(join, of_nothing_is_finished_at_once)
{
    struct join join;

    join_start(&join, NULL, 0);
    cr_assert(join_poll(&join));
}

Test(join, cancel_reaches_all_and_waits_for_them)
{
    struct probe probes[3] = {{.lingers = true}, {.finished = true}, {.lingers = false}};
    const struct future futures[3] = {probe_future(&probes[0]), probe_future(&probes[1]),
                                      probe_future(&probes[2])};
    struct join join;

    join_start(&join, futures, 3);
    future_cancel(join_future(&join));
    cr_assert_eq(probes[0].cancels, 1);
    cr_assert_eq(probes[1].cancels, 0, "finished already");
    cr_assert_eq(probes[2].cancels, 1);
    cr_assert_not(future_poll(join_future(&join)), "one has not let go");
    probes[0].finished = true;
    cr_assert(future_poll(join_future(&join)));
}

Test(join, holds_joins)
{
    struct probe probes[4] = {{.finished = false}};
    struct future leaves[4];
    struct future pair[2];
    struct join joins[2], both;

    for (unsigned i = 0; i < 4; i++)
        leaves[i] = probe_future(&probes[i]);
    for (unsigned i = 0; i < 2; i++) {
        join_start(&joins[i], &leaves[2 * i], 2);
        pair[i] = join_future(&joins[i]);
    }
    join_start(&both, pair, 2);
    probes[0].finished = probes[1].finished = probes[2].finished = true;
    cr_assert_not(join_poll(&both));
    probes[3].finished = true;
    cr_assert(join_poll(&both));
}

/* An operation and a timer of one task. */
struct both {
    struct task task;
    int pipe;
    char byte;
    struct op op;
    struct timer timer;
    struct future parts[2];
    struct join join;
};

enum { BOTH = 1 };

static enum task_verdict both_poll(struct task *task)
{
    struct both *const both = container_of(task, struct both, task);

    ASYNC_BEGIN(task)
        op_read(&both->op, task, io_file_plain(both->pipe), &both->byte, 1, UINT64_MAX);
        timer_sleep(&both->timer, task, 1000);
        both->parts[0] = op_future(&both->op);
        both->parts[1] = timer_future(&both->timer);
        join_start(&both->join, both->parts, 2);
        AWAIT(task, BOTH, join_poll(&both->join));
        cr_assert(op_is_done(&both->op));
        cr_assert(timer_has_fired(&both->timer));
        ASYNC_END(task);
}

Test(join, wakes_the_task_for_operations_and_timers)
{
    static const struct task_type type = {.name = "both", .poll = both_poll};
    struct executor *executor = fixture_create(NULL);
    struct both both = {.byte = 0};
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    both.pipe = fds[0];
    task_spawn(&both.task, executor, &type);
    fixture_finish(executor);
    cr_assert_eq(both.op.result, 1);
    cr_assert_eq(both.byte, 'x');
    close(fds[0]);
    close(fds[1]);
}
