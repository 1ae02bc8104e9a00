/* A monitor as a child process, whose guest talks on its standard output. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/err.h"

enum { MONITOR_ARGS_MAX = 64, MONITOR_LINE_SIZE = 512 };

struct monitor_config {
    char *const *argv; /* ends with NULL; argv[0] is looked up in PATH if it has no slash */
    uint64_t timeout_ns;
    /* Each line that the guest writes, without its end; what is longer than MONITOR_LINE_SIZE - 1
     * is cut. An error, with its line, ends the child. */
    int (*line)(void *arg, const char *line, struct err *err);
    void *arg;
    pid_t *pid; /* NULL, or what learns the child's before the first line comes */
};

/*
 * Runs it to its end. What it writes to standard error is kept, and its last line is part of the
 * error when it exits with something else than 0. 0, or a negative errno with its line.
 */
must_check int monitor_run(const struct monitor_config *config, struct err *err);
