#include "stress/options.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/keyval.h"
#include "cli/option.h"
#include "stress/workload.h"

static int apply_u32(const char *what, const char *value, uint64_t min, uint64_t max, uint32_t *out,
                     struct err *err)
{
    uint64_t number = 0;
    int ret = keyval_u64(what, value, min, max, &number, err);

    *out = (uint32_t)number;
    return ret;
}

static int apply_tasks(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return apply_u32("--tasks", value, 0, STRESS_TASKS_MAX, &options->config.tasks, err);
}

static int apply_executors(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return apply_u32("--executors", value, 1, STRESS_EXECUTORS_MAX, &options->config.executors,
                     err);
}

static int apply_threads(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return apply_u32("--threads", value, 0, STRESS_THREADS_MAX, &options->config.threads, err);
}

static int apply_hold(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;
    uint64_t hold_ns = 0;
    int ret = keyval_duration("--hold", value, 0, STRESS_HOLD_US_MAX * NS_PER_US, &hold_ns, err);

    options->config.hold_us = (uint32_t)(hold_ns / NS_PER_US);
    return ret;
}

static int apply_cancel(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return apply_u32("--cancel", value, 0, 100, &options->config.cancel_percent, err);
}

static int apply_readers(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return apply_u32("--readers", value, 0, 100, &options->config.reader_percent, err);
}

static int apply_poll_us(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return apply_u32("--poll-us", value, 0, 1000, &options->config.poll_us, err);
}

static int apply_duration(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return keyval_duration("--duration", value, NS_PER_MS, 24 * 3600 * NS_PER_S,
                           &options->config.duration_ns, err);
}

static int apply_operations(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return keyval_u64("--operations", value, 1, UINT64_MAX / 2, &options->config.operations, err);
}

static int apply_bound(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    return keyval_duration("--bound", value, 10 * NS_PER_MS, 3600 * NS_PER_S,
                           &options->config.bound_ns, err);
}

static int apply_seed(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    options->has_seed = true;
    return keyval_u64("--seed", value, 0, INT64_MAX, &options->config.seed, err);
}

static int apply_json(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    (void)err;
    options->json_path = value;
    return 0;
}

static int apply_progress(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;

    (void)value;
    (void)err;
    options->shows_progress = true;
    return 0;
}

/* ---- which primitives ---- */

static bool is_in_class(const struct workload *workload, const char *name)
{
    return !strcmp(name, "all") || !strcmp(name, workload->is_blocking ? "pthread" : "async") ||
           !strcmp(name, workload->name);
}

/* Each primitive once, in the order of the table. */
static int apply_primitives(void *arg, char *value, struct err *err)
{
    struct stress_options *options = arg;
    const struct workload *const *table = options->table;
    bool wanted[STRESS_WORKLOADS_MAX] = {false};
    char *rest = value;

    for (char *name = strsep(&rest, ","); name; name = strsep(&rest, ",")) {
        bool is_known = false;

        for (unsigned i = 0; table[i]; i++) {
            CHECK_CMP(i, <, (unsigned)STRESS_WORKLOADS_MAX);
            if (is_in_class(table[i], name))
                wanted[i] = is_known = true;
        }
        if (!is_known)
            return err_set(err, -EINVAL, "--primitives: there is no '%s'; see ringvm stress --help",
                           name);
    }
    options->workload_count = 0;
    for (unsigned i = 0; table[i]; i++)
        if (wanted[i])
            options->workloads[options->workload_count++] = table[i];
    return 0;
}

/* ---- the table ---- */

static const struct option_def defs[] = {
    {.short_name = 'p',
     .name = "primitives",
     .metavar = "LIST",
     .help = "what to stress, one after the other: names from below, or\n"
             "async, pthread, all; separated by commas (default all)",
     .apply = apply_primitives},
    {.short_name = 't',
     .name = "tasks",
     .metavar = "COUNT",
     .help = "tasks that share it, up to 100000 (default 64)",
     .apply = apply_tasks},
    {.short_name = 'e',
     .name = "executors",
     .metavar = "COUNT",
     .help = "executors that the tasks are spread over, each a thread;\n1 to 64 (default 2)",
     .apply = apply_executors},
    {.name = "threads",
     .metavar = "COUNT",
     .help = "plain threads that share it, too, up to 1024 (default 2)",
     .apply = apply_threads},
    {.name = "hold",
     .metavar = "TIME",
     .help = "the longest hold, up to 1s (default 0us). Half of the holds\n"
             "end at once, a quarter lets other tasks run, and a quarter\n"
             "lasts for a random time up to this",
     .apply = apply_hold},
    {.name = "cancel",
     .metavar = "PERCENT",
     .help = "waits that are cancelled, unless they end before (default 10)",
     .apply = apply_cancel},
    {.name = "readers",
     .metavar = "PERCENT",
     .help = "locks of an rwlock that are shared (default 80)",
     .apply = apply_readers},
    {.name = "poll-us",
     .metavar = "COUNT",
     .help = "how long executors poll before they sleep, up to 1000\n(default 0)",
     .apply = apply_poll_us},
    {.short_name = 'd',
     .name = "duration",
     .metavar = "TIME",
     .help = "for each primitive (default 5s)",
     .apply = apply_duration},
    {.short_name = 'n',
     .name = "operations",
     .metavar = "COUNT",
     .help = "end each primitive after so many operations, not by time",
     .apply = apply_operations},
    {.name = "bound",
     .metavar = "TIME",
     .help = "a wait that takes longer is a failure; one that takes more\n"
             "than a tenth of it counts as starved (default 10s)",
     .apply = apply_bound},
    {.short_name = 's',
     .name = "seed",
     .metavar = "NUMBER",
     .help = "of all that is random (default: from the clock)",
     .apply = apply_seed},
    {.name = "json",
     .metavar = "FILE",
     .help = "write the results, too; - is standard output",
     .apply = apply_json},
    {.name = "progress",
     .help = "a line each second on standard error; without it progress is\n"
             "shown on a terminal only",
     .apply = apply_progress},
};

