#include "latency/session.h"

#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "base/clock.h"
#include "latency/files.h"
#include "latency/load.h"

enum { CLOCK_BATCHES = 100, CLOCK_READS = 100, DISTURBED_SHARE = 100 };

/* What runs with what, in the order of one round. */
struct plan {
    unsigned probes[PROBE_COUNT];
    unsigned count;
};

static struct plan plan_make(const struct latency_options *options)
{
    struct plan plan = {.count = 0};

    for (unsigned i = 0; i < PROBE_COUNT; i++)
        if (options->selected[i])
            plan.probes[plan.count++] = i;
    return plan;
}

/* A neighbour in time, and what it leaves in the caches, shall be another one in each round. */
static void plan_shuffle(struct plan *plan, uint64_t *random)
{
    for (unsigned i = plan->count; i > 1; i--) {
        unsigned other = (unsigned)random_between(random, 0, i - 1);
        unsigned moved = plan->probes[i - 1];

        plan->probes[i - 1] = plan->probes[other];
        plan->probes[other] = moved;
    }
}

static unsigned condition_count(const struct latency_options *options)
{
    return load_size_is_zero(&options->load) ? SESSION_LOADED : SESSION_CONDITION_COUNT;
}

/* The quickest batch: the others were interrupted. */
static double clock_measure(void)
{
    uint64_t batch_ns_min = UINT64_MAX;

    for (unsigned batch = 0; batch < CLOCK_BATCHES; batch++) {
        uint64_t begin_ns = clock_now_ns(), end_ns = begin_ns;

        for (unsigned i = 0; i < CLOCK_READS; i++)
            end_ns = clock_now_ns();
        batch_ns_min = u64_min(batch_ns_min, end_ns - begin_ns);
    }
    return (double)batch_ns_min / CLOCK_READS;
}

/* The first rounds take what does not divide evenly: all together take what was asked for. */
static uint64_t samples_of_round(const struct latency_options *options, unsigned round)
{
    return options->samples_max / SESSION_ROUNDS + (round < options->samples_max % SESSION_ROUNDS);
}

static int measure(struct session *session, unsigned index, enum session_condition condition,
                   uint64_t samples, const struct files *files, uint64_t *random, struct err *err)
{
    const struct latency_options *options = session->options;
    struct session_case *one = &session->cases[index][condition];
    uint64_t begin_ns = clock_now_ns();
    struct probe_run run = {
        .histogram = one->histogram,
        .files = files,
        .deadline_ns = begin_ns + options->duration_ns / SESSION_ROUNDS,
        .samples_left = samples,
        .random = *random,
        .poll_us = options->poll_us,
        .load_tasks = condition == SESSION_LOADED ? options->load.tasks : 0,
        .warm_up_left = PROBE_WARM_UP,
    };
    int ret = probes[index].measure(&run, err);

    *random = run.random;
    one->wall_ns += clock_now_ns() - begin_ns;
    one->run_delay_ns += run.run_delay_ns;
    return ret;
}

static void progress_print(FILE *progress, unsigned round, enum session_condition condition,
                           unsigned index)
{
    if (!progress)
        return;
    fprintf(progress, "\r\033[Kround %u of %d, %s load: %s", round + 1, SESSION_ROUNDS,
            condition == SESSION_QUIET ? "without" : "with", probes[index].title);
    fflush(progress);
}

static int round_run(struct session *session, unsigned round, struct plan *plan, struct load *load,
                     const struct files *files, uint64_t *random, FILE *progress, struct err *err)
{
    uint64_t samples = samples_of_round(session->options, round);
    unsigned conditions = condition_count(session->options);

    plan_shuffle(plan, random);
    for (unsigned condition = 0; condition < conditions; condition++) {
        load_set_busy(load, condition == SESSION_LOADED);
        for (unsigned i = 0; i < plan->count && samples; i++) {
            int ret;

            progress_print(progress, round, condition, plan->probes[i]);
            ret = measure(session, plan->probes[i], condition, samples, files, random, err);
            if (ret)
                return ret;
        }
    }
    return 0;
}

static int histograms_create(struct session *session, const struct plan *plan, struct err *err)
{
    unsigned conditions = condition_count(session->options);

    for (unsigned i = 0; i < plan->count; i++)
        for (unsigned condition = 0; condition < conditions; condition++)
            if (histogram_create(&session->cases[plan->probes[i]][condition].histogram))
                return err_set(err, -ENOMEM, "not enough memory for the histograms");
    return 0;
}

/* Only where something reads it. */
static const char *disk_directory(const struct latency_options *options)
{
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        if (options->selected[i] && probes[i].measure == disk_measure)
            return options->directory;
    return NULL;
}

int session_run(struct session *session, const struct latency_options *options, FILE *progress,
                struct err *err)
{
    struct plan plan = plan_make(options);
    /* Distinct for each seed, and never 0. */
    uint64_t random = options->seed * 2 + 1;
    struct files files;
    struct load load;
    int ret;

    *session = (struct session){.options = options, .clock_ns = clock_measure()};
    ret = histograms_create(session, &plan, err);
    if (ret)
        goto destroy;
    ret = files_open(&files, disk_directory(options), err);
    if (ret)
        goto destroy;
    session->disk_is_direct = files.is_direct;
    session->disk_was_named = files.was_named;
    ret = load_create(&load, options->load.threads, err);
    if (ret)
        goto close_files;
    for (unsigned round = 0; round < SESSION_ROUNDS && !ret; round++)
        ret = round_run(session, round, &plan, &load, &files, &random, progress, err);
    if (progress)
        fputs("\r\033[K", progress);
    load_destroy(&load);
close_files:
    files_close(&files);
destroy:
    if (ret)
        session_destroy(session);
    return ret;
}

void session_destroy(struct session *session)
{
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        for (unsigned condition = 0; condition < SESSION_CONDITION_COUNT; condition++)
            histogram_destroy(session->cases[i][condition].histogram);
    memset(session->cases, 0, sizeof(session->cases));
}

bool session_case_is_disturbed(const struct session_case *one, enum session_condition condition)
{
    return condition == SESSION_QUIET && one->run_delay_ns > one->wall_ns / DISTURBED_SHARE;
}

bool session_is_disturbed(const struct session *session)
{
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        if (session_case_is_disturbed(&session->cases[i][SESSION_QUIET], SESSION_QUIET))
            return true;
    return false;
}
