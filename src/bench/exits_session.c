#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/arith.h"
#include "base/clock.h"
#include "bench/exits.h"
#include "bench/machine.h"
#include "bench/scratch.h"

enum { DISK_SIZE = 1 << 20, TIMEOUT_FACTOR = 4, TIMEOUT_MORE_S = 60 };

const struct exit_kind exit_kinds[EXIT_KIND_COUNT] = {
    {"kernel", "answered by KVM itself"},
    {"port_read", "port, read"},
    {"port_write", "port, written"},
    {"mmio_read", "device register, read"},
    {"mmio_write", "device register, written"},
    {"kick", "kick of a virtqueue"},
    {"interrupt", "interrupt to itself"},
};

static const struct option_def defs[] = {
    BENCH_OPTION_DURATION,   BENCH_OPTION_ROUNDS, BENCH_OPTION_POLL_US,
    BENCH_OPTION_KVM_DEVICE, BENCH_OPTION_JSON,   BENCH_OPTION_SVG,
};

static const struct option_table table = {
    .command = "ringvm bench exits",
    .intro = "usage: ringvm bench exits [OPTIONS]\n"
             "\n"
             "What it costs a guest to leave itself: exits that KVM answers, that the executor\n"
             "answers (ports, device registers), kicks, which only wake it, and interrupts.\n",
    .options = defs,
    .count = array_count(defs),
    .outro = "how to read it:\n"
             "  From before the instruction to after it, as the guest sees it. p99 of 5 us: one\n"
             "  in a hundred took longer.\n",
};

int exits_options_parse(int argc, char **argv, struct bench_options *options, struct err *err)
{
    *options = bench_options_default;
    return bench_options_parse(&table, argc, argv, options, err);
}

void exits_options_print_help(FILE *out)
{
    option_print_help(&table, out);
}

/* "exit NAME ...". */
static int exit_take(void *arg, const char *line, struct histogram **histogram, struct err *err)
{
    const struct exits_session *session = arg;
    const char *name = strchr(line, ' ');
    size_t len = name ? strcspn(++name, " ") : 0;

    (void)err; /* the reader's */
    for (unsigned i = 0; i < EXIT_KIND_COUNT; i++)
        if (len && strlen(exit_kinds[i].name) == len && !strncmp(exit_kinds[i].name, name, len)) {
            *histogram = session->histograms[i];
            return 0;
        }
    return -EINVAL;
}

static int round_run(struct exits_session *session, const char *disk, struct err *err)
{
    const struct bench_options *options = session->options;
    uint64_t round_ms = u64_max(options->duration_ns / options->rounds / NS_PER_MS, 1);
    struct reader reader = {.word = "exit", .result = exit_take, .arg = session};
    char params[64];
    const struct machine_config config = {
        .params = params,
        .disk = disk,
        .kvm_path = options->kvm_path,
        .poll_us = options->poll_us,
        .mem_mib = MACHINE_MEM_MIB,
        .timeout_ns =
            TIMEOUT_FACTOR * round_ms * NS_PER_MS * EXIT_KIND_COUNT + TIMEOUT_MORE_S * NS_PER_S,
    };

    snprintf(params, sizeof(params), "bench=exits time_ms=%" PRIu64, round_ms);
    return machine_run(&config, &reader, err);
}

static int rounds_run(struct exits_session *session, FILE *progress, struct err *err)
{
    struct scratch scratch;
    char disk[64];
    int ret = scratch_make(&scratch, "/dev/shm", DISK_SIZE, err);

    if (ret)
        return ret;
    snprintf(disk, sizeof(disk), "path=%s,queues=1,ro", scratch.path);
    for (unsigned round = 0; round < session->options->rounds && !ret; round++) {
        if (progress) {
            fprintf(progress, "\r\033[Kround %u of %u", round + 1, session->options->rounds);
            fflush(progress);
        }
        ret = round_run(session, disk, err);
    }
    if (progress)
        fputs("\r\033[K", progress);
    scratch_close(&scratch);
    return ret;
}

int exits_session_run(struct exits_session *session, const struct bench_options *options,
                      FILE *progress, struct err *err)
{
    int ret = 0;

    *session = (struct exits_session){.options = options};
    for (unsigned i = 0; i < EXIT_KIND_COUNT && !ret; i++)
        if (histogram_create(&session->histograms[i]))
            ret = err_set(err, -ENOMEM, "not enough memory for the histograms");
    if (!ret)
        ret = rounds_run(session, progress, err);
    if (ret)
        exits_session_destroy(session);
    return ret;
}

void exits_session_destroy(struct exits_session *session)
{
    for (unsigned i = 0; i < EXIT_KIND_COUNT; i++)
        histogram_destroy(session->histograms[i]);
}
