/*
 * The same bench guest reads the same file in memory on ringvm and on QEMU, on this machine's own
 * KVM, beside a bare io_uring loop without a guest; all in turns within one run.
 *
 *     build/release/bench-native [--smoke] [--json FILE]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "bench/bare.h"
#include "bench/machine.h"
#include "bench/monitor.h"
#include "bench/payload.h"
#include "bench/record.h"
#include "bench/scratch.h"
#include "report/report.h"

enum {
    DEPTH_COUNT = 6,
    ROUNDS = 7,
    ROUND_MS = 400,
    SMOKE_ROUND_MS = 5,
    BLOCK = 4096,
    DISK_SIZE = 64 << 20,
    TIMEOUT_S = 40,
    RETRIES_MAX = 1,
    MEM_MIB = 64,
};

static const unsigned depths[DEPTH_COUNT] = {1, 2, 4, 8, 16, 32};

enum contestant { RINGVM, BARE, QEMU_Q35, QEMU_MICROVM, CONTESTANT_COUNT };
static const char *const contestant_names[] = {
    [RINGVM] = "ringvm",
    [BARE] = "bare io_uring loop",
    [QEMU_Q35] = "QEMU q35",
    [QEMU_MICROVM] = "QEMU microvm",
};

struct bench {
    struct scratch disk;
    uint64_t round_ms;
    unsigned round;
    uint64_t cycles_per_ms; /* what ringvm tells the guest; 0: not known yet */
    struct report_series iops[CONTESTANT_COUNT][DEPTH_COUNT];
    struct histogram *latencies; /* of all; nobody asks */
    unsigned retries;
};

/* A run of the guest. */
struct run {
    struct bench *bench;
    enum contestant contestant;
    struct reader reader;
    struct report_series iops[DEPTH_COUNT]; /* count once it came to its end */
};

static int case_take(void *arg, const char *line, struct histogram **histogram, struct err *err)
{
    struct run *run = arg;
    uint64_t depth, operations, ns;

    (void)err;
    *histogram = run->bench->latencies;
    if (record_number(line, "depth", &depth) || record_number(line, "operations", &operations) ||
        record_number(line, "ns", &ns) || !ns)
        return -EINVAL;
    for (unsigned i = 0; i < DEPTH_COUNT; i++)
        if (depths[i] == depth)
            report_sample(&run->iops[i], (double)operations * (double)NS_PER_S / (double)ns);
    return 0;
}

static int line_take(void *arg, const char *line, struct err *err)
{
    struct run *run = arg;

    if (record_is(line, "clock") &&
        record_number(line, "cycles_per_ms", &run->bench->cycles_per_ms))
        return err_set(err, -EPROTO, "bench guest: does not say how fast its clock is");
    return reader_line(&run->reader, line, err);
}

static void params_print(const struct bench *bench, char *params, size_t size)
{
    size_t len = (size_t)snprintf(params, size, "bench=disk check=1 seed=%u time_ms=%" PRIu64,
                                  bench->round + 1, bench->round_ms);

    /* The same clock for all: not every machine lets a guest learn it. */
    if (bench->cycles_per_ms)
        len += (size_t)snprintf(params + len, size - len, " cycles_per_ms=%" PRIu64,
                                bench->cycles_per_ms);
    for (unsigned i = 0; i < DEPTH_COUNT; i++)
        len += (size_t)snprintf(params + len, size - len, "%s%u", i ? "," : " depth=", depths[i]);
    CHECK_CMP(len, <, size);
}

static int monitor_start(struct run *run, const char *const *argv, struct err *err)
{
    const struct monitor_config config = {
        .argv = (char *const *)(uintptr_t)argv,
        .timeout_ns = TIMEOUT_S * NS_PER_S,
        .line = line_take,
        .arg = run,
    };
    int ret = monitor_run(&config, err);

    return ret ? ret : reader_finish(&run->reader, err);
}

static int ringvm_run(struct run *run, const char *kernel, const char *params, struct err *err)
{
    char disk[64], mem[16];
    const char *const argv[] = {"build/ringvm", "run",  "--mem",    mem,           "--no-rng",
                                "--block",      disk,   "--serial", "type=stdout", "--params",
                                params,         kernel, NULL};

    snprintf(mem, sizeof(mem), "%d", MEM_MIB);
    snprintf(disk, sizeof(disk), "path=%s,ro,queues=1", run->bench->disk.path);
    return monitor_start(run, argv, err);
}

