#include "bench/monitor.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"

struct lines {
    char text[1024];
    const char *refuse;
};

static int keep(void *arg, const char *line, struct err *err)
{
    struct lines *lines = arg;

    if (lines->refuse && !strcmp(line, lines->refuse))
        return err_set(err, -EPROTO, "refused %s", line);
    strncat(lines->text, line, sizeof(lines->text) - strlen(lines->text) - 1);
    strncat(lines->text, "|", sizeof(lines->text) - strlen(lines->text) - 1);
    return 0;
}

static int shell(const char *script, struct lines *lines, uint64_t timeout_ns, struct err *err)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    const struct monitor_config config = {
        .argv = (char *const *)(uintptr_t)argv,
        .timeout_ns = timeout_ns,
        .line = keep,
        .arg = lines,
    };

    *err = (struct err){""};
    return monitor_run(&config, err);
}

Test(monitor, lines_come_whole_and_without_their_ends)
{
    struct lines lines = {.refuse = NULL};
    struct err err;

    cr_assert_eq(shell("printf 'one\\r\\ntw'; printf 'o\\n\\nrest'", &lines, 60 * NS_PER_S, &err),
                 0, "%s", err.text);
    cr_assert_str_eq(lines.text, "one|two||");
}

Test(monitor, line_without_end_is_cut)
{
    struct lines lines = {.refuse = NULL};
    struct err err;

    cr_assert_eq(shell("printf '%0600d\\nlast\\n' 0", &lines, 60 * NS_PER_S, &err), 0);
    cr_assert_eq(strcspn(lines.text, "|"), MONITOR_LINE_SIZE - 1);
    cr_assert_not_null(strstr(lines.text, "|last|"));
}

Test(monitor, failure_is_told_in_the_monitors_own_words)
{
    struct lines lines = {.refuse = NULL};
    struct err err;

    cr_assert_eq(
        shell("echo a >&2; echo 'ringvm: no such disk' >&2; exit 3", &lines, 60 * NS_PER_S, &err),
        -EIO);
    cr_assert_str_eq(err.text, "no such disk");
    cr_assert_eq(shell("exit 3", &lines, 60 * NS_PER_S, &err), -EIO);
    cr_assert_str_eq(err.text, "sh: ended with status 3");
    cr_assert_eq(shell("kill -9 $$", &lines, 60 * NS_PER_S, &err), -EIO);
    cr_assert_str_eq(err.text, "sh: ended by signal 9");
}

Test(monitor, refused_line_ends_the_child)
{
    struct lines lines = {.text = "", .refuse = "bad"};
    struct err err;

    /* It would not end by itself. */
    cr_assert_eq(shell("echo bad; exec sleep 1000", &lines, 600 * NS_PER_S, &err), -EPROTO);
    cr_assert_str_eq(err.text, "refused bad");
}

Test(monitor, child_that_takes_too_long_is_ended)
{
    struct lines lines = {.refuse = NULL};
    struct err err;

    cr_assert_eq(shell("exec sleep 1000", &lines, NS_PER_MS, &err), -ETIMEDOUT);
}

Test(monitor, program_that_does_not_exist_is_named)
{
    const char *argv[] = {"/nonexistent", NULL};
    const struct monitor_config config = {
        .argv = (char *const *)(uintptr_t)argv, .timeout_ns = NS_PER_S, .line = keep};
    struct err err = {""};

#ifdef RING_SLEEPS_IN_POLL /* the build for valgrind */
    cr_skip_test("valgrind makes a vfork a fork, whose parent does not hear that exec failed");
#endif
    cr_assert_eq(monitor_run(&config, &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "/nonexistent"));
}
