/* Runs the tests of a ThreadSanitizer build; see criterion/criterion.h in this folder. */
#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

enum { TIMEOUT_DEFAULT_S = 120, EXIT_SKIPPED = 77, EXIT_FAILED = 1 };

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

int main(int argc, char **argv)
{
    const char *filter = "*";
    unsigned tested = 0, passed = 0, skipped = 0;

    for (int i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], "--filter"))
            filter = argv[i + 1];
    for (const struct cr_test *const *at = __start_cr_shim; at < __stop_cr_shim; at++) {
        const struct cr_test *test = *at;
        char name[256];
        int status;

        snprintf(name, sizeof(name), "%s/%s", test->suite, test->name);
        if (test->extra.disabled || fnmatch(filter, name, 0))
            continue;
        fflush(NULL);
        pid_t child = fork();
        if (child < 0) {
            perror("fork");
            return EXIT_FAILED;
        }
        if (child == 0)
            run_child(test);
        while (waitpid(child, &status, 0) < 0)
            if (errno != EINTR)
                return EXIT_FAILED;
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED) {
            skipped++;
            continue;
        }
        tested++;
        if (ended_well(test, status))
            passed++;
        else
            fprintf(stderr, "[FAIL] %s (status 0x%x)\n", name, (unsigned)status);
    }
    printf("%u passed, %u failed, %u skipped\n", passed, tested - passed, skipped);
    return passed == tested && tested ? 0 : EXIT_FAILED;
}
