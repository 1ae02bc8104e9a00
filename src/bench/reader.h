/* Takes what the bench guest says apart: results, each with its histogram, and how it ends. */
#pragma once
#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"
#include "report/histogram.h"

struct reader {
    /* A line with this word is a result; *histogram, NULL before, takes the buckets that follow. */
    const char *word;
    int (*result)(void *arg, const char *line, struct histogram **histogram, struct err *err);
    void *arg;
    /* Private. */
    struct histogram *histogram;
    bool greeted, ended;
};

/* One line; for monitor_config.line, whose `arg` is the reader. Firmware may say what it likes
 * before. */
must_check int reader_line(void *reader, const char *line, struct err *err);
/* After the last one: whether the guest came to its end. 0, or -EIO with its line. */
must_check int reader_finish(const struct reader *reader, struct err *err);
