#include "latency/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "latency/load.h"

enum { DURATION_MAX_S = 3600, POLL_US_DEFAULT = 50, POLL_US_MAX = 1000, SEED_DEFAULT = 1 };

static int parse_number(const char *what, const char *text, uint64_t min, uint64_t max,
                        uint64_t *number, struct err *err)
{
    char *end;

    errno = 0;
    *number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end)
        return err_set(err, -EINVAL, "%s: '%s' is not a whole number", what, text);
    if (errno || *number < min || *number > max)
        return err_set(err, -ERANGE, "%s: %s is not from %" PRIu64 " to %" PRIu64, what, text, min,
                       max);
    return 0;
}

static int apply_duration(struct latency_options *options, const char *value, struct err *err)
{
    char *end;
    double seconds = strtod(value, &end);

    if (end == value || *end || !isfinite(seconds))
        return err_set(err, -EINVAL, "--duration: '%s' is not a number of seconds", value);
    if (seconds < 0.001 || seconds > DURATION_MAX_S)
        return err_set(err, -ERANGE, "--duration: %s is not from 0.001 to %d seconds", value,
                       DURATION_MAX_S);
    options->duration_ns = (uint64_t)(seconds * (double)NS_PER_S);
    return 0;
}

static int apply_samples(struct latency_options *options, const char *value, struct err *err)
{
    return parse_number("--samples", value, 1, INT64_MAX, &options->samples_max, err);
}

static int apply_seed(struct latency_options *options, const char *value, struct err *err)
{
    return parse_number("--seed", value, 1, UINT64_MAX, &options->seed, err);
}

static int apply_load(struct latency_options *options, const char *value, struct err *err)
{
    uint64_t number = 0;
    int ret = parse_number("--load", value, 0, LOAD_THREADS_MAX, &number, err);

    options->load_count = (uint32_t)number;
    return ret;
}

static int apply_poll_us(struct latency_options *options, const char *value, struct err *err)
{
    uint64_t number = 0;
    int ret = parse_number("--poll-us", value, 0, POLL_US_MAX, &number, err);

    options->poll_us = (uint32_t)number;
    return ret;
}

static int apply_directory(struct latency_options *options, const char *value, struct err *err)
{
    (void)err;
    options->directory = value;
    return 0;
}

static int apply_json(struct latency_options *options, const char *value, struct err *err)
{
    (void)err;
    options->json_path = value;
    return 0;
}

static int apply_svg(struct latency_options *options, const char *value, struct err *err)
{
    (void)err;
    options->svg_path = value;
    return 0;
}

struct option_def {
    const char *name;
    const char *metavar;
    const char *help; /* lines after the first are indented when printed */
    int (*apply)(struct latency_options *options, const char *value, struct err *err);
};

static const struct option_def defs[] = {
    {"duration", "SECONDS",
     "time for each measurement, once without and once\nwith load (default 1; fractions are fine)",
     apply_duration},
    {"samples", "COUNT", "end a measurement after so many samples (default: never)", apply_samples},
    {"load", "THREADS",
     "busy threads while measuring with load; 0: measure\nwithout only (default: one per cpu)",
     apply_load},
    {"poll-us", "TIME",
     "how long executors poll before they sleep, in\nmicroseconds, 0 to 1000 (default 50)",
     apply_poll_us},
    {"directory", "PATH",
     "where the file of 16 MiB is made that `disk` reads;\nit has no name (default /var/tmp)",
     apply_directory},
    {"seed", "NUMBER",
     "of the order of measurements, of offsets in files,\nand of times to sleep (default 1)",
     apply_seed},
    {"json", "FILE", "write everything as JSON; -: to standard output,\ninstead of the table",
     apply_json},
    {"svg", "FILE", "draw percentile curves", apply_svg},
};

void latency_options_print_help(FILE *out)
{
    fputs("usage: ringvm latency [OPTIONS] [MEASUREMENT...]\n"
          "\n"
          "Measures how long things take from one task to another, again and again, and shows\n"
          "not only the usual case but the rare ones: the median and the percentiles up to\n"
          "99.99 %, without and with other threads that want the cpus.\n"
          "\n"
          "measurements (default: all):\n",
          out);
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        fprintf(out, "  %-16s %s\n", probes[i].name, probes[i].help);
    fputs("\noptions:\n", out);
    for (size_t i = 0; i < array_count(defs); i++) {
        char left[32];

        snprintf(left, sizeof(left), "--%s %s", defs[i].name, defs[i].metavar);
        fprintf(out, "  %-22s ", left);
        for (const char *c = defs[i].help; *c; c++) {
            fputc(*c, out);
            if (*c == '\n')
                fprintf(out, "%25s", "");
        }
        fputc('\n', out);
    }
    fputs("  --help                 this text\n"
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
          "examples:\n"
          "  ringvm latency\n"
          "  ringvm latency --svg latency.svg --json latency.json --duration 10\n"
          "  ringvm latency --load 0 --poll-us 0 post timer\n"
          "\n"
          "exit status: 0; 1 when the host cannot do it, and 35 for bad arguments, with one line\n"
          "that says why.\n",
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

/* What getopt could not use. */
static int refuse(int argc, char **argv, int index, bool lacks_value, struct err *err)
{
    const char *argument = index > 0 && index <= argc ? argv[index - 1] : "";

    if (lacks_value)
        return err_set(err, -EINVAL, "%s: a value is missing", argument);
    return err_set(err, -EINVAL, "unknown option '%s'; see ringvm latency --help", argument);
}

int latency_options_parse(int argc, char **argv, struct latency_options *options, struct err *err)
{
    enum { HELP = 'h', FIRST = 256 };
    struct option longs[array_count(defs) + 2] = {{.name = "help", .val = HELP}};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int found;

    *options = (struct latency_options){
        .duration_ns = NS_PER_S,
        .samples_max = UINT64_MAX,
        .seed = SEED_DEFAULT,
        .load_count = cpus < 1                  ? 1
                      : cpus > LOAD_THREADS_MAX ? LOAD_THREADS_MAX
                                                : (uint32_t)cpus,
        .poll_us = POLL_US_DEFAULT,
        .directory = "/var/tmp",
    };
    for (size_t i = 0; i < array_count(defs); i++)
        longs[i + 1] = (struct option){
            .name = defs[i].name, .has_arg = required_argument, .val = FIRST + (int)i};
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            options->wants_help = true;
            return 0;
        }
    optind = 0;
    opterr = 0;
    while ((found = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
        int ret;

        if (found < FIRST)
            return refuse(argc, argv, optind, found == ':', err);
        ret = defs[found - FIRST].apply(options, optarg, err);
        if (ret)
            return ret;
    }
    for (int i = optind; i < argc; i++) {
        int ret = select_probe(options, argv[i], err);

        if (ret)
            return ret;
    }
    for (unsigned i = 0; optind >= argc && i < PROBE_COUNT; i++)
        options->selected[i] = true;
    return 0;
}
