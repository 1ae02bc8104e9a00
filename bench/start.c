/*
 * What a guest costs that does little: the time from the monitor's start to the guest's first
 * instruction, the memory that the monitor needs beyond the guest's (with a disk and a network,
 * both used), and what it does while the guest sleeps. ringvm and QEMU in turns, on this machine's
 * own KVM.
 *
 *     build/release/bench-start [--smoke] [--rounds COUNT] [--json FILE]
 *
 * --smoke: ringvm alone, once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/net_link.h"
#include "bench/record.h"
#include "bench/scratch.h"
#include "contestant.h"
#include "footprint.h"
#include "report/report.h"

enum {
    ROUNDS = 11,
    ROUNDS_MAX = 100,
    IDLE_MS = 1000,
    SMOKE_IDLE_MS = 200,
    DISK_SIZE = 16 << 20,
    TIMEOUT_S = 40,
};

enum figure { FIRST_INSTRUCTION, PSS, IDLE_CPU, IDLE_WAKES, FIGURE_COUNT };

static const struct {
    const char *name;
    const char *unit;
} figures[FIGURE_COUNT] = {
    [FIRST_INSTRUCTION] = {"first_instruction_ms", "ms"},
    [PSS] = {"pss_beyond_ram_kib", "KiB"},
    [IDLE_CPU] = {"idle_cpu_percent", "%"},
    [IDLE_WAKES] = {"idle_wakes", "a second"},
};

struct bench {
    struct scratch disk;
    struct net_link link;
    uint64_t idle_ms;
    unsigned contestant_count;
    struct report_series series[CONTESTANT_COUNT][FIGURE_COUNT];
    unsigned retries;
};

/* A run of the guest. */
struct run {
    uint64_t begin_ns;
    uint64_t idle_ms;
    pid_t pid;
    bool is_started, is_done;
    double figures[FIGURE_COUNT];
};

static int idle_look(struct run *run, struct err *err)
{
    struct footprint before, after;
    uint64_t begin_ns, pss;
    double seconds;
    int ret = footprint_pss(run->pid, (uint64_t)CONTESTANT_MEM_MIB << 20, &pss, err);

    if (ret)
        return ret;
    run->figures[PSS] = (double)pss / 1024;
    begin_ns = clock_now_ns();
    ret = footprint_read(run->pid, &before, err);
    if (ret)
        return ret;
    usleep((useconds_t)(run->idle_ms * 1000));
    ret = footprint_read(run->pid, &after, err);
    if (ret)
        return ret;
    seconds = (double)(clock_now_ns() - begin_ns) / (double)NS_PER_S;
    run->figures[IDLE_CPU] =
        100 * (double)(after.cpu_ns - before.cpu_ns) / (double)NS_PER_S / seconds;
    run->figures[IDLE_WAKES] = (double)(after.wakes - before.wakes) / seconds;
    run->is_done = true;
    return 0;
}

static int line_take(void *arg, const char *line, struct err *err)
{
    struct run *run = arg;
    int ret;

    if (!run->is_started) {
        run->figures[FIRST_INSTRUCTION] =
            (double)(clock_now_ns() - run->begin_ns) / (double)NS_PER_MS;
        run->is_started = true;
        return *line ? err_set(err, -EPROTO, "it said '%s' before the guest did anything", line)
                     : 0;
    }
    if (record_is(line, "error"))
        return err_set(err, -EIO, "bench guest: %s", line);
    if (!record_is(line, "idle"))
        return 0;
    ret = idle_look(run, err);
    /* It has no end of its own. */
    return ret ? ret : err_set(err, -ECANCELED, "seen enough");
}

static int guest_try(struct bench *bench, enum contestant contestant, struct err *err)
{
    struct run run = {.idle_ms = bench->idle_ms};
    const struct contestant_config config = {
        /* It does not ask for the time. */
        .params = "bench=idle cycles_per_ms=1000000",
        .disk = bench->disk.path,
        .tap_fd = bench->link.tap_fd,
    };
    struct monitor_config monitor = {.timeout_ns =
                                         TIMEOUT_S * NS_PER_S + bench->idle_ms * NS_PER_MS,
                                     .line = line_take,
                                     .arg = &run,
                                     .pid = &run.pid};
    int ret;

    run.begin_ns = clock_now_ns();
    ret = contestant_run(contestant, &config, &monitor, err);
    if (ret == -ECANCELED && run.is_done)
        ret = 0;
    else if (!ret)
        ret = err_set(err, -EIO, "%s: its guest ended early", contestant_names[contestant]);
    for (unsigned i = 0; i < FIGURE_COUNT && !ret; i++)
        report_sample(&bench->series[contestant][i], run.figures[i]);
    return ret;
}

static int guest_run(struct bench *bench, enum contestant contestant, struct err *err)
{
    int ret = guest_try(bench, contestant, err);

    for (unsigned i = 0; i < CONTESTANT_RETRIES_MAX && ret == -ETIMEDOUT; i++) {
        bench->retries++;
        printf("%s: %s; tried again\n", contestant_names[contestant], err->text);
        ret = guest_try(bench, contestant, err);
    }
    return ret;
}

static int results_write(const struct bench *bench, const char *json, struct err *err)
{
    static struct report report;

    report_print_heading(stdout);
    for (unsigned i = 0; i < FIGURE_COUNT; i++) {
        bool is_microvm_better = report_median(&bench->series[QEMU_MICROVM][i]) <
                                 report_median(&bench->series[QEMU_Q35][i]);
        enum contestant qemu = is_microvm_better ? QEMU_MICROVM : QEMU_Q35;
        struct report_row *row =
            report_add(&report, figures[i].name, figures[i].unit, contestant_names[qemu]);

        row->ours = bench->series[RINGVM][i];
        row->other = bench->series[qemu][i];
        report_print_row(row, stdout);
    }
    printf("%u guests were lost and tried again\n", bench->retries);
    return json ? report_write_json(&report, json, err) : 0;
}

static int bench_run(struct bench *bench, unsigned rounds, const char *json, struct err *err)
{
    int ret = scratch_make(&bench->disk, "/dev/shm", DISK_SIZE, err);

    if (ret)
        return ret;
    ret = net_link_create(&bench->link, err);
    if (!ret) {
        for (unsigned round = 0; round < rounds && !ret; round++)
            for (unsigned i = 0; i < bench->contestant_count && !ret; i++)
                ret = guest_run(bench, i, err);
        if (!ret)
            ret = results_write(bench, json, err);
        net_link_destroy(&bench->link);
    }
    scratch_close(&bench->disk);
    return ret;
}

int main(int argc, char **argv)
{
    static struct bench bench = {.idle_ms = IDLE_MS, .contestant_count = CONTESTANT_COUNT};
    const char *json = NULL;
    unsigned long rounds = ROUNDS;
    struct err err = {""};

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--smoke")) {
            bench.idle_ms = SMOKE_IDLE_MS;
            bench.contestant_count = RINGVM + 1;
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
        fprintf(stderr, "usage: bench-start [--smoke] [--rounds COUNT] [--json FILE]\n");
        return 2;
    }
    if (bench_run(&bench, (unsigned)rounds, json, &err)) {
        fprintf(stderr, "bench-start: %s\n", err.text);
        return 1;
    }
    return 0;
}
