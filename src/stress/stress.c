#include "stress/stress.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "report/json_file.h"
#include "report/quantity.h"
#include "report/table.h"
#include "stress/options.h"
#include "stress/workload.h"

/* What is on standard error while a run is under way. */
struct progress {
    struct run_view view;
    bool is_terminal; /* a line that changes, else one each second */
    bool is_shown;
    bool is_interrupted;
    uint64_t last_ns, last_operations;
};

/* `since_ns`: the time since the last line, which the rate is of. */
static void print_progress(struct progress *progress, const struct run *run, uint64_t now_ns,
                           uint64_t since_ns)
{
    uint64_t operations = run_operations(run);
    double rate =
        (double)(operations - progress->last_operations) * (double)NS_PER_S / (double)since_ns;

    fprintf(stderr, "%s%-14s %5.1f s  %8s operations  %8s/s  %8s cancelled%s",
            progress->is_terminal ? "\r\033[K" : "", run->workload->name,
            (double)(now_ns - run->begin_ns) / (double)NS_PER_S, quantity_of_count(operations).text,
            quantity_of_count((uint64_t)rate).text, quantity_of_count(run_cancelled(run)).text,
            progress->is_terminal ? "" : "\n");
    fflush(stderr);
    progress->last_ns = now_ns;
    progress->last_operations = operations;
}

static bool tick(struct run_view *view, const struct run *run, uint64_t now_ns)
{
    struct progress *progress = container_of(view, struct progress, view);
    uint64_t since_ns = now_ns - (progress->last_ns ? progress->last_ns : run->begin_ns);
    sigset_t pending;

    if (progress->is_shown && since_ns >= (progress->is_terminal ? NS_PER_S / 4 : NS_PER_S))
        print_progress(progress, run, now_ns, since_ns);
    /* They are blocked in all threads: nobody takes them. */
    if (!sigpending(&pending) && (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM)))
        progress->is_interrupted = true;
    return progress->is_interrupted;
}

/* ---- results ---- */

static double rate_of(const struct run_summary *summary)
{
    return (double)summary->operations * (double)NS_PER_S / (double)(summary->elapsed_ns + 1);
}

static void add_row(struct table *table, const char *name, const struct run_summary *summary)
{
    table_row(table, summary->has_failed ? TABLE_BOLD : TABLE_PLAIN);
    table_cell(table, "%s", name);
    table_cell(table, "%s", quantity_of_count(summary->operations).text);
    table_cell(table, "%s", quantity_of_count((uint64_t)rate_of(summary)).text);
    table_cell(table, "%s", quantity_of_count(summary->cancelled).text);
    table_cell(table, "%s", quantity_of_ns(summary->wait_p50_ns).text);
    table_cell(table, "%s", quantity_of_ns(summary->wait_p999_ns).text);
    table_cell(table, "%s", quantity_of_ns(summary->wait_max_ns).text);
    table_cell(table, "%s", quantity_of_count(summary->starved).text);
    table_cell(table, "%s to %s", quantity_of_count(summary->share_min).text,
               quantity_of_count(summary->share_max).text);
    table_cell(table, "%s", summary->has_failed ? "FAILED" : "held");
}

static int add_json(json_t *results, const char *name, const struct run_summary *summary)
{
    return json_array_append_new(
        results,
        json_pack("{s:s, s:b, s:s, s:f, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", name,
                  "held", !summary->has_failed, "failure", summary->failure, "seconds",
                  (double)summary->elapsed_ns / (double)NS_PER_S, "operations",
                  (json_int_t)summary->operations, "per_second", rate_of(summary), "cancelled",
                  (json_int_t)summary->cancelled, "wait_p50_ns", (json_int_t)summary->wait_p50_ns,
                  "wait_p999_ns", (json_int_t)summary->wait_p999_ns, "wait_max_ns",
                  (json_int_t)summary->wait_max_ns, "starved", (json_int_t)summary->starved,
                  "fewest_operations", (json_int_t)summary->share_min, "most_operations",
                  (json_int_t)summary->share_max));
}

