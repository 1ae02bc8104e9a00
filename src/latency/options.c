#include "latency/options.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "cli/keyval.h"
#include "cli/option.h"
#include "latency/load.h"

enum { POLL_US_DEFAULT = 50, POLL_US_MAX = 1000, LOAD_TASKS_DEFAULT = 4 };

#define DURATION_MIN_NS NS_PER_MS
#define DURATION_MAX_NS (3600 * NS_PER_S)

static int apply_u32(const char *what, const char *value, uint64_t max, uint32_t *out,
                     struct err *err)
{
    uint64_t number = 0;
    int ret = keyval_u64(what, value, 0, max, &number, err);

    *out = (uint32_t)number;
    return ret;
}

static int apply_duration(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return keyval_duration("--duration", value, DURATION_MIN_NS, DURATION_MAX_NS,
                           &options->duration_ns, err);
}

static int apply_samples(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return keyval_u64("--samples", value, 1, INT64_MAX, &options->samples_max, err);
}

static int apply_load(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return apply_u32("--load", value, LOAD_THREADS_MAX, &options->load.threads, err);
}

static int apply_load_tasks(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return apply_u32("--load-tasks", value, LOAD_TASKS_MAX, &options->load.tasks, err);
}

static int apply_poll_us(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return apply_u32("--poll-us", value, POLL_US_MAX, &options->poll_us, err);
}

static int apply_seed(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return keyval_u64("--seed", value, 0, INT64_MAX, &options->seed, err);
}

static int apply_directory(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return keyval_text("--directory", value, &options->directory, err);
}

static int apply_json(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return keyval_text("--json", value, &options->json_path, err);
}

static int apply_svg(void *arg, char *value, struct err *err)
{
    struct latency_options *options = arg;

    return keyval_text("--svg", value, &options->svg_path, err);
}

static const struct option_def defs[] = {
    {.short_name = 'd',
     .name = "duration",
     .metavar = "TIME",
     .help = "for each measurement, once without and once with load\n(default 1s)",
     .apply = apply_duration},
    {.short_name = 'n',
     .name = "samples",
     .metavar = "COUNT",
     .help = "end a measurement after so many samples",
     .apply = apply_samples},
    {.name = "load",
     .metavar = "COUNT",
     .help = "busy threads while measuring with load, up to 256 (default:\none per cpu)",
     .apply = apply_load},
    {.name = "load-tasks",
     .metavar = "COUNT",
     .help = "busy tasks in each executor while measuring with load, up to\n"
             "1000 (default 4); 0 of both: nothing is measured with load",
     .apply = apply_load_tasks},
    {.name = "poll-us",
     .metavar = "COUNT",
     .help = "how long executors poll before they sleep, up to 1000\n(default 50)",
     .apply = apply_poll_us},
    {.name = "directory",
     .metavar = "PATH",
     .help = "where the file of 16 MiB is made that `disk` reads; it has\n"
             "no name (default /var/tmp)",
     .apply = apply_directory},
    {.short_name = 's',
     .name = "seed",
     .metavar = "NUMBER",
     .help = "of the order of measurements, of offsets in files, and of\n"
             "times to sleep (default 1)",
     .apply = apply_seed},
    {.name = "json",
     .metavar = "FILE",
     .help = "write everything as JSON; - is standard output, instead of\nthe table",
     .apply = apply_json},
    {.name = "svg", .metavar = "FILE", .help = "draw percentile curves", .apply = apply_svg},
};

static const struct option_table option_table = {
    .command = "ringvm latency",
    .intro = "usage: ringvm latency [OPTIONS] [MEASUREMENT...]\n"
             "\n"
             "Measures how long things take from one task to another, again and again, and shows\n"
             "not only the usual case but the rare ones: the median and the percentiles up to\n"
             "99.99 %, without and with others that want the cpus and the executors.\n",
    .options = defs,
    .count = array_count(defs),
    .outro = "times are whole numbers with ns, us, ms, s, min or h\n\n",
};

void latency_options_print_help(FILE *out)
{
    option_print_help(&option_table, out);
    fputs("measurements (default: all):\n", out);
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        fprintf(out, "  %-16s %s\n", probes[i].name, probes[i].help);
    fputs("\n"
          "The load is threads that compete for cpus and caches, and tasks in each executor that\n"
          "compute for about a microsecond and let others run, over and over.\n"
          "\n"
          "how to read it:\n"
          "  p99.9 of 5 us: one in a thousand took longer than 5 us. A percentile is shown only\n"
          "  where at least one sample lies beyond it; values are exact to 0.1 %. Every figure\n"
          "  has one read of the clock in it, whose cost is printed. Each measurement runs in\n"
          "  five rounds, with and without load in turn, in an order that the seed decides.\n"
          "  A * marks figures that were taken while the machine was busy with something else:\n"
          "  the measuring threads were ready to run, but waited for a cpu, for more than 1 %\n"
          "  of the time (/proc/thread-self/schedstat). Take them again when it is quiet.\n"
          "\n"
          "exit status: 0; 1 when the host cannot do it, and 35 for bad arguments, with one line\n"
          "that says why\n"
          "\n"
          "examples:\n"
          "  ringvm latency\n"
          "  ringvm latency --svg latency.svg --json latency.json -d 10s\n"
          "  ringvm latency --load 0 --load-tasks 0 --poll-us 0 post timer\n",
          out);
}

static int select_probe(struct latency_options *options, const char *name, struct err *err)
{
    char names[256] = "";
    size_t length = 0;

    for (unsigned i = 0; i < PROBE_COUNT; i++) {
        if (!strcmp(name, probes[i].name)) {
            options->selected[i] = true;
            return 0;
        }
        length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s", i ? ", " : "",
                                   probes[i].name);
    }
    return err_set(err, -EINVAL, "'%s' is not a measurement; there are %s", name, names);
}

static uint32_t cpu_count(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    return cpus < 1 ? 1 : (uint32_t)u64_min((uint64_t)cpus, LOAD_THREADS_MAX);
}

int latency_options_parse(int argc, char **argv, struct latency_options *options, bool *wants_help,
                          struct err *err)
{
    int first, ret;

    *options = (struct latency_options){
        .duration_ns = NS_PER_S,
        .samples_max = UINT64_MAX,
        .seed = 1,
        .load = {.threads = cpu_count(), .tasks = LOAD_TASKS_DEFAULT},
        .poll_us = POLL_US_DEFAULT,
        .directory = "/var/tmp",
    };
    ret = option_parse(&option_table, argc, argv, options, wants_help, &first, err);
    if (ret || *wants_help)
        return ret;
    for (int i = first; i < argc; i++) {
        ret = select_probe(options, argv[i], err);
        if (ret)
            return ret;
    }
    for (unsigned i = 0; first >= argc && i < PROBE_COUNT; i++)
        options->selected[i] = true;
    return 0;
}
