/* `ringvm bench disk`: requests of the bench guest on virtio-blk, beside the limit. */
#pragma once
#include <jansson.h>
#include <stdio.h>

#include "bench/number_list.h"
#include "bench/options.h"
#include "report/histogram.h"
#include "report/report.h"

enum { DISK_CASES_MAX = 64 };

struct disk_options {
    struct bench_options common; /* first */
    struct number_list depths;
    struct number_list blocks; /* bytes */
    struct number_list reads;  /* percent */
    bool polls;
    bool sleeps;           /* and takes interrupts */
    const char *file;      /* NULL: one of our own */
    const char *directory; /* of our own file */
    uint64_t size;         /* of it; bytes */
    bool direct;
    uint64_t seed;
    const char *iops_svg_path; /* NULL: none */
};

/* 0, or -EINVAL or -ERANGE with a line. */
must_check int disk_options_parse(int argc, char **argv, struct disk_options *options,
                                  struct err *err);
void disk_options_print_help(FILE *out);

struct disk_case {
    unsigned depth;
    uint32_t block;
    unsigned read_percent;
    bool sleeps;
    struct report_series iops;      /* of each round */
    struct report_series bare_iops; /* of the io_uring loop without a guest; none when it sleeps */
    struct histogram *latency;      /* nanoseconds, as the guest saw them */
    uint64_t operations, kicks, interrupts;
};

struct disk_session {
    const struct disk_options *options;
    struct disk_case cases[DISK_CASES_MAX];
    unsigned count;
};

/*
 * Measures. `options` outlives the session. `progress`: a terminal that is told what goes on, or
 * NULL. 0, or a negative errno with its line; then there is nothing to destroy.
 */
must_check int disk_session_run(struct disk_session *session, const struct disk_options *options,
                                FILE *progress, struct err *err);
void disk_session_destroy(struct disk_session *session);

/* How many times as many as the bare loop, or 0 where there is none. */
double disk_case_ratio(const struct disk_case *one);

/* 0 or -ENOMEM. */
must_check int disk_result_print(const struct disk_session *session, FILE *out, bool styled);
/* The caller's, or NULL when there is no memory. */
must_check json_t *disk_result_to_json(const struct disk_session *session);
/* Percentiles, a panel for each case. 0, or a negative errno with its line. */
must_check int disk_result_draw(const struct disk_session *session, const char *path,
                                struct err *err);
/* IOPS over depth, beside the bare loop. 0, or a negative errno with its line. */
must_check int disk_result_draw_iops(const struct disk_session *session, const char *path,
                                     struct err *err);
