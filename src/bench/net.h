/* `ringvm bench net`: frames of the bench guest on virtio-net. */
#pragma once
#include <jansson.h>
#include <stdio.h>

#include "bench/number_list.h"
#include "bench/options.h"
#include "report/histogram.h"
#include "report/report.h"

enum net_kind { NET_TX, NET_RX, NET_ECHO, NET_KIND_COUNT };

enum { NET_CASES_MAX = 64 };

struct net_options {
    struct bench_options common; /* first */
    struct number_list sizes;    /* bytes of a frame */
    struct number_list depths;   /* echoes at a time */
    bool polls;
    bool sleeps; /* and takes interrupts */
};

/* 0, or -EINVAL or -ERANGE with a line. */
must_check int net_options_parse(int argc, char **argv, struct net_options *options,
                                 struct err *err);
void net_options_print_help(FILE *out);

struct net_case {
    enum net_kind kind;
    unsigned size;
    unsigned depth; /* of echoes; else 0 */
    bool sleeps;
    struct report_series rate;    /* frames a second, of each round */
    struct histogram *round_trip; /* of echoes, nanoseconds, as the guest saw them */
    uint64_t frames, lost, kicks, interrupts;
};

struct net_session {
    const struct net_options *options;
    struct net_case cases[NET_CASES_MAX];
    unsigned count;
};

/* As disk_session_run; the process has no other network afterwards. */
must_check int net_session_run(struct net_session *session, const struct net_options *options,
                               FILE *progress, struct err *err);
void net_session_destroy(struct net_session *session);

extern const char *const net_kind_names[NET_KIND_COUNT];

/* 0 or -ENOMEM. */
must_check int net_result_print(const struct net_session *session, FILE *out, bool styled);
/* The caller's, or NULL when there is no memory. */
must_check json_t *net_result_to_json(const struct net_session *session);
/* Percentiles of the echoes. 0, or a negative errno with its line. */
must_check int net_result_draw(const struct net_session *session, const char *path,
                               struct err *err);
