/* Runs the tests where Criterion cannot; see criterion/criterion.h in this folder. */
#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

/* For an emulated host on a busy machine: two threads that wake each other take a minute there. */
enum { TIMEOUT_DEFAULT_S = 600, EXIT_SKIPPED = 77, EXIT_FAILED = 1, JOBS_MAX = 16 };

extern const struct cr_test *const __start_cr_shim[];
extern const struct cr_test *const __stop_cr_shim[];

void cr_shim_fail(const char *file, int line, const char *what, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: Assertion failed: %s", file, line, what);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(EXIT_FAILED);
}

void cr_shim_skip(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(EXIT_SKIPPED);
}

static void run_child(const struct cr_test *test)
{
    alarm(test->extra.timeout > 0 ? (unsigned)test->extra.timeout * 4 + 1 : TIMEOUT_DEFAULT_S);
    if (test->extra.init)
        test->extra.init();
    test->run();
    if (test->extra.fini)
        test->extra.fini();
    exit(0);
}

/* True when the child ended as the test says it should. */
static bool ended_well(const struct cr_test *test, int status)
{
    if (test->extra.signal)
        return WIFSIGNALED(status) && WTERMSIG(status) == test->extra.signal;
    return WIFEXITED(status) && WEXITSTATUS(status) == test->extra.exit_code;
}

struct run {
    pid_t child;
    const struct cr_test *test;
};

struct tally {
    unsigned passed, failed, skipped;
};

static void count(struct tally *tally, const struct cr_test *test, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED) {
        tally->skipped++;
    } else if (ended_well(test, status)) {
        tally->passed++;
    } else {
        tally->failed++;
        fprintf(stderr, "[FAIL] %s/%s (status 0x%x)\n", test->suite, test->name, (unsigned)status);
    }
}

/* Waits for one of the children, of which there is at least one. */
static void wait_for_one(struct run *runs, unsigned *run_count, struct tally *tally)
{
    int status;
    pid_t child;

    do
        child = waitpid(-1, &status, 0);
    while (child < 0 && errno == EINTR);
    for (unsigned i = 0; i < *run_count; i++) {
        if (runs[i].child != child)
            continue;
        count(tally, runs[i].test, status);
        runs[i] = runs[--*run_count];
        return;
    }
    perror("waitpid");
    exit(EXIT_FAILED);
}

static bool matches(const struct cr_test *test, const char *filter)
{
    char name[256];

    snprintf(name, sizeof(name), "%s/%s", test->suite, test->name);
    return !test->extra.disabled && !fnmatch(filter, name, 0);
}

/* Of Criterion's options there are these two; others are for the reader to ignore. */
int main(int argc, char **argv)
{
    struct run runs[JOBS_MAX];
    struct tally tally = {0};
    const char *filter = "*";
    unsigned run_count = 0, job_count = 1;

    for (int i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "--filter"))
            filter = argv[i + 1];
        if (!strcmp(argv[i], "--jobs"))
            job_count = (unsigned)strtoul(argv[i + 1], NULL, 10);
    }
    if (!job_count || job_count > JOBS_MAX)
        job_count = 1;
    for (const struct cr_test *const *at = __start_cr_shim; at < __stop_cr_shim; at++) {
        if (!matches(*at, filter))
            continue;
        if (run_count == job_count)
            wait_for_one(runs, &run_count, &tally);
        fflush(NULL);
        pid_t child = fork();
        if (child < 0) {
            perror("fork");
            return EXIT_FAILED;
        }
        if (child == 0)
            run_child(*at);
        runs[run_count++] = (struct run){child, *at};
    }
    while (run_count)
        wait_for_one(runs, &run_count, &tally);
    printf("%u passed, %u failed, %u skipped\n", tally.passed, tally.failed, tally.skipped);
    return tally.passed && !tally.failed ? 0 : EXIT_FAILED;
}
