/*
 * The same bench guest on ringvm and on QEMU, on this machine's own KVM: reads the same file in
 * memory, beside a bare io_uring loop without a guest, and sends and receives frames on the same
 * tap; all in turns within one run.
 *
 *     build/release/bench-native [--smoke] [--rounds COUNT] [--json FILE]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "bench/bare.h"
#include "bench/net_link.h"
#include "bench/reader.h"
#include "bench/record.h"
#include "bench/scratch.h"
#include "contestant.h"
#include "report/report.h"

enum {
    DEPTH_COUNT = 6,
    NET_KIND_COUNT = 3,
    ROUNDS = 7,
    ROUNDS_MAX = 100,
    ROUND_MS = 400,
    SMOKE_ROUND_MS = 5,
    BLOCK = 4096,
    DISK_SIZE = 64 << 20,
    TIMEOUT_S = 40,
};

static const unsigned depths[DEPTH_COUNT] = {1, 2, 4, 8, 16, 32};

/* The loop without a guest is a contestant as well, of disks. */
enum { BARE = CONTESTANT_COUNT, DISK_CONTESTANT_COUNT };

static const struct net_kind {
    const char *word; /* the guest's */
    const char *name;
} net_kinds[NET_KIND_COUNT] = {{"tx", "net_tx_60"}, {"rx", "net_rx_60"}, {"echo", "net_echo_60"}};

struct bench {
    struct scratch disk;
    struct net_link link;
    bool has_link; /* without, disks only */
    uint64_t round_ms;
    unsigned round;
    uint64_t cycles_per_ms; /* what ringvm tells the guest; 0: not known yet */
    struct report_series iops[DISK_CONTESTANT_COUNT][DEPTH_COUNT];
    struct report_series frames[CONTESTANT_COUNT][NET_KIND_COUNT];
    struct histogram *latencies; /* of all; nobody asks */
    unsigned retries;
};

/* A run of the guest. */
struct run {
    struct bench *bench;
    enum contestant contestant;
    struct reader reader;
    /* Of each depth or kind; count once it came to its end. */
    struct report_series rates[DEPTH_COUNT];
};

_Static_assert((int)NET_KIND_COUNT <= DEPTH_COUNT, "one array for both");

static int rate_take(const char *line, struct report_series *series)
{
    uint64_t operations, ns;

    if (record_number(line, "operations", &operations) || record_number(line, "ns", &ns) || !ns)
        return -EINVAL;
    report_sample(series, (double)operations * (double)NS_PER_S / (double)ns);
    return 0;
}

static int disk_case_take(void *arg, const char *line, struct histogram **histogram,
                          struct err *err)
{
    struct run *run = arg;
    uint64_t depth;

    (void)err; /* the reader's */
    *histogram = run->bench->latencies;
    for (unsigned i = 0; i < DEPTH_COUNT; i++)
        if (!record_number(line, "depth", &depth) && depths[i] == depth)
            return rate_take(line, &run->rates[i]);
    return -EINVAL;
}

static int net_case_take(void *arg, const char *line, struct histogram **histogram, struct err *err)
{
    struct run *run = arg;

    (void)err; /* the reader's */
    *histogram = run->bench->latencies;
    for (unsigned i = 0; i < NET_KIND_COUNT; i++)
        if (record_is(line + strlen("net "), net_kinds[i].word))
            return rate_take(line, &run->rates[i]);
    return -EINVAL;
}

static int line_take(void *arg, const char *line, struct err *err)
{
    struct run *run = arg;

    if (record_is(line, "clock") &&
        record_number(line, "cycles_per_ms", &run->bench->cycles_per_ms))
        return err_set(err, -EPROTO, "bench guest: does not say how fast its clock is");
    return reader_line(&run->reader, line, err);
}

static void params_print(const struct bench *bench, bool is_net, char *params, size_t size)
{
    size_t len = (size_t)snprintf(params, size, "bench=%s time_ms=%" PRIu64,
                                  is_net ? "net" : "disk", bench->round_ms);

    /* The same clock for all: not every machine lets a guest learn it. */
    if (bench->cycles_per_ms)
        len += (size_t)snprintf(params + len, size - len, " cycles_per_ms=%" PRIu64,
                                bench->cycles_per_ms);
    if (!is_net)
        len += (size_t)snprintf(params + len, size - len, " check=1 seed=%u", bench->round + 1);
    for (unsigned i = 0; i < DEPTH_COUNT && !is_net; i++)
        len += (size_t)snprintf(params + len, size - len, "%s%u", i ? "," : " depth=", depths[i]);
    CHECK_CMP(len, <, size);
}

static int guest_try(struct bench *bench, enum contestant contestant, bool is_net, struct err *err)
{
    struct run run = {.bench = bench, .contestant = contestant};
    char params[256];
    const struct contestant_config config = {
        .params = params,
        .disk = is_net ? NULL : bench->disk.path,
        .tap_fd = is_net ? bench->link.tap_fd : -1,
    };
    struct monitor_config monitor = {
        .timeout_ns = TIMEOUT_S * NS_PER_S, .line = line_take, .arg = &run};
    int ret;

    run.reader = (struct reader){.word = is_net ? "net" : "case",
                                 .result = is_net ? net_case_take : disk_case_take,
                                 .arg = &run};
    params_print(bench, is_net, params, sizeof(params));
    ret = contestant_run(contestant, &config, &monitor, err);
    if (!ret)
        ret = reader_finish(&run.reader, err);
    for (unsigned i = 0; !ret && i < (is_net ? (unsigned)NET_KIND_COUNT : DEPTH_COUNT); i++)
        report_sample(is_net ? &bench->frames[contestant][i] : &bench->iops[contestant][i],
                      report_median(&run.rates[i]));
    return ret;
}

