/*
 * The costs of the async library, each beside a reference. Ours and the reference alternate within
 * one run, so that a busy machine hurts both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "bench.h"
#include "cli/keyval.h"
#include "cli/option.h"
#include "report/report.h"
#include "report/run_delay.h"

static const struct bench_size size_full = {
    .resumes = 2000000,
    .operations = 200000,
    .timers = 1000000,
    .tasks = 1000000,
    .posts = 5000,
    .locks = 2000000,
    .handovers = 200000,
    .switches = 4000,
};
static const struct bench_size size_smoke = {
    .resumes = 20000,
    .operations = 2048,
    .timers = 10000,
    .tasks = 10000,
    .posts = 100,
    .locks = 10000,
    .handovers = 2000,
    .switches = 640,
};

static const struct bench_group *const groups[] = {
    &bench_ready, &bench_io,        &bench_timers, &bench_life,
    &bench_locks, &bench_handovers, &bench_post,
};

struct config {
    const struct bench_size *size;
    const char *json_path, *filter;
    uint64_t runs;
};

static int apply_smoke(void *arg, char *value, struct err *err)
{
    struct config *config = arg;

    (void)value;
    (void)err;
    config->size = &size_smoke;
    config->runs = 1;
    return 0;
}

static int apply_json(void *arg, char *value, struct err *err)
{
    struct config *config = arg;

    (void)err;
    config->json_path = value;
    return 0;
}

static int apply_runs(void *arg, char *value, struct err *err)
{
    struct config *config = arg;

    return keyval_u64("--runs", value, 1, REPORT_RUNS_MAX, &config->runs, err);
}

static const struct option_def options[] = {
    {0, "smoke", NULL, false, false, "little work, once: only shows that everything runs",
     apply_smoke},
    {0, "json", "FILE", false, false, "writes the results to FILE (- is standard output)",
     apply_json},
    {0, "runs", "COUNT", false, false, "of each, alternating with its reference (default 7)",
     apply_runs},
};

static const struct option_table table = {
    .command = "bench-async",
    .intro = "usage: bench-async [OPTIONS] [NAME]\n"
             "\n"
             "Measures the async library, each cost beside a reference; with NAME, only those\n"
             "whose name contains it.\n",
    .options = options,
    .count = array_count(options),
    .outro = "A ratio is ours divided by the reference: of a cost, small is good.\n",
};

static void print_sizes(void)
{
    printf("bytes: ");
    for (size_t g = 0; g < array_count(groups); g++)
        if (groups[g]->print_sizes)
            groups[g]->print_sizes();
    putchar('\n');
}

static void measure(const struct bench *bench, const struct config *config, struct report *report)
{
    struct report_row *row = report_add(report, bench->name, bench->unit, bench->reference);

    for (uint64_t run = 0; run < config->runs; run++) {
        report_sample(&row->ours, bench->ours(config->size, bench->parameter));
        if (bench->other)
            report_sample(&row->other, bench->other(config->size, bench->parameter));
    }
    report_print_row(row, stdout);
    fflush(stdout);
}

/* Beside how many cpus there are: above that others had to wait. */
static void print_load(void)
{
    double average = 0;

    if (getloadavg(&average, 1) == 1)
        printf("load average %.2f on %ld cpus\n", average, sysconf(_SC_NPROCESSORS_ONLN));
}

static void measure_all(const struct config *config, struct report *report)
{
    uint64_t delay_ns = run_delay_ns();

    print_sizes();
    print_load();
    report_print_heading(stdout);
    for (size_t g = 0; g < array_count(groups); g++)
        for (unsigned b = 0; b < groups[g]->count; b++)
            if (!config->filter || strstr(groups[g]->benches[b].name, config->filter))
                measure(&groups[g]->benches[b], config, report);
    printf("run delay of this thread: %.1f ms (large: the machine was busy); it is taken off what "
           "one\n"
           "thread does alone, not off what threads do together\n",
           (double)(run_delay_ns() - delay_ns) / 1e6);
    print_load();
}

int main(int argc, char **argv)
{
    static struct report report;
    struct config config = {.size = &size_full, .runs = 7};
    bool wants_help;
    struct err err;
    int first, ret;

    ret = option_parse(&table, argc, argv, &config, &wants_help, &first, &err);
    if (!ret && wants_help) {
        option_print_help(&table, stdout);
        return 0;
    }
    if (!ret && first < argc)
        config.filter = argv[first];
    if (!ret)
        measure_all(&config, &report);
    if (!ret && config.json_path)
        ret = report_write_json(&report, config.json_path, &err);
    if (ret)
        fprintf(stderr, "bench-async: %s\n", err.text);
    return ret != 0;
}
