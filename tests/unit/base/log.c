#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"

/* Redirects stderr into a pipe, so that a test sees what was logged. */
static int capture(void)
{
    int fds[2];

    cr_assert_eq(pipe2(fds, O_NONBLOCK), 0);
    cr_assert_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    close(fds[1]);
    return fds[0];
}

static unsigned count_lines(int fd, char *last, size_t size)
{
    char text[8192];
    ssize_t len = read(fd, text, sizeof(text) - 1);
    unsigned lines = 0;
    char *start = text;

    if (len < 0)
        len = 0;
    text[len] = '\0';
    for (char *at = text; (at = strchr(at, '\n')); start = ++at) {
        *at = '\0';
        memcpy(last, start, u64_min(size, (size_t)(at - start) + 1));
        lines++;
    }
    return lines;
}

Test(log, only_levels_up_to_the_chosen_one_are_written)
{
    int fd = capture();
    char line[128] = "";

    log_set_level(LOG_WARN);
    log_error("disk %d", 7);
    log_info("not shown");
    cr_assert_eq(count_lines(fd, line, sizeof(line)), 1);
    cr_assert_str_eq(line, "ringvm: error: disk 7");
}

Test(log, a_reader_that_stopped_holds_nobody_up)
{
    int fd = capture();
    char line[1024], filler[4096] = "";

    cr_assert_eq(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK), 0);
    while (write(STDERR_FILENO, filler, sizeof(filler)) > 0)
        ;
    cr_assert_eq(fcntl(STDERR_FILENO, F_SETFL, 0), 0);
    log_error("lost");
    while (read(fd, filler, sizeof(filler)) > 0)
        ;
    log_error("seen");
    cr_assert_eq(count_lines(fd, line, sizeof(line)), 1);
    cr_assert_str_eq(line, "ringvm: error: seen");
}

Test(log, level_names)
{
    enum log_level level;

    cr_assert_eq(log_level_parse("debug", &level), 0);
    cr_assert_eq(level, LOG_DEBUG);
    cr_assert_eq(log_level_parse("loud", &level), -EINVAL);
}

Test(log, a_long_line_is_cut_but_stays_one_line)
{
    int fd = capture();
    char line[2048] = "";
    char text[2000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_error("%s", text);
    cr_assert_eq(count_lines(fd, line, sizeof(line)), 1);
    cr_assert_eq(line[900], 'x');
}

Test(log, a_limit_lets_a_burst_through_and_counts_the_rest)
{
    int fd = capture();
    char line[128] = "";
    struct log_limit limit = {0};

    for (unsigned i = 0; i < 1000; i++)
        log_limited(&limit, LOG_ERROR, "line %u", i);
    cr_assert_eq(count_lines(fd, line, sizeof(line)), 8);
    cr_assert_str_eq(line, "ringvm: error: line 7");
    cr_assert_eq(limit.suppressed, 992);
    /* As if the window had passed. */
    limit.window_start_ns -= 6 * NS_PER_S;
    log_limited(&limit, LOG_ERROR, "again");
    cr_assert_eq(count_lines(fd, line, sizeof(line)), 2, "the count, and the line");
    cr_assert_str_eq(line, "ringvm: error: again");
}
