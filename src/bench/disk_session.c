#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/arith.h"
#include "base/clock.h"
#include "bench/bare.h"
#include "bench/disk.h"
#include "bench/machine.h"
#include "bench/record.h"
#include "bench/scratch.h"

enum {
    /* A guest that is told to measure for a second may take so many, on a busy machine. */
    TIMEOUT_FACTOR = 4,
    TIMEOUT_MORE_S = 60,
    MIB = 1 << 20,
};

/* What the rounds share. */
struct rounds {
    struct disk_session *session;
    struct scratch scratch;
    uint64_t round_ns; /* of each case */
    FILE *progress;
};

static void cases_make(struct disk_session *session)
{
    const struct disk_options *options = session->options;

    for (unsigned sleeps = !options->polls; sleeps <= options->sleeps; sleeps++)
        for (unsigned r = 0; r < options->reads.count; r++)
            for (unsigned b = 0; b < options->blocks.count; b++)
                for (unsigned d = 0; d < options->depths.count; d++)
                    session->cases[session->count++] = (struct disk_case){
                        .depth = (unsigned)options->depths.values[d],
                        .block = (uint32_t)options->blocks.values[b],
                        .read_percent = (unsigned)options->reads.values[r],
                        .sleeps = sleeps,
                    };
}

static void progress_print(const struct rounds *rounds, unsigned round, const char *what)
{
    if (!rounds->progress)
        return;
    fprintf(rounds->progress, "\r\033[Kround %u of %u: %s", round + 1,
            rounds->session->options->common.rounds, what);
    fflush(rounds->progress);
}

/* ---- the guest ---- */

/* A line of the guest: the case, and what it found. */
struct case_record {
    uint64_t depth, block, read, interrupts;
    uint64_t operations, ns, kicks, interrupts_taken;
};

static int case_parse(const char *line, struct case_record *record)
{
    const struct {
        const char *name;
        uint64_t *value;
    } fields[] = {
        {"depth", &record->depth},
        {"block", &record->block},
        {"read", &record->read},
        {"interrupts", &record->interrupts},
        {"operations", &record->operations},
        {"ns", &record->ns},
        {"kicks", &record->kicks},
        {"interrupts_taken", &record->interrupts_taken},
    };

    for (size_t i = 0; i < array_count(fields); i++) {
        int ret = record_number(line, fields[i].name, fields[i].value);

        if (ret)
            return ret;
    }
    return record->ns ? 0 : -EINVAL;
}

static struct disk_case *case_find(struct disk_session *session, const struct case_record *record)
{
    for (unsigned i = 0; i < session->count; i++) {
        struct disk_case *one = &session->cases[i];

        if (one->depth == record->depth && one->block == record->block &&
            one->read_percent == record->read && one->sleeps == record->interrupts)
            return one;
    }
    return NULL;
}

static int case_take(void *arg, const char *line, struct histogram **histogram, struct err *err)
{
    struct disk_session *session = arg;
    struct case_record record;
    struct disk_case *one;
    int ret = case_parse(line, &record);

    (void)err; /* the reader's */
    if (ret)
        return ret;
    one = case_find(session, &record);
    if (!one)
        return -EINVAL;
    report_sample(&one->iops, (double)record.operations * (double)NS_PER_S / (double)record.ns);
    one->operations += record.operations;
    one->kicks += record.kicks;
    one->interrupts += record.interrupts_taken;
    *histogram = one->latency;
    return 0;
}

