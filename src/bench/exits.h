/* `ringvm bench exits`: what each way to leave the guest costs. */
#pragma once
#include <jansson.h>
#include <stdio.h>

#include "bench/options.h"
#include "report/histogram.h"

enum { EXIT_KIND_COUNT = 7 };

struct exit_kind {
    const char *name; /* as the guest says it */
    const char *title;
};

extern const struct exit_kind exit_kinds[EXIT_KIND_COUNT];

/* 0, or -EINVAL or -ERANGE with a line. */
must_check int exits_options_parse(int argc, char **argv, struct bench_options *options,
                                   struct err *err);
void exits_options_print_help(FILE *out);

struct exits_session {
    const struct bench_options *options;
    struct histogram *histograms[EXIT_KIND_COUNT]; /* nanoseconds, as the guest saw them */
};

/* As disk_session_run. */
must_check int exits_session_run(struct exits_session *session, const struct bench_options *options,
                                 FILE *progress, struct err *err);
void exits_session_destroy(struct exits_session *session);

/* 0 or -ENOMEM. */
must_check int exits_result_print(const struct exits_session *session, FILE *out, bool styled);
/* The caller's, or NULL when there is no memory. */
must_check json_t *exits_result_to_json(const struct exits_session *session);
/* Percentiles, a panel for each. 0, or a negative errno with its line. */
must_check int exits_result_draw(const struct exits_session *session, const char *path,
                                 struct err *err);
