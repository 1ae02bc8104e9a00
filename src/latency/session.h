/* A whole run: every measurement that was asked for, without and with load, round by round. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"
#include "latency/options.h"
#include "latency/probe.h"
#include "report/histogram.h"

enum { SESSION_ROUNDS = 5 };

enum session_condition { SESSION_QUIET, SESSION_LOADED, SESSION_CONDITION_COUNT };

/* What was found of one measurement under one condition. */
struct session_case {
    struct histogram *histogram; /* of nanoseconds; NULL: was not asked for */
    uint64_t wall_ns;            /* how long it was measured */
    uint64_t run_delay_ns;       /* how long its threads waited for a cpu meanwhile */
};

/* All is read-only. */
struct session {
    const struct latency_options *options;
    struct session_case cases[PROBE_COUNT][SESSION_CONDITION_COUNT];
    double clock_ns;     /* what one read of the clock costs */
    bool disk_is_direct; /* the disk was read past the page cache */
    bool disk_was_named; /* its file had a name at first */
};

/*
 * Measures. `options` outlives the session. `progress`: a terminal that is told what goes on, or
 * NULL. 0, or a negative errno with its line; then there is nothing to destroy.
 */
must_check int session_run(struct session *session, const struct latency_options *options,
                           FILE *progress, struct err *err);
void session_destroy(struct session *session);

/* Whether so much of the time without load went to waiting for a cpu that the figures are not those
 * of a quiet machine. */
bool session_case_is_disturbed(const struct session_case *one, enum session_condition condition);
/* Any case of them. */
bool session_is_disturbed(const struct session *session);
