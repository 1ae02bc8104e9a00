/* The command line of `ringvm latency`. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"
#include "latency/load.h"
#include "latency/probe.h"

struct latency_options {
    bool selected[PROBE_COUNT]; /* by index in probes */
    uint64_t duration_ns;       /* of each measurement, with and without load */
    uint64_t samples_max;       /* of each measurement; UINT64_MAX: as many as there is time for */
    uint64_t seed;
    struct load_size load; /* nothing: only without load */
    uint32_t poll_us;
    const char *directory;
    const char *json_path; /* NULL: none; "-": standard output, and no table */
    const char *svg_path;  /* NULL: none */
};

/*
 * Parses `argv` (argv[0] is the verb) into `options`, which keeps pointers into it. -EINVAL or
 * -ERANGE with a line that names the option. Nothing is checked any more once *wants_help is set.
 */
must_check int latency_options_parse(int argc, char **argv, struct latency_options *options,
                                     bool *wants_help, struct err *err);

void latency_options_print_help(FILE *out);
