/*
 * Log lines on stderr. One process-wide level, set once at start; each line is written with one
 * write(2). Anything that a guest can cause goes through log_limited, so that a guest cannot flood
 * the host's log (hostile-guest class "console, log and error paths").
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVEL_COUNT };

/* Before any other thread starts. */
void log_set_level(enum log_level level);
/* "error", "warn", "info" or "debug" to its level; -EINVAL for anything else. */
must_check int log_level_parse(const char *name, enum log_level *level);

bool log_enabled(enum log_level level);
/* Any thread. No newline in `format`. */
void log_line(enum log_level level, const char *format, ...) printf_like(2, 3);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                        \
    do {                                      \
        if (log_enabled(LOG_DEBUG))           \
            log_line(LOG_DEBUG, __VA_ARGS__); \
    } while (0)

/*
 * A budget of lines: a burst, refilled over time. Embed one per device (or per class of message of
 * a device); zeroed is ready to use. Not for concurrent use from several threads.
 */
struct log_limit {
    uint64_t window_start_ns; /* private */
    uint32_t lines;           /* private */
    uint32_t suppressed;      /* read-only: lines dropped in the current window */
};

/* log_line, or nothing when the budget (8 lines in 5 seconds) is spent; the next line that passes
 * says how many were dropped. */
void log_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
    printf_like(3, 4);
