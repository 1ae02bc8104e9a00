#include "stress/run.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/futex.h"
#include "exec/executor.h"
#include "report/histogram.h"
#include "report/quantity.h"
#include "stress/workload.h"

#define TICK_NS (100 * NS_PER_MS)

enum { DUMP_WORKERS_MAX = 40 };

/* A thread: of an executor with its tasks, or a plain one that is a worker itself. */
struct host {
    struct run *run;
    pthread_t thread;
    struct executor *executor; /* NULL: plain */
    struct histogram *waits;
    uint32_t first, count; /* its workers */
};

enum gate { GATE_CLOSED, GATE_OPEN, GATE_ABORTED, GATE_ABANDONED };
enum failing { FAILING_NOT, FAILING_BEGUN, FAILING_WRITTEN };

void run_fail(struct run *run, const char *format, ...)
{
    unsigned not = FAILING_NOT;
    va_list args;

    if (!atomic_compare_exchange_strong_explicit(&run->failing, &not, FAILING_BEGUN,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    va_start(args, format);
    vsnprintf(run->failure, sizeof(run->failure), format, args);
    va_end(args);
    /* Release: pairs with the acquire in run_has_failed. */
    atomic_store_explicit(&run->failing, FAILING_WRITTEN, memory_order_release);
    /* The watch looks at `failing` whenever it wakes. */
    futex_wake(&run->running, 1);
}

bool run_has_failed(const struct run *run)
{
    return atomic_load_explicit(&run->failing, memory_order_acquire) == FAILING_WRITTEN;
}

bool run_is_abandoned(const struct run *run)
{
    return atomic_load_explicit(&run->is_abandoned, memory_order_acquire);
}

uint64_t run_wait_limit_ns(const struct run *run)
{
    return 2 * run->config->bound_ns + 2 * TICK_NS;
}

uint64_t run_operations(const struct run *run)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < run->worker_count; i++)
        sum += atomic_load_explicit(&run->workers[i].operations, memory_order_relaxed);
    return sum;
}

uint64_t run_cancelled(const struct run *run)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < run->worker_count; i++)
        sum += atomic_load_explicit(&run->workers[i].cancelled, memory_order_relaxed);
    return sum;
}

/* ---- the threads ---- */

static bool has_live_tasks(const struct host *host)
{
    for (uint32_t i = 0; i < host->count; i++)
        if (task_is_live(&host->run->workers[host->first + i].task))
            return true;
    return false;
}

static unsigned await_gate(struct run *run, unsigned old)
{
    unsigned gate;

    while ((gate = atomic_load_explicit(&run->gate, memory_order_acquire)) == old)
        futex_wait(&run->gate, old, FUTEX_NO_DEADLINE);
    return gate;
}

static void open_gate(struct run *run, enum gate gate)
{
    atomic_store_explicit(&run->gate, gate, memory_order_release);
    futex_wake(&run->gate, INT32_MAX);
}

static void run_executor(struct host *host)
{
    int ret = executor_run(host->executor);

    if (ret)
        run_fail(host->run, "an executor ended with error %d", -ret);
}

/* The run has failed, and has been dumped: every task lets go of what it waits for. */
static void abandon_tasks(struct host *host)
{
    if (await_gate(host->run, GATE_OPEN) != GATE_ABANDONED)
        return;
    while (has_live_tasks(host)) {
        for (uint32_t i = 0; i < host->count; i++) {
            struct task *task = &host->run->workers[host->first + i].task;

            if (task_is_live(task))
                task_wake(task);
        }
        run_executor(host);
    }
}

static void *host_main(void *arg)
{
    struct host *host = arg;
    struct run *run = host->run;

    if (await_gate(run, GATE_CLOSED) == GATE_ABORTED)
        return NULL;
    if (host->executor)
        run_executor(host);
    else
        worker_run(&run->workers[host->first]);
    /* Release: what the workers did is visible to the watch. */
    atomic_fetch_sub_explicit(&run->running, 1, memory_order_release);
    futex_wake(&run->running, 1);
    if (host->executor && has_live_tasks(host))
        abandon_tasks(host);
    return NULL;
}

