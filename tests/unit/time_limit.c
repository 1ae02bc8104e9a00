/*
 * A test that does not end is ended, and told by its name and place: Criterion's --timeout is only
 * an upper bound for tests that have a limit of their own. Criterion runs each in a process.
 */
#include <criterion/criterion.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TIME_LIMIT_S = 240, FRAMES_MAX = 48 };

/* The process ends here, so what is not async-signal-safe may at worst not be printed. */
static void time_is_up(int number)
{
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);

    signal(number, SIG_DFL);
    dprintf(STDERR_FILENO, "%s/%s: not done after %d s; addr2line tells where it is:\n",
            criterion_current_test->category, criterion_current_test->name, TIME_LIMIT_S);
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
    raise(number);
}

__attribute__((constructor)) static void limit_time(void)
{
    const struct sigaction action = {.sa_handler = time_is_up, .sa_flags = SA_NODEFER};
    void *frame;

    /* Only where a test runs, whose process Criterion gives this. */
    if (!getenv("BXFI_MAP"))
        return;
    backtrace(&frame, 1); /* The first one allocates. */
    if (sigaction(SIGALRM, &action, NULL) == 0)
        alarm(TIME_LIMIT_S);
}