/* What QEMU has for speed: io_uring in a thread of the disk's own, which polls. */
static int qemu_run(struct run *run, const char *kernel, const char *params, struct err *err)
{
    bool is_q35 = run->contestant == QEMU_Q35;
    char disk[160], mem[16];
    const char *const argv[] = {
        "tools/qemu.sh",
        "-accel",
        "kvm",
        /* Of an MSR that not every KVM has. */
        "-cpu",
        "host,-arch-capabilities",
        "-M",
        is_q35 ? "q35" : "microvm,acpi=off",
        "-bios",
        "qboot.rom",
        "-m",
        mem,
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-object",
        "iothread,id=thread",
        "-blockdev",
        disk,
        "-global",
        "virtio-mmio.force-legacy=false",
        "-device",
        is_q35 ? "virtio-blk-pci,drive=disk,iothread=thread,disable-legacy=on"
               : "virtio-blk-device,drive=disk,iothread=thread",
        "-kernel",
        kernel,
        "-append",
        params,
        NULL,
    };

    snprintf(mem, sizeof(mem), "%d", MEM_MIB);
    snprintf(disk, sizeof(disk),
             "driver=file,node-name=disk,aio=io_uring,read-only=on,locking=off,filename=%s",
             run->bench->disk.path);
    return monitor_start(run, argv, err);
}

static int guest_try(struct bench *bench, enum contestant contestant, const char *kernel,
                     struct err *err)
{
    struct run run = {.bench = bench, .contestant = contestant};
    char params[256];
    int ret;

    run.reader = (struct reader){.word = "case", .result = case_take, .arg = &run};
    params_print(bench, params, sizeof(params));
    ret = contestant == RINGVM ? ringvm_run(&run, kernel, params, err)
                               : qemu_run(&run, kernel, params, err);
    for (unsigned i = 0; i < DEPTH_COUNT && !ret; i++)
        report_sample(&bench->iops[contestant][i], report_median(&run.iops[i]));
    return ret;
}

/* A guest that makes no progress gets one more chance. */
static int guest_run(struct bench *bench, enum contestant contestant, struct err *err)
{
    char kernel[32];
    int fd, ret = payload_open(&fd, err);

    if (ret)
        return ret;
    snprintf(kernel, sizeof(kernel), "/proc/self/fd/%d", fd);
    ret = guest_try(bench, contestant, kernel, err);
    for (unsigned i = 0; i < RETRIES_MAX && ret == -ETIMEDOUT; i++) {
        bench->retries++;
        printf("%s: %s; tried again\n", contestant_names[contestant], err->text);
        ret = guest_try(bench, contestant, kernel, err);
    }
    close(fd);
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

    if (!ret)
        ret = guest_run(bench, RINGVM, err);
    if (!ret)
        ret = guest_run(bench, QEMU_Q35, err);
    if (!ret)
        ret = guest_run(bench, QEMU_MICROVM, err);
    return ret;
}

static void row_add(struct report *report, const struct bench *bench, unsigned depth_index,
                    enum contestant other, const char *suffix, char *name, size_t name_size)
{
    struct report_row *row;

    snprintf(name, name_size, "disk_qd%u%s", depths[depth_index], suffix);
    row = report_add(report, name, "requests/s", contestant_names[other]);
    row->ours = bench->iops[RINGVM][depth_index];
    row->other = bench->iops[other][depth_index];
    report_print_row(row, stdout);
}

static int results_write(const struct bench *bench, const char *json, struct err *err)
{
    static struct report report;
    static char names[2][DEPTH_COUNT][24];

    report_print_heading(stdout);
    for (unsigned i = 0; i < DEPTH_COUNT; i++) {
        bool is_microvm_better =
            report_median(&bench->iops[QEMU_MICROVM][i]) > report_median(&bench->iops[QEMU_Q35][i]);

        row_add(&report, bench, i, BARE, "", names[0][i], sizeof(names[0][i]));
        row_add(&report, bench, i, is_microvm_better ? QEMU_MICROVM : QEMU_Q35, "_qemu",
                names[1][i], sizeof(names[1][i]));
    }
    return json ? report_write_json(&report, json, err) : 0;
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
    for (bench->round = 0; bench->round < rounds && !ret; bench->round++)
        ret = round_run(bench, err);
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
    unsigned rounds = ROUNDS;
    struct err err = {""};

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--smoke")) {
            bench.round_ms = SMOKE_ROUND_MS;
            rounds = 1;
        } else if (!strcmp(argv[i], "--json") && i + 1 < argc) {
            json = argv[++i];
        } else {
            fprintf(stderr, "usage: bench-native [--smoke] [--json FILE]\n");
            return 2;
        }
    }
    if (bench_run(&bench, rounds, json, &err)) {
        fprintf(stderr, "bench-native: %s\n", err.text);
        return 1;
    }
    return 0;
}