/* ---- the watch ---- */

/* When anybody last finished an operation. */
static uint64_t last_progress_ns(const struct run *run)
{
    uint64_t last_ns = run->begin_ns;

    for (uint32_t i = 0; i < run->worker_count; i++)
        last_ns =
            u64_max(last_ns, atomic_load_explicit(&run->workers[i].done_ns, memory_order_relaxed));
    return last_ns;
}

/*
 * A wait that is longer than the bound. While others go on it may be their luck and no lost
 * wake-up: of the C library's primitives, which promise nothing, that is no failure.
 */
static void judge_wait(struct run *run, uint32_t index, uint64_t waited_ns, uint64_t now_ns)
{
    const uint64_t bound_ns = run->config->bound_ns;
    uint64_t idle_ns = now_ns - u64_min(last_progress_ns(run), now_ns);

    if (idle_ns > bound_ns / 2)
        run_fail(run,
                 "lost wake-up: worker %u has waited for %s, the bound is %s, and nobody has "
                 "finished an operation for %s",
                 index, quantity_of_ns(waited_ns).text, quantity_of_ns(bound_ns).text,
                 quantity_of_ns(idle_ns).text);
    else if (!run->workload->is_blocking)
        run_fail(run,
                 "starved, or lost wake-up: worker %u has waited for %s, the bound is %s, and "
                 "others go on",
                 index, quantity_of_ns(waited_ns).text, quantity_of_ns(bound_ns).text);
}

static void check_waits(struct run *run, uint64_t now_ns)
{
    for (uint32_t i = 0; i < run->worker_count; i++) {
        const struct worker *worker = &run->workers[i];
        uint64_t since_ns = atomic_load_explicit(&worker->waiting_since_ns, memory_order_relaxed);

        if (since_ns && now_ns > since_ns && now_ns - since_ns > run->config->bound_ns)
            judge_wait(run, i, now_ns - since_ns, now_ns);
    }
}

/* Until all threads have ended, or something has failed. */
static void watch(struct run *run, struct run_view *view)
{
    const uint64_t late_ns = TICK_NS + run->config->bound_ns / 2;
    uint64_t stop_ns =
        run->config->operations ? UINT64_MAX : run->begin_ns + run->config->duration_ns;
    uint64_t last_ns = run->begin_ns;
    unsigned running;

    while ((running = atomic_load_explicit(&run->running, memory_order_acquire)) &&
           !run_has_failed(run)) {
        uint64_t now_ns;

        futex_wait(&run->running, running, clock_now_ns() + TICK_NS);
        now_ns = clock_now_ns();
        /* The process was stopped, or the machine was: then everybody's wait is long. */
        if (now_ns - last_ns <= late_ns)
            check_waits(run, now_ns);
        last_ns = now_ns;
        if ((view && view->tick(view, run, now_ns)) || now_ns >= stop_ns)
            atomic_store_explicit(&run->stop, true, memory_order_relaxed);
    }
}

static int by_wait(const void *left, const void *right)
{
    const struct worker *a = *(const struct worker *const *)left;
    const struct worker *b = *(const struct worker *const *)right;
    /* 0, which is not to wait, comes last. */
    uint64_t since_a = atomic_load_explicit(&a->waiting_since_ns, memory_order_relaxed) - 1;
    uint64_t since_b = atomic_load_explicit(&b->waiting_since_ns, memory_order_relaxed) - 1;

    return (since_a > since_b) - (since_a < since_b);
}

