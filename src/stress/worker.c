#include "stress/worker.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "report/quantity.h"
#include "stress/workload.h"

enum { WAIT = 1, HOLD, HOLD_YIELD, PAUSE };
static const char *const state_names[] = {"START", "WAIT", "HOLD", "HOLD_YIELD", "PAUSE"};

enum hold { HOLD_NOT, HOLD_YIELDING, HOLD_LASTING };

/* How a wait may end otherwise. */
enum { CANCEL_NEVER, CANCEL_AFTER_POLLS, CANCEL_AFTER_TIME };
enum { CANCEL_POLLS = 4, CANCEL_NS = 50000 };

uint32_t worker_random(struct worker *worker, uint32_t below)
{
    /* xorshift64*, of which the upper half is good. */
    worker->random ^= worker->random >> 12;
    worker->random ^= worker->random << 25;
    worker->random ^= worker->random >> 27;
    return (uint32_t)(((worker->random * 0x2545f4914f6cdd1dULL) >> 32) * below >> 32);
}

bool worker_is_through(const struct worker *worker)
{
    return atomic_load_explicit(&worker->run->stop, memory_order_relaxed) ||
           atomic_load_explicit(&worker->operations, memory_order_relaxed) >= worker->run->quota;
}

/* ---- what tasks and threads have in common ---- */

