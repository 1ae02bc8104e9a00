#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINES_PER_WINDOW = 8 };
#define WINDOW_NS (5 * NS_PER_S)

static const char *const level_names[LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug"};

/* The one process-wide setting; written before threads start. */
static enum log_level level_max = LOG_WARN;

void log_set_level(enum log_level level)
{
    level_max = level;
}

int log_level_parse(const char *name, enum log_level *level)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (!strcmp(name, level_names[i])) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

bool log_enabled(enum log_level level)
{
    return level <= level_max;
}

static void log_write(enum log_level level, const char *format, va_list args)
{
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
    char line[1024];
    int len = snprintf(line, sizeof(line), "ringvm: %s: ", level_names[level]);
    int body = vsnprintf(line + len, sizeof(line) - (size_t)len - 1, format, args);

    if (body < 0)
        return;
    len += body;
    if ((size_t)len > sizeof(line) - 2)
        len = (int)sizeof(line) - 2;
    line[len++] = '\n';
    /* A log that cannot be written has nobody to be reported to; one that nobody reads must not
     * stop the executor. */
    if (poll(&output, 1, 0) <= 0 || write(STDERR_FILENO, line, (size_t)len) < 0)
        return;
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    if (!log_enabled(level))
        return;
    va_start(args, format);
    log_write(level, format, args);
    va_end(args);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
{
    va_list args;
    uint64_t now;

    if (!log_enabled(level))
        return;
    now = clock_now_ns();
    if (!limit->window_start_ns || now - limit->window_start_ns > WINDOW_NS) {
        if (limit->suppressed)
            log_line(level, "%u similar lines were suppressed", limit->suppressed);
        *limit = (struct log_limit){.window_start_ns = now};
    }
    if (limit->lines >= LINES_PER_WINDOW) {
        limit->suppressed++;
        return;
    }
    limit->lines++;
    va_start(args, format);
    log_write(level, format, args);
    va_end(args);
}
