/* The percentiles that tables and documents of the benchmarks show. */
#pragma once
#include <jansson.h>
#include <stdint.h>

#include "report/histogram.h"
#include "report/table.h"

/* Their columns. */
#define PERCENTILE_COLUMNS                                              \
    {"p50", TABLE_RIGHT}, {"p99", TABLE_RIGHT}, {"p99.9", TABLE_RIGHT}, \
    {                                                                   \
        "max", TABLE_RIGHT                                              \
    }

/* The cells of these: "–" where no sample lies beyond a percentile. */
void percentiles_print(struct table *table, const struct histogram *histogram);
/* {"samples", "min", "mean", "p50", "p99", "p99.9", "max"} in nanoseconds, null where no sample
 * lies beyond. The caller's, or NULL when there is no memory. */
json_t *percentiles_to_json(const struct histogram *histogram);
