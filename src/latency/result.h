/* What a session found, as text, as JSON and as a picture. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "latency/session.h"

enum { RESULT_PERCENTILE_COUNT = 5 };

struct result_percentile {
    const char *name;
    uint32_t milli_percent;
};

extern const struct result_percentile result_percentiles[RESULT_PERCENTILE_COUNT];

/* The table and what there is to say about it. 0 or -ENOMEM. */
must_check int result_print(const struct session *session, FILE *out, bool styled);

/*
 * {"kernel", "cpus", "seed", "load_threads", "load_tasks", "poll_us", "clock_ns",
 *  "disk_is_direct", "measurements": [{"name", "title", "load_threads", "load_tasks", "samples",
 *  "unit": "ns", "min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max", "run_delay_share",
 *  "disturbed", "curve": [[percent, ns], ...]}, ...]} A percentile that no sample lies beyond is
 * null. The caller's, or NULL when there is no memory.
 */
must_check json_t *result_to_json(const struct session *session);

/* Percentile curves, a panel for each measurement, as SVG. 0, or a negative errno with its line. */
must_check int result_draw(const struct session *session, const char *path, struct err *err);

/* "Linux 6.12.9, 2 cpus", for headings. */
struct result_host {
    char kernel[128];
    long cpus;
};

struct result_host result_host_get(void);

/* "2 busy threads, 4 busy tasks in each executor" */
struct result_load {
    char text[80];
};

struct result_load result_load_get(const struct load_size *size);