static const struct option_table option_table = {
    .command = "ringvm stress",
    .intro =
        "usage: ringvm stress [OPTIONS]\n"
        "\n"
        "Stresses the locks and other primitives of the async library: many tasks, on several\n"
        "executors, and plain threads use one primitive at a time, hold it, cancel their waits,\n"
        "and check all the while that it does what it promises.\n",
    .options = defs,
    .count = array_count(defs),
    .outro = "times are whole numbers with ns, us, ms, s, min or h\n\n",
};

int stress_options_parse(const struct workload *const *table, int argc, char **argv,
                         struct stress_options *options, bool *wants_help, struct err *err)
{
    char all[] = "all";
    int first, ret;

    *options = (struct stress_options){
        .config = {.tasks = 64,
                   .executors = 2,
                   .threads = 2,
                   .cancel_percent = 10,
                   .reader_percent = 80,
                   .duration_ns = 5 * NS_PER_S,
                   .bound_ns = 10 * NS_PER_S},
        .table = table,
    };
    ret = apply_primitives(options, all, err);
    if (!ret)
        ret = option_parse(&option_table, argc, argv, options, wants_help, &first, err);
    if (ret || *wants_help)
        return ret;
    if (first < argc)
        return err_set(err, -EINVAL, "unexpected argument '%s'; see ringvm stress --help",
                       argv[first]);
    if (options->config.tasks + options->config.threads < 2)
        return err_set(err, -EINVAL, "--tasks and --threads: there must be two or more in all");
    if (options->config.tasks && options->config.executors > options->config.tasks)
        return err_set(err, -EINVAL, "--executors: %u executors are more than the %u tasks",
                       options->config.executors, options->config.tasks);
    if (options->config.bound_ns <= options->config.hold_us * NS_PER_US)
        return err_set(err, -EINVAL,
                       "--bound: a wait may be as long as a hold, up to %uus by "
                       "--hold; give a longer --bound",
                       options->config.hold_us);
    if (!options->has_seed)
        options->config.seed = clock_now_ns();
    return 0;
}

void stress_options_print_help(const struct workload *const *table, FILE *out)
{
    option_print_help(&option_table, out);
    fputs("primitives:\n", out);
    for (unsigned i = 0; table[i]; i++)
        fprintf(out, "  %-16s %s\n", table[i]->name, table[i]->summary);
    fputs("\n"
          "What is checked, for each primitive as far as it applies:\n"
          "  - mutual exclusion: counted, and by plain memory that only a holder touches\n"
          "  - no lost wake-up: nobody waits for longer than --bound. If nobody else has finished\n"
          "    an operation for half of that, a wake-up was lost. Otherwise it may be starved,\n"
          "    which pthread primitives allow. A mutex gives a waiter precedence after 19 wake-ups "
          "in\n"
          "    vain: with 1000 waiters on a busy machine, where each wake-up takes milliseconds, "
          "that\n"
          "    is a minute, so give a longer --bound\n"
          "  - order: what was written before is seen after, which ThreadSanitizer checks in a\n"
          "    build made for it (make tsan; build/tsan/ringvm stress)\n"
          "  - channel: each item comes out once, those of a producer in their order\n"
          "  - state at rest: the words of the primitive are 0 when everybody has ended\n"
          "\n"
          "What is reported: operations and their rate, waits that were cancelled, the wait's\n"
          "median, 99.9 percent and longest, how many were starved, and the fewest and the most\n"
          "operations of one task or thread. pthread primitives have plain threads only, as many\n"
          "as there are tasks and threads in all, up to 1024.\n"
          "\n"
          "When something does not hold, the failure, the seed, the words of the primitive and\n"
          "what each task and thread is at go to standard error. The seed fixes what each task\n"
          "and thread does, though not when: give it again with the same options, a few times.\n"
          "Ctrl-C ends the run as if its time were up.\n"
          "\n"
          "exit status: 0 all held; 1 something did not hold, or could not be set up; 35 bad\n"
          "arguments\n"
          "\n"
          "examples:\n"
          "  ringvm stress                                      everything, a minute\n"
          "  ringvm stress -p mutex -t 10000 -e 1 -d 30s        many tasks on one thread\n"
          "  ringvm stress -p cond,channel --cancel 60 --hold 50us\n"
          "  ringvm stress -p mutex,pthread-mutex --threads 8 --tasks 0\n",
          out);
}
