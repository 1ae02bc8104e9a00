/* What the benchmarks of the project share: samples, medians, the table on stdout and the JSON. */
#pragma once
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"

enum { REPORT_RUNS_MAX = 101, REPORT_ROWS_MAX = 64 };

struct report_series {
    double samples[REPORT_RUNS_MAX];
    unsigned count;
};

struct report_row {
    const char *name;
    const char *unit;
    const char *reference; /* what `other` is, or NULL */
    struct report_series ours;
    struct report_series other;
};

struct report {
    struct report_row rows[REPORT_ROWS_MAX];
    unsigned count;
};

/* A new row; the strings are the caller's. */
struct report_row *report_add(struct report *report, const char *name, const char *unit,
                              const char *reference);
/* Further samples are dropped once a series is full. */
void report_sample(struct report_series *series, double value);
double report_median(const struct report_series *series);

void report_print_heading(FILE *out);
void report_print_row(const struct report_row *row, FILE *out);
/* Writes the list of {name, unit, median, min, max, runs, reference, ratio}; ratio is ours divided
 * by the reference, both null where there is none. 0, or a negative errno. */
must_check int report_write_json(const struct report *report, const char *path);

/* How often the calling thread was runnable but had no cpu, so far: a busy machine shows here. */
uint64_t report_run_delay_ns(void);