/* A guest that makes no progress gets one more chance. */
static int guest_run(struct bench *bench, enum contestant contestant, bool is_net, struct err *err)
{
    int ret = guest_try(bench, contestant, is_net, err);

    for (unsigned i = 0; i < CONTESTANT_RETRIES_MAX && ret == -ETIMEDOUT; i++) {
        bench->retries++;
        printf("%s: %s; tried again\n", contestant_names[contestant], err->text);
        ret = guest_try(bench, contestant, is_net, err);
    }
    return ret;
}

static int bare_cases_run(struct bench *bench, struct err *err)
{
    for (unsigned i = 0; i < DEPTH_COUNT; i++) {
        const struct bare_config config = {
            .path = bench->disk.path,
            .size = bench->disk.size,
            .duration_ns = bench->round_ms * NS_PER_MS,
            .seed = bench->round + 1,
            .depth = depths[i],
            .block = BLOCK,
            .read_percent = 100,
        };
        double iops;
        int ret = bare_run(&config, &iops, err);

        if (ret)
            return ret;
        report_sample(&bench->iops[BARE][i], iops);
    }
    return 0;
}

static int round_run(struct bench *bench, struct err *err)
{
    int ret = bare_cases_run(bench, err);

    for (unsigned i = 0; i < CONTESTANT_COUNT && !ret; i++)
        ret = guest_run(bench, i, false, err);
    for (unsigned i = 0; i < CONTESTANT_COUNT && !ret && bench->has_link; i++)
        ret = guest_run(bench, i, true, err);
    return ret;
}

/* ---- results ---- */

static void row_add(struct report *report, const char *name, const char *unit, const char *other,
                    const struct report_series *ours, const struct report_series *others)
{
    struct report_row *row = report_add(report, name, unit, other);

    row->ours = *ours;
    row->other = *others;
    report_print_row(row, stdout);
}

static enum contestant better(const struct report_series *q35, const struct report_series *microvm)
{
    return report_median(microvm) > report_median(q35) ? QEMU_MICROVM : QEMU_Q35;
}

static int results_write(const struct bench *bench, const char *json, struct err *err)
{
    static struct report report;
    static char names[2][DEPTH_COUNT][24];

    report_print_heading(stdout);
    for (unsigned i = 0; i < DEPTH_COUNT; i++) {
        enum contestant qemu = better(&bench->iops[QEMU_Q35][i], &bench->iops[QEMU_MICROVM][i]);

        snprintf(names[0][i], sizeof(names[0][i]), "disk_qd%u", depths[i]);
        snprintf(names[1][i], sizeof(names[1][i]), "disk_qd%u_qemu", depths[i]);
        row_add(&report, names[0][i], "requests/s", "bare io_uring loop", &bench->iops[RINGVM][i],
                &bench->iops[BARE][i]);
        row_add(&report, names[1][i], "requests/s", contestant_names[qemu], &bench->iops[RINGVM][i],
                &bench->iops[qemu][i]);
    }
    for (unsigned i = 0; i < NET_KIND_COUNT && bench->has_link; i++) {
        enum contestant qemu = better(&bench->frames[QEMU_Q35][i], &bench->frames[QEMU_MICROVM][i]);

        row_add(&report, net_kinds[i].name, "frames/s", contestant_names[qemu],
                &bench->frames[RINGVM][i], &bench->frames[qemu][i]);
    }
    return json ? report_write_json(&report, json, err) : 0;
}

static int rounds_run(struct bench *bench, unsigned rounds, struct err *err)
{
    struct err why = {""};
    int ret = 0;

    bench->has_link = !net_link_create(&bench->link, &why);
    if (!bench->has_link)
        printf("without network: %s\n", why.text);
    for (bench->round = 0; bench->round < rounds && !ret; bench->round++)
        ret = round_run(bench, err);
    if (bench->has_link)
        net_link_destroy(&bench->link);
    return ret;
}

static int bench_run(struct bench *bench, unsigned rounds, const char *json, struct err *err)
{
    double before[1] = {0}, after[1] = {0};
    int ret = scratch_make(&bench->disk, "/dev/shm", DISK_SIZE, err);

    if (ret)
        return ret;
    if (histogram_create(&bench->latencies))
        ret = err_set(err, -ENOMEM, "no memory for a histogram");
    (void)getloadavg(before, 1);
    if (!ret)
        ret = rounds_run(bench, rounds, err);
    (void)getloadavg(after, 1);
    if (!ret)
        ret = results_write(bench, json, err);
    if (!ret)
        printf("%u guests were lost and tried again\n", bench->retries);
    if (!ret)
        printf("load of the machine before: %.1f (above 0: it was busy), at the end: %.1f\n",
               before[0], after[0]);
    histogram_destroy(bench->latencies);
    scratch_close(&bench->disk);
    return ret;
}

int main(int argc, char **argv)
{
    static struct bench bench = {.round_ms = ROUND_MS};
    const char *json = NULL;
    unsigned long rounds = ROUNDS;
    struct err err = {""};

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--smoke")) {
            bench.round_ms = SMOKE_ROUND_MS;
            rounds = 1;
        } else if (!strcmp(argv[i], "--json") && i + 1 < argc) {
            json = argv[++i];
        } else if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
            rounds = strtoul(argv[++i], NULL, 10);
        } else {
            rounds = 0;
        }
    }
    if (!rounds || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench-native [--smoke] [--rounds COUNT] [--json FILE]\n");
        return 2;
    }
    if (bench_run(&bench, (unsigned)rounds, json, &err)) {
        fprintf(stderr, "bench-native: %s\n", err.text);
        return 1;
    }
    return 0;
}