static void block_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

/* Until the first failure or signal. Negative errno: something could not be set up. */
static int run_all(const struct stress_options *options, struct table *table, json_t *results,
                   bool *has_failed, struct err *err)
{
    struct progress progress = {.view = {.tick = tick}, .is_terminal = isatty(STDERR_FILENO)};

    progress.is_shown = progress.is_terminal || options->shows_progress;
    *has_failed = false;
    for (unsigned i = 0; i < options->workload_count && !*has_failed && !progress.is_interrupted;
         i++) {
        const struct workload *workload = options->workloads[i];
        struct run_summary summary;
        int ret;

        progress.last_ns = progress.last_operations = 0;
        ret = run_workload(workload, &options->config, &progress.view, stderr, &summary, err);
        if (progress.is_terminal)
            fputs("\r\033[K", stderr);
        if (ret)
            return ret;
        add_row(table, workload->name, &summary);
        if (add_json(results, workload->name, &summary))
            return err_set(err, -ENOMEM, "not enough memory for the results");
        *has_failed = summary.has_failed;
    }
    return 0;
}

static enum stress_verdict stress(const struct stress_options *options, struct err *err)
{
    static const struct table_column columns[] = {
        {"primitive", TABLE_LEFT},  {"operations", TABLE_RIGHT}, {"per second", TABLE_RIGHT},
        {"cancelled", TABLE_RIGHT}, {"wait p50", TABLE_RIGHT},   {"p99.9", TABLE_RIGHT},
        {"longest", TABLE_RIGHT},   {"starved", TABLE_RIGHT},    {"each", TABLE_RIGHT},
        {"", TABLE_LEFT},
    };
    const struct stress_config *config = &options->config;
    json_t *results = json_array();
    bool has_failed = false;
    struct table *table;
    int ret;

    if (!results || table_create(&table, columns, array_count(columns))) {
        json_decref(results);
        err_set(err, -ENOMEM, "not enough memory for the results");
        return STRESS_FAILED;
    }
    fprintf(stderr, "stress: %u tasks on %u executors, %u threads, bound %s, seed %llu\n",
            config->tasks, config->tasks ? config->executors : 0, config->threads,
            quantity_of_ns(config->bound_ns).text, (unsigned long long)config->seed);
    ret = run_all(options, table, results, &has_failed, err);
    if (!options->json_path || strcmp(options->json_path, "-") != 0)
        table_print(table, stdout, table_is_styled(stdout));
    table_destroy(table);
    if (!ret && options->json_path)
        ret = json_file_write(json_pack("{s:I, s:i, s:i, s:i, s:O}", "seed",
                                        (json_int_t)config->seed, "tasks", (int)config->tasks,
                                        "executors", (int)config->executors, "threads",
                                        (int)config->threads, "results", results),
                              options->json_path, err);
    json_decref(results);
    if (!ret && !has_failed)
        return STRESS_HELD;
    if (!ret)
        err_set(err, -EIO, "something did not hold, with seed %llu; see above",
                (unsigned long long)config->seed);
    return STRESS_FAILED;
}

enum stress_verdict stress_command_of(const struct workload *const *table, int argc, char **argv)
{
    struct stress_options options;
    enum stress_verdict verdict;
    bool wants_help = false;
    struct err err = {""};

    if (stress_options_parse(table, argc, argv, &options, &wants_help, &err)) {
        fprintf(stderr, "ringvm: %s\n", err.text);
        return STRESS_BAD_ARGUMENTS;
    }
    if (wants_help) {
        stress_options_print_help(table, stdout);
        return STRESS_HELD;
    }
    block_signals();
    verdict = stress(&options, &err);
    if (verdict != STRESS_HELD)
        fprintf(stderr, "ringvm: %s\n", err.text);
    return verdict;
}

enum stress_verdict stress_command(int argc, char **argv)
{
    return stress_command_of(workloads, argc, argv);
}