static void dump_workers(const struct run *run, FILE *out)
{
    const struct worker **sorted = calloc(run->worker_count, sizeof(*sorted));
    uint64_t now_ns = clock_now_ns();
    char text[256];

    if (!sorted)
        return;
    for (uint32_t i = 0; i < run->worker_count; i++)
        sorted[i] = &run->workers[i];
    qsort(sorted, run->worker_count, sizeof(*sorted), by_wait);
    for (uint32_t i = 0; i < run->worker_count && i < DUMP_WORKERS_MAX; i++) {
        worker_describe(sorted[i], now_ns, text, sizeof(text));
        fprintf(out, "%s\n", text);
    }
    if (run->worker_count > DUMP_WORKERS_MAX)
        fprintf(out, "... and %u more\n", run->worker_count - DUMP_WORKERS_MAX);
    free(sorted);
}

static void dump(const struct run *run, FILE *out)
{
    fprintf(out, "%s: %s\nseed: %llu\n", run->workload->name, run->failure,
            (unsigned long long)run->config->seed);
    run->workload->dump(run, out);
    dump_workers(run, out);
    fflush(out);
}

static bool wait_for_threads(struct run *run, unsigned count, uint64_t deadline_ns)
{
    unsigned running;

    while ((running = atomic_load_explicit(&run->running, memory_order_acquire)) > count)
        if (!futex_wait(&run->running, running, deadline_ns))
            return false;
    return true;
}

/* Executors stop at once; threads that wait end at their deadlines. */
static void end_failed(struct run *run, FILE *out)
{
    uint64_t limit_ns = run_wait_limit_ns(run) + 5 * NS_PER_S;
    unsigned plain_count = 0;
    bool is_stuck;

    atomic_store_explicit(&run->stop, true, memory_order_relaxed);
    for (uint32_t i = 0; i < run->host_count; i++) {
        if (run->hosts[i].executor)
            executor_stop(run->hosts[i].executor);
        else
            plain_count++;
    }
    is_stuck = !wait_for_threads(run, plain_count, clock_now_ns() + limit_ns);
    dump(run, out);
    atomic_store_explicit(&run->is_abandoned, true, memory_order_release);
    if (is_stuck || !wait_for_threads(run, 0, clock_now_ns() + limit_ns)) {
        fprintf(out, "%s: a thread does not come back\n", run->workload->name);
        fflush(out);
        _exit(1);
    }
}

/* ---- set-up and end ---- */

static void summarize(const struct run *run, struct run_summary *summary)
{
    struct histogram *waits = run->hosts[0].waits;

    *summary = (struct run_summary){
        .elapsed_ns = clock_now_ns() - run->begin_ns,
        .operations = run_operations(run),
        .cancelled = run_cancelled(run),
        .share_min = UINT64_MAX,
        .has_failed = run_has_failed(run),
    };
    for (uint32_t i = 0; i < run->worker_count; i++) {
        uint64_t share = atomic_load(&run->workers[i].operations);

        summary->share_min = share < summary->share_min ? share : summary->share_min;
        summary->share_max = share > summary->share_max ? share : summary->share_max;
        summary->starved += atomic_load(&run->workers[i].starved);
    }
    for (uint32_t i = 1; i < run->host_count; i++)
        histogram_merge(waits, run->hosts[i].waits);
    summary->wait_p50_ns = histogram_percentile(waits, 50000);
    summary->wait_p999_ns = histogram_percentile(waits, 99900);
    summary->wait_max_ns = histogram_max(waits);
    memcpy(summary->failure, run->failure, sizeof(summary->failure));
}

static void destroy(struct run *run)
{
    for (uint32_t i = 0; run->hosts && i < run->host_count; i++) {
        executor_destroy(run->hosts[i].executor);
        histogram_destroy(run->hosts[i].waits);
    }
    free(run->hosts);
    free(run->workers);
    free(run->arena);
}

static void *alloc_isolated(size_t size)
{
    const size_t unit = 128;
    void *memory = aligned_alloc(unit, (size + unit - 1) / unit * unit);

    if (memory)
        memset(memory, 0, size);
    return memory;
}

