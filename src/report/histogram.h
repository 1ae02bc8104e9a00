/*
 * A histogram of durations (or any whole numbers), log-linear as HdrHistogram lays it out: three
 * significant digits over its whole range, in fixed memory that is touched when it is made.
 * Recording is a handful of instructions: no allocation, no page fault, no system call.
 *
 * Values above HISTOGRAM_VALUE_MAX count as that; the largest is kept exactly all the same.
 * Not for concurrent use: each thread has its own, and histogram_merge puts them together.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* 68 seconds in nanoseconds. */
#define HISTOGRAM_VALUE_MAX ((1ULL << 36) - 1)

struct histogram;

/* Empty. 0 or -ENOMEM. Any thread. */
must_check int histogram_create(struct histogram **out);
/* NULL is allowed. */
void histogram_destroy(struct histogram *histogram);

void histogram_record(struct histogram *histogram, uint64_t value);
/* The same value `count` times: what another histogram counted. */
void histogram_record_many(struct histogram *histogram, uint64_t value, uint64_t count);
/* Adds all that was recorded in `from`, which stays as it is. */
void histogram_merge(struct histogram *histogram, const struct histogram *from);

uint64_t histogram_count(const struct histogram *histogram);
/* Exact. 0 while it is empty, as all below. */
uint64_t histogram_min(const struct histogram *histogram);
uint64_t histogram_max(const struct histogram *histogram);
double histogram_mean(const struct histogram *histogram);

/*
 * The value that `milli_percent` thousandths of a percent of the recorded ones do not exceed: 50000
 * is the median, 99990 is p99.99. The same rank as in the sorted values, at most 0.1 % larger.
 */
uint64_t histogram_percentile(const struct histogram *histogram, uint32_t milli_percent);

/* Whether a recorded value lies beyond that percentile: else it is the largest by another name. */
bool histogram_resolves(const struct histogram *histogram, uint32_t milli_percent);

/*
 * Walks the distinct values upwards, for curves:
 *
 *     struct histogram_cursor cursor = {0};
 *     while (histogram_next(histogram, &cursor)) ... cursor.value, cursor.below_or_equal
 */
struct histogram_cursor {
    uint64_t value;          /* read-only */
    uint64_t below_or_equal; /* read-only: how many were recorded up to here */
    uint32_t index;          /* private */
};

must_check bool histogram_next(const struct histogram *histogram, struct histogram_cursor *cursor);