/* One start of the guest, for all cases. */
static int guest_run(const struct rounds *rounds, unsigned round, struct err *err)
{
    const struct disk_options *options = rounds->session->options;
    bool is_read_only = number_list_min(&options->reads) == 100;
    uint64_t buffers = number_list_max(&options->depths) * number_list_max(&options->blocks);
    uint64_t round_ms = rounds->round_ns / NS_PER_MS;
    char depths[128], blocks[192], reads[64], params[640], disk[64];
    struct reader reader = {.word = "case", .result = case_take, .arg = rounds->session};
    const struct machine_config config = {
        .params = params,
        .disk = disk,
        .packed = options->common.packed,
        .mmio = options->common.mmio,
        .kvm_path = options->common.kvm_path,
        .poll_us = options->common.poll_us,
        .mem_mib = MACHINE_MEM_MIB + (buffers + MIB - 1) / MIB,
        .timeout_ns =
            TIMEOUT_FACTOR * rounds->round_ns * rounds->session->count + TIMEOUT_MORE_S * NS_PER_S,
    };

    number_list_print(&options->depths, depths, sizeof(depths));
    number_list_print(&options->blocks, blocks, sizeof(blocks));
    number_list_print(&options->reads, reads, sizeof(reads));
    snprintf(params, sizeof(params),
             "bench=disk depth=%s block=%s read=%s interrupts=%s time_ms=%" PRIu64 " seed=%" PRIu64
             " check=%d",
             depths, blocks, reads, bench_wait_words(options->polls, options->sleeps), round_ms,
             options->seed + round, rounds->scratch.is_tagged && is_read_only);
    snprintf(disk, sizeof(disk), "path=%s,queues=1%s%s", rounds->scratch.path,
             is_read_only ? ",ro" : "", options->direct ? ",direct" : "");
    progress_print(rounds, round, "the guest");
    return machine_run(&config, &reader, err);
}

/* ---- the limit ---- */

static int bare_case_run(const struct rounds *rounds, unsigned round, struct disk_case *one,
                         struct err *err)
{
    const struct disk_options *options = rounds->session->options;
    const struct bare_config config = {
        .path = rounds->scratch.path,
        .size = rounds->scratch.size,
        .duration_ns = rounds->round_ns,
        .seed = options->seed + round,
        .depth = one->depth,
        .block = one->block,
        .read_percent = one->read_percent,
        .direct = options->direct,
    };
    double iops;
    int ret = bare_run(&config, &iops, err);

    if (!ret)
        report_sample(&one->bare_iops, iops);
    return ret;
}

static int bare_cases_run(const struct rounds *rounds, unsigned round, struct err *err)
{
    struct disk_session *session = rounds->session;

    progress_print(rounds, round, "the bare loop");
    for (unsigned i = 0; i < session->count; i++) {
        int ret =
            session->cases[i].sleeps ? 0 : bare_case_run(rounds, round, &session->cases[i], err);

        if (ret)
            return ret;
    }
    return 0;
}

/* ---- all of it ---- */

static int rounds_run(struct rounds *rounds, struct err *err)
{
    const struct bench_options *options = &rounds->session->options->common;
    int ret = 0;

    rounds->round_ns = u64_max(options->duration_ns / options->rounds, NS_PER_MS);
    for (unsigned round = 0; round < options->rounds && !ret; round++) {
        ret = bare_cases_run(rounds, round, err);
        if (!ret)
            ret = guest_run(rounds, round, err);
    }
    if (rounds->progress)
        fputs("\r\033[K", rounds->progress);
    return ret;
}

static int histograms_create(struct disk_session *session, struct err *err)
{
    for (unsigned i = 0; i < session->count; i++)
        if (histogram_create(&session->cases[i].latency))
            return err_set(err, -ENOMEM, "not enough memory for the histograms");
    return 0;
}

int disk_session_run(struct disk_session *session, const struct disk_options *options,
                     FILE *progress, struct err *err)
{
    struct rounds rounds = {.session = session, .progress = progress};
    int ret;

    *session = (struct disk_session){.options = options};
    cases_make(session);
    ret = options->file ? scratch_open(&rounds.scratch, options->file, err)
                        : scratch_make(&rounds.scratch, options->directory, options->size, err);
    if (ret)
        return ret;
    ret = histograms_create(session, err);
    if (!ret)
        ret = rounds_run(&rounds, err);
    if (ret)
        disk_session_destroy(session);
    scratch_close(&rounds.scratch);
    return ret;
}

void disk_session_destroy(struct disk_session *session)
{
    for (unsigned i = 0; i < session->count; i++)
        histogram_destroy(session->cases[i].latency);
}

double disk_case_ratio(const struct disk_case *one)
{
    double bare = report_median(&one->bare_iops);

    return bare > 0 ? report_median(&one->iops) / bare : 0;
}
