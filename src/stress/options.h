/* The command line of `ringvm stress`. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "stress/config.h"

struct workload;

enum { STRESS_WORKLOADS_MAX = 16 };

struct stress_options {
    struct stress_config config;
    const struct workload *const *table;                    /* what there is, see workload.h */
    const struct workload *workloads[STRESS_WORKLOADS_MAX]; /* what is asked for */
    unsigned workload_count;
    const char *json_path; /* NULL: none */
    bool has_seed;         /* one was given */
    bool shows_progress;   /* also where standard error is no terminal */
};

/* Defaults, then argv, argv[0] being the verb. `table`, which NULL ends, has at most
 * STRESS_WORKLOADS_MAX primitives (asserted) and outlives the options. -EINVAL or -ERANGE with a
 * line. */
must_check int stress_options_parse(const struct workload *const *table, int argc, char **argv,
                                    struct stress_options *options, bool *wants_help,
                                    struct err *err);
void stress_options_print_help(const struct workload *const *table, FILE *out);