/* Only the worker writes it. */
static void count(atomic_ulong *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static bool has_percent(struct worker *worker, uint32_t percent)
{
    return worker_random(worker, 100) < percent;
}

static uint32_t random_cancel_ns(struct worker *worker)
{
    return worker_random(worker, CANCEL_NS + worker->run->config->hold_us * 1000);
}

static void begin_wait(struct worker *worker)
{
    atomic_store_explicit(&worker->waiting_since_ns, clock_now_ns(), memory_order_relaxed);
}

static void end_wait(struct worker *worker, int result)
{
    uint64_t begin_ns = atomic_load_explicit(&worker->waiting_since_ns, memory_order_relaxed);
    uint64_t wait_ns = clock_now_ns() - begin_ns;

    atomic_store_explicit(&worker->waiting_since_ns, 0, memory_order_relaxed);
    if (wait_ns > worker->run->config->bound_ns / 10)
        count(&worker->starved);
    if (result == -ECANCELED || result == -ETIMEDOUT)
        count(&worker->cancelled);
    else
        histogram_record(worker->waits, wait_ns);
}

/* True: the worker holds something now. */
static bool finish(struct worker *worker, int result)
{
    enum outcome outcome = worker->run->workload->finish(worker, result);

    if (outcome != OUTCOME_AGAIN) {
        count(&worker->operations);
        atomic_store_explicit(&worker->done_ns, clock_now_ns(), memory_order_relaxed);
    }
    return outcome == OUTCOME_HOLDS;
}

/* What it waits in. */
static const char *worker_phase(const struct worker *worker)
{
    return worker->run->workload->phases[worker->phase];
}

/* ---- tasks ---- */

static void start_wait(struct worker *worker)
{
    begin_wait(worker);
    worker->run->workload->start(worker);
    worker->cancel = CANCEL_NEVER;
    if (!has_percent(worker, worker->run->config->cancel_percent))
        return;
    if (worker_random(worker, 2)) {
        worker->cancel = CANCEL_AFTER_POLLS;
        worker->cancel_polls = (uint8_t)worker_random(worker, CANCEL_POLLS);
    } else {
        worker->cancel = CANCEL_AFTER_TIME;
        timer_sleep(&worker->timer, &worker->task, random_cancel_ns(worker));
    }
}

/* False: there are no more. */
static bool begin_operation(struct worker *worker)
{
    switch (worker->run->workload->plan(worker)) {
    case PLAN_WAITS:
        start_wait(worker);
        return true;
    case PLAN_IS_DONE:
        worker->result = &worker->immediate;
        return true;
    case PLAN_ENDS:
        break;
    }
    return false;
}

/* A cancel comes without a poll right before it: the future may have been woken by then. */
static bool wait_poll(struct worker *worker)
{
    bool is_due = worker->cancel == CANCEL_AFTER_TIME    ? timer_has_fired(&worker->timer)
                  : worker->cancel == CANCEL_AFTER_POLLS ? !worker->cancel_polls
                                                         : false;

    if (is_due) {
        future_cancel(worker->future);
        /* All futures of src/sync promise that. */
        CHECK(future_poll(worker->future));
    } else if (!future_poll(worker->future)) {
        if (worker->cancel == CANCEL_AFTER_POLLS) {
            worker->cancel_polls--;
            task_wake(&worker->task);
        }
        return false;
    }
    if (worker->cancel == CANCEL_AFTER_TIME)
        timer_cancel(&worker->timer);
    end_wait(worker, *worker->result);
    return true;
}

/* Half of the holds end at once, a quarter lets others run, a quarter lasts. */
static enum hold choose_hold(struct worker *worker)
{
    static const enum hold holds[] = {HOLD_NOT, HOLD_NOT, HOLD_YIELDING, HOLD_LASTING};
    enum hold hold = holds[worker_random(worker, array_count(holds))];

    return hold == HOLD_LASTING && !worker->run->config->hold_us ? HOLD_YIELDING : hold;
}

static uint32_t random_hold_ns(struct worker *worker)
{
    return worker_random(worker, worker->run->config->hold_us * 1000);
}

/* After a failure has been dumped: nothing is left behind. */
static enum task_verdict abandon(struct worker *worker)
{
    timer_cancel(&worker->timer);
    if (worker->task.state == WAIT && worker->result != &worker->immediate)
        future_cancel(worker->future);
    return TASK_DONE;
}

static enum task_verdict worker_poll(struct task *task)
{
    struct worker *const worker = container_of(task, struct worker, task);

    if (unlikely(run_has_failed(worker->run)))
        return run_is_abandoned(worker->run) ? abandon(worker) : TASK_PENDING;
    ASYNC_BEGIN(task)
        ;
        while (begin_operation(worker)) {
            AWAIT(task, WAIT, worker->result == &worker->immediate || wait_poll(worker));
            if (finish(worker, *worker->result)) {
                worker->hold = (uint8_t)choose_hold(worker);
                if (worker->hold == HOLD_LASTING) {
                    timer_sleep(&worker->timer, task, random_hold_ns(worker));
                    AWAIT(task, HOLD, timer_has_fired(&worker->timer));
                } else if (worker->hold == HOLD_YIELDING) {
                    YIELD(task, HOLD_YIELD);
                }
                worker->run->workload->leave(worker);
            }
            if (!worker_random(worker, 4))
                YIELD(task, PAUSE);
        }
        ASYNC_END(task);
}

static const char *worker_name(const struct task *task)
{
    return container_of_const(task, struct worker, task)->run->workload->name;
}

/* ---- plain threads ---- */

/* A wait that is to be cancelled has a deadline soon. All others end by themselves, or the watch
 * has said by their deadline that they do not. */
static int block(struct worker *worker)
{
    const struct stress_config *config = worker->run->config;
    bool is_short = has_percent(worker, config->cancel_percent);
    uint64_t limit_ns = is_short ? random_cancel_ns(worker) : run_wait_limit_ns(worker->run);
    int result;

    begin_wait(worker);
    result = worker->run->workload->block(worker, clock_now_ns() + limit_ns);
    end_wait(worker, result);
    return result;
}

static void hold_in_thread(struct worker *worker)
{
    struct timespec time = {0};

    switch (choose_hold(worker)) {
    case HOLD_LASTING:
        time.tv_nsec = (long)random_hold_ns(worker) % (long)NS_PER_S;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
        break;
    case HOLD_YIELDING:
        sched_yield();
        break;
    case HOLD_NOT:
        break;
    }
}

void worker_run(struct worker *worker)
{
    const struct workload *const workload = worker->run->workload;
    enum plan plan;

    while ((plan = workload->plan(worker)) != PLAN_ENDS) {
        int result = plan == PLAN_WAITS ? block(worker) : 0;

        if (run_has_failed(worker->run))
            return;
        if (finish(worker, result)) {
            hold_in_thread(worker);
            workload->leave(worker);
        }
        if (!worker_random(worker, 4))
            sched_yield();
    }
}

/* ---- for the run ---- */

void worker_init(struct worker *worker, struct run *run, uint32_t index, struct executor *executor,
                 struct histogram *waits)
{
    static const struct task_type type = {
        .name = "worker",
        .poll = worker_poll,
        .state_names = state_names,
        .state_count = array_count(state_names),
        .name_of = worker_name,
    };

    worker->run = run;
    worker->index = index;
    worker->is_thread = !executor;
    worker->waits = waits;
    /* Distinct for each seed and worker, and never 0. */
    worker->random = (run->config->seed + index + 1) * 0x9e3779b97f4a7c15ULL | 1;
    if (executor)
        task_spawn(&worker->task, executor, &type);
}

void worker_describe(const struct worker *worker, uint64_t now_ns, char *text, size_t size)
{
    uint64_t since_ns = atomic_load_explicit(&worker->waiting_since_ns, memory_order_relaxed);
    unsigned long operations = atomic_load_explicit(&worker->operations, memory_order_relaxed);
    const char *state = worker->is_thread ? NULL : task_state_name(&worker->task);
    bool has_ended = !worker->is_thread && !task_is_live(&worker->task);
    int length = snprintf(text, size, "worker %u, a %s: ", worker->index,
                          worker->is_thread ? "thread" : "task");

    text += length;
    size -= (size_t)length;
    if (since_ns)
        snprintf(text, size, "waits in %s for %s, %lu operations, state %s", worker_phase(worker),
                 quantity_of_ns(now_ns > since_ns ? now_ns - since_ns : 0).text, operations,
                 state ? state : "-");
    else
        snprintf(text, size, "%s, %lu operations, state %s", has_ended ? "ended" : "does not wait",
                 operations, state ? state : "-");
}
