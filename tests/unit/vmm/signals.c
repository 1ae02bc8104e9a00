#include "vmm/signals.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

#include "exec/op.h"

struct heard {
    struct signals *signals;
    int numbers[4];
    unsigned count;
};

static void hear(void *arg, int signal_number)
{
    struct heard *heard = arg;

    heard->numbers[heard->count++] = signal_number;
    if (heard->count == 2)
        signals_stop(heard->signals);
}

Test(signals, each_signal_is_heard_once_and_the_task_ends_on_stop)
{
    struct heard heard = {0};
    struct executor *executor;

    cr_assert_eq(executor_create(&executor, NULL, NULL), 0);
    cr_assert_eq(signals_create(&heard.signals, NULL), 0);
    signals_start(heard.signals, executor, hear, &heard);
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGUSR1);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_eq(heard.count, 2);
    cr_assert_eq(heard.numbers[0] + heard.numbers[1], SIGTERM + SIGUSR1);
    signals_destroy(heard.signals);
    executor_destroy(executor);
}

/* More signals that somebody else is sent than io_uring retries a read for. */
struct noise {
    struct task task;
    struct op op;
    unsigned left;
};

enum { NOISE_COUNT = 2000, NOISE_NOP = 1 };

static enum task_verdict noise_poll(struct task *task)
{
    struct noise *const noise = container_of(task, struct noise, task);

    ASYNC_BEGIN(task)
        ;
        while (noise->left--) {
            kill(getpid(), SIGUSR2);
            op_nop(&noise->op, task);
            AWAIT(task, NOISE_NOP, op_is_done(&noise->op));
        }
        kill(getpid(), SIGTERM);
        kill(getpid(), SIGUSR1);
        ASYNC_END(task);
}

static void ignore(int number)
{
    (void)number;
}

Test(signals, signals_of_others_do_not_end_the_watch)
{
    static const char *const state_names[] = {"start", "nop"};
    static const struct task_type type = {.name = "noise",
                                          .poll = noise_poll,
                                          .state_names = state_names,
                                          .state_count = array_count(state_names)};
    struct noise noise = {.left = NOISE_COUNT};
    struct heard heard = {0};
    struct executor *executor;

    cr_assert_neq(signal(SIGUSR2, ignore), SIG_ERR);
    cr_assert_eq(executor_create(&executor, NULL, NULL), 0);
    cr_assert_eq(signals_create(&heard.signals, NULL), 0);
    signals_start(heard.signals, executor, hear, &heard);
    task_spawn(&noise.task, executor, &type);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_eq(heard.count, 2);
    signals_destroy(heard.signals);
    executor_destroy(executor);
}

Test(signals, watch_that_never_started_is_destroyed)
{
    struct signals *signals;

    cr_assert_eq(signals_create(&signals, NULL), 0);
    signals_destroy(signals);
}
