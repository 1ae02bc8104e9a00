#include "exec/race.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "exec/timer.h"
#include "fixture.h"
#include "probe.h"

struct field {
    struct probe probes[3];
    struct future futures[3];
    struct race race;
};

static void field_start(struct field *field)
{
    for (unsigned i = 0; i < 3; i++)
        field->futures[i] = probe_future(&field->probes[i]);
    race_start(&field->race, field->futures, 3);
}

Test(race, goes_on_while_nobody_is_finished)
{
    struct field field = {.probes = {{.polls = 0}}};

    field_start(&field);
    cr_assert_not(race_poll(&field.race));
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(field.probes[i].polls, 1);
        cr_assert_eq(field.probes[i].cancels, 0);
    }
}

Test(race, cancels_the_losers)
{
    struct field field = {.probes = {{.polls = 0}}};

    field_start(&field);
    field.probes[1].finished = true;
    cr_assert(race_poll(&field.race));
    cr_assert_eq(race_winner(&field.race), 1);
    cr_assert_eq(field.probes[0].cancels, 1);
    cr_assert_eq(field.probes[1].cancels, 0);
    cr_assert_eq(field.probes[2].cancels, 1);
    cr_assert(race_poll(&field.race), "stays finished");
    cr_assert_eq(race_winner(&field.race), 1);
    cr_assert_eq(field.probes[2].cancels, 1);
}

Test(race, is_over_when_the_losers_have_let_go)
{
    struct field field = {.probes = {{.lingers = true}, {.lingers = true}, {.finished = true}}};

    field_start(&field);
    cr_assert_not(race_poll(&field.race));
    field.probes[1].finished = true;
    cr_assert_not(race_poll(&field.race));
    field.probes[0].finished = true;
    cr_assert(race_poll(&field.race));
    cr_assert_eq(race_winner(&field.race), 2);
    cr_assert_eq(field.probes[0].cancels, 1, "cancelled once");
}

Test(race, ties_go_to_the_lowest_index_and_losers_take_nothing)
{
    struct field field = {.probes = {{.lingers = true}, {.finished = true}, {.lingers = true}}};

    field_start(&field);
    cr_assert_not(race_poll(&field.race));
    /* The third was not polled before its cancel: had it been a lock, it would not be held. */
    cr_assert_eq(field.probes[0].polls, 2);
    cr_assert_eq(field.probes[2].polls, 1);
    cr_assert_eq(field.probes[2].cancels, 1);

    field = (struct field){.probes = {{.polls = 0}, {.finished = true}, {.finished = true}}};
    field_start(&field);
    cr_assert(race_poll(&field.race));
    cr_assert_eq(race_winner(&field.race), 1);
}

Test(race, a_cancelled_one_has_no_winner)
{
    struct field field = {.probes = {{.lingers = true}}};

    field_start(&field);
    future_cancel(race_future(&field.race));
    cr_assert_not(future_poll(race_future(&field.race)), "the first has not let go");
    field.probes[0].finished = true;
    cr_assert(future_poll(race_future(&field.race)));
    cr_assert_eq(race_winner(&field.race), -ECANCELED);
}

Test(race, a_cancel_after_the_decision_changes_nothing)
{
    struct field field = {.probes = {{.finished = true}, {.lingers = true}}};

    field_start(&field);
    cr_assert_not(race_poll(&field.race));
    race_cancel(&field.race);
    cr_assert_eq(field.probes[1].cancels, 1);
    field.probes[1].finished = true;
    cr_assert(race_poll(&field.race));
    cr_assert_eq(race_winner(&field.race), 0);
}

Test(race, asking_for_the_winner_too_early_is_a_bug, .signal = SIGABRT)
{
    struct field field = {.probes = {{.polls = 0}}};

    field_start(&field);
    race_winner(&field.race);
}

/* A read that nothing comes for against a timer: the result of the cancelled read still arrives. */
struct duel {
    struct task task;
    int pipe;
    char byte;
    struct op op;
    struct timer timer;
    struct future parts[2];
    struct race race;
};

enum { DUEL = 1 };

static enum task_verdict duel_poll(struct task *task)
{
    struct duel *const duel = container_of(task, struct duel, task);

    ASYNC_BEGIN(task)
        op_read(&duel->op, task, io_file_plain(duel->pipe), &duel->byte, 1, UINT64_MAX);
        timer_sleep(&duel->timer, task, 1000);
        duel->parts[0] = op_future(&duel->op);
        duel->parts[1] = timer_future(&duel->timer);
        race_start(&duel->race, duel->parts, 2);
        AWAIT(task, DUEL, race_poll(&duel->race));
        cr_assert(op_is_done(&duel->op), "drained");
        cr_assert_eq(task->in_flight, 0);
        ASYNC_END(task);
}

Test(race, drains_an_operation_that_lost)
{
    static const struct task_type type = {.name = "duel", .poll = duel_poll};
    struct executor *executor = fixture_create(NULL);
    struct duel duel = {.byte = 0};
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    duel.pipe = fds[0];
    task_spawn(&duel.task, executor, &type);
    fixture_finish(executor);
    cr_assert_eq(race_winner(&duel.race), 1);
    cr_assert_eq(duel.op.result, -ECANCELED);
    close(fds[0]);
    close(fds[1]);
}
