/*
 * What the benchmarks of the project share: samples, their medians, the table on standard output
 * and the JSON. Ours and the reference are measured alternately in one run, so that a busy machine
 * hurts both and the ratio stands.
 */
#pragma once
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"

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

/* Zeroed is empty. */
struct report {
    struct report_row rows[REPORT_ROWS_MAX];
    unsigned count;
};

/* A new row, at most REPORT_ROWS_MAX of them (asserted); the strings are the caller's. */
struct report_row *report_add(struct report *report, const char *name, const char *unit,
                              const char *reference);
/* Further samples are dropped once a series is full. */
void report_sample(struct report_series *series, double value);
/* 0 while there is none. */
double report_median(const struct report_series *series);

void report_print_heading(FILE *out);
void report_print_row(const struct report_row *row, FILE *out);
/* Writes the list of {name, unit, median, min, max, runs, reference, ratio}; ratio is ours divided
 * by the reference, both null where there is none. 0, or a negative errno with its line. */
must_check int report_write_json(const struct report *report, const char *path, struct err *err);
