#include "vmm/signals.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

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

Test(signals, watch_that_never_started_is_destroyed)
{
    struct signals *signals;

    cr_assert_eq(signals_create(&signals, NULL), 0);
    signals_destroy(signals);
}
