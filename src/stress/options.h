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
    const struct workload *workloads[STRESS_WORKLOADS_MAX];
    unsigned workload_count;
    const char *json_path; /* NULL: none */
    bool has_seed;         /* one was given */
};

/* Defaults, then argv, argv[0] being the verb. -EINVAL or -ERANGE with a line. */
must_check int stress_options_parse(int argc, char **argv, struct stress_options *options,
                                    bool *wants_help, struct err *err);
void stress_options_print_help(FILE *out);