static int create_hosts(struct run *run, struct err *err)
{
    const struct stress_config *config = run->config;
    const struct executor_config executor_config = {.poll_us_max = config->poll_us};
    uint32_t tasks = run->workload->is_blocking ? 0 : config->tasks;
    uint32_t executors = tasks ? config->executors : 0;

    for (uint32_t i = 0; i < run->host_count; i++) {
        struct host *host = &run->hosts[i];
        int ret = i < executors ? executor_create(&host->executor, &executor_config, err) : 0;

        if (ret)
            return ret;
        host->run = run;
        host->first =
            i < executors ? (uint32_t)((uint64_t)tasks * i / executors) : tasks + i - executors;
        host->count =
            i < executors ? (uint32_t)((uint64_t)tasks * (i + 1) / executors) - host->first : 1;
        if (histogram_create(&host->waits))
            return -ENOMEM;
    }
    return 0;
}

/* How many workers and threads there are. */
static int create(struct run *run, struct err *err)
{
    const struct stress_config *config = run->config;
    bool is_blocking = run->workload->is_blocking;
    int ret;

    run->worker_count = config->tasks + config->threads;
    if (is_blocking && run->worker_count > STRESS_THREADS_MAX)
        run->worker_count = STRESS_THREADS_MAX;
    run->host_count = is_blocking     ? run->worker_count
                      : config->tasks ? config->executors + config->threads
                                      : config->threads;
    run->quota = config->operations ? config->operations / run->worker_count + 1 : UINT64_MAX;
    run->workers = alloc_isolated(run->worker_count * sizeof(*run->workers));
    run->hosts = calloc(run->host_count, sizeof(*run->hosts));
    run->arena = alloc_isolated(run->workload->arena_size);
    if (!run->workers || !run->hosts || !run->arena)
        return -ENOMEM;
    ret = create_hosts(run, err);
    return ret || !run->workload->init ? ret : run->workload->init(run);
}

static int start_threads(struct run *run, struct err *err)
{
    uint32_t started = 0;
    int error = 0;

    for (; started < run->host_count; started++) {
        error = pthread_create(&run->hosts[started].thread, NULL, host_main, &run->hosts[started]);
        if (error)
            break;
    }
    if (error) {
        open_gate(run, GATE_ABORTED);
        while (started--)
            pthread_join(run->hosts[started].thread, NULL);
        return err_set(err, -error, "thread %u of %u cannot be started: %s; ask for fewer",
                       started + 1, run->host_count, strerror(error));
    }
    return 0;
}

static void spawn_workers(struct run *run)
{
    for (uint32_t i = 0; i < run->host_count; i++) {
        struct host *host = &run->hosts[i];

        for (uint32_t j = host->first; j < host->first + host->count; j++)
            worker_init(&run->workers[j], run, j, host->executor, host->waits);
    }
}

int run_workload(const struct workload *workload, const struct stress_config *config,
                 struct run_view *view, FILE *dump_file, struct run_summary *summary,
                 struct err *err)
{
    struct run run = {.config = config, .workload = workload};
    bool is_made;
    int ret;

    err_set(err, -ENOMEM, "%s: not enough memory for so many workers", workload->name);
    ret = create(&run, err);
    is_made = !ret;
    if (!ret)
        ret = start_threads(&run, err);
    if (ret)
        goto out;
    spawn_workers(&run);
    atomic_store(&run.running, run.host_count);
    run.begin_ns = clock_now_ns();
    open_gate(&run, GATE_OPEN);
    watch(&run, view);
    if (run_has_failed(&run))
        end_failed(&run, dump_file);
    open_gate(&run, GATE_ABANDONED);
    for (uint32_t i = 0; i < run.host_count; i++)
        CHECK_CMP(pthread_join(run.hosts[i].thread, NULL), ==, 0);
    if (!run_has_failed(&run)) {
        workload->check_end(&run);
        if (run_has_failed(&run))
            dump(&run, dump_file);
    }
    summarize(&run, summary);
out:
    if (is_made && workload->fini)
        workload->fini(&run);
    destroy(&run);
    return ret;
}
