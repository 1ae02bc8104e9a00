/* Primitives that are broken on purpose: each fault is noticed, and told with seed and state. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "stress/guarded.h"
#include "stress/workload.h"

enum { SEED = 4711 };

/* One executor and no cancels, unless said otherwise: the same every time. */
static struct stress_config config_of(uint32_t tasks)
{
    return (struct stress_config){.tasks = tasks,
                                  .executors = 1,
                                  .operations = 20000,
                                  .bound_ns = 300 * NS_PER_MS,
                                  .seed = SEED};
}

/* The run fails with `failure`, and what it dumps contains that, the seed, and `state`. */
static void fails(const struct workload *workload, const struct stress_config *config,
                  const char *failure, const char *state)
{
    struct run_summary summary;
    struct err err;
    char *text = NULL;
    size_t size;
    FILE *dump = open_memstream(&text, &size);

    cr_assert_not_null(dump);
    cr_assert_eq(run_workload(workload, config, NULL, dump, &summary, &err), 0, "%s", err.text);
    cr_assert_eq(fclose(dump), 0);
    cr_assert(summary.has_failed);
    cr_assert(strstr(summary.failure, failure), "%s", summary.failure);
    cr_assert(strstr(text, summary.failure), "%s", text);
    cr_assert(strstr(text, "seed: 4711\n"), "%s", text);
    cr_assert(strstr(text, state), "%s", text);
    cr_assert(strstr(text, "worker 0, a "), "%s", text);
    free(text);
}

/* ---- a lock that everybody gets ---- */

static enum plan open_plan(struct worker *worker)
{
    worker->is_exclusive = !worker->run->workload->has_readers || worker->index == 0;
    return worker_is_through(worker) ? PLAN_ENDS : PLAN_IS_DONE;
}

static enum outcome open_finish(struct worker *worker, int result)
{
    (void)result;
    guarded_enter(worker->run->arena, worker);
    return OUTCOME_HOLDS;
}

static void open_leave(struct worker *worker)
{
    guarded_leave(worker->run->arena, worker);
}

static void open_check_end(struct run *run)
{
    guarded_check_end(run->arena, run);
}

static void open_dump(const struct run *run, FILE *out)
{
    guarded_dump(run->arena, out);
}

static const char *const open_phases[] = {"open"};

static const struct workload open_lock = {
    .name = "open lock",
    .arena_size = sizeof(struct guarded),
    .phases = open_phases,
    .plan = open_plan,
    .finish = open_finish,
    .leave = open_leave,
    .check_end = open_check_end,
    .dump = open_dump,
};

Test(stress_fault, two_writers_in_a_lock_are_noticed)
{
    struct stress_config config = config_of(2);

    fails(&open_lock, &config, "mutual exclusion: worker", "inside the lock: ");
}

Test(stress_fault, a_writer_beside_readers_is_noticed)
{
    struct stress_config config = config_of(3);
    struct workload workload = open_lock;

    workload.has_readers = true;
    fails(&workload, &config, "mutual exclusion: worker", "inside the lock: ");
}

static void forgetful_leave(struct worker *worker)
{
    open_leave(worker);
    if (worker->generation++ == 10)
        worker->writes--;
}

Test(stress_fault, a_write_too_many_is_noticed_at_the_end)
{
    struct stress_config config = config_of(1);
    struct workload workload = open_lock;

    workload.leave = forgetful_leave;
    fails(&workload, &config, "mutual exclusion: 20000 writes", "worker 0, a task: ended");
}

/* ---- a mutex whose unlock wakes nobody ---- */

struct deaf {
    struct amutex mutex;
    struct guarded guarded;
};

static const char *const deaf_phases[] = {"deaf lock"};

static enum plan deaf_plan(struct worker *worker)
{
    worker->is_exclusive = true;
    return worker_is_through(worker) ? PLAN_ENDS : PLAN_WAITS;
}

static void deaf_start(struct worker *worker)
{
    struct deaf *deaf = worker->run->arena;

    amutex_lock_start(&worker->as.lock, &worker->task, &deaf->mutex, AMUTEX_EXCLUSIVE);
    worker_awaits(worker, amutex_lock_future(&worker->as.lock), &worker->as.lock.result);
}

static int deaf_block(struct worker *worker, uint64_t deadline_ns)
{
    struct deaf *deaf = worker->run->arena;

    return amutex_lock_blocking_until(&deaf->mutex, AMUTEX_EXCLUSIVE, deadline_ns);
}

static enum outcome deaf_finish(struct worker *worker, int result)
{
    struct deaf *deaf = worker->run->arena;

    if (result)
        return OUTCOME_AGAIN;
    guarded_enter(&deaf->guarded, worker);
    return OUTCOME_HOLDS;
}

static void deaf_leave(struct worker *worker)
{
    struct deaf *deaf = worker->run->arena;

    guarded_leave(&deaf->guarded, worker);
    atomic_fetch_sub(&deaf->mutex.compact.state, AMUTEX_LOCKED);
}

static void deaf_check_end(struct run *run)
{
    struct deaf *deaf = run->arena;

    guarded_check_end(&deaf->guarded, run);
}

static void deaf_dump(const struct run *run, FILE *out)
{
    struct deaf *deaf = run->arena;

    fprintf(out, "mutex: %#lx\n", atomic_load(&deaf->mutex.compact.state));
}

static const struct workload deaf_mutex = {
    .name = "deaf mutex",
    .arena_size = sizeof(struct deaf),
    .phases = deaf_phases,
    .plan = deaf_plan,
    .start = deaf_start,
    .block = deaf_block,
    .finish = deaf_finish,
    .leave = deaf_leave,
    .check_end = deaf_check_end,
    .dump = deaf_dump,
};

Test(stress_fault, a_lost_wake_up_of_a_task_is_noticed)
{
    struct stress_config config = config_of(4);

    fails(&deaf_mutex, &config, "lost wake-up: worker", "waits in deaf lock for ");
    fails(&deaf_mutex, &config, "lost wake-up: worker", "state WAIT");
}

Test(stress_fault, a_lost_wake_up_of_a_thread_is_noticed)
{
    struct stress_config config = config_of(0);

    config.threads = 4;
    config.operations = 400000;
    fails(&deaf_mutex, &config, "lost wake-up: worker", "a thread: ");
}

/* ---- a barrier, an event and a wait group that nobody waits for ---- */

static enum plan hasty_barrier_plan(struct worker *worker)
{
    enum plan plan = workload_barrier.plan(worker);

    return plan == PLAN_WAITS ? PLAN_IS_DONE : plan;
}

static enum plan hasty_event_plan(struct worker *worker)
{
    enum plan plan = workload_event.plan(worker);

    return plan == PLAN_WAITS ? PLAN_IS_DONE : plan;
}

Test(stress_fault, a_barrier_that_lets_one_through_early_is_noticed)
{
    struct stress_config config = config_of(4);
    struct workload workload = workload_barrier;

    workload.plan = hasty_barrier_plan;
    fails(&workload, &config, "has not arrived", "generations: ");
}

Test(stress_fault, an_event_that_comes_early_is_noticed)
{
    struct stress_config config = config_of(4);
    struct workload workload = workload_event;

    workload.plan = hasty_event_plan;
    fails(&workload, &config, "has not arrived", "generations: ");
}

/* ---- a channel that doubles or loses an item ---- */

static bool receives(const struct worker *worker)
{
    return worker->index % 2;
}

static enum outcome doubling_finish(struct worker *worker, int result)
{
    enum outcome outcome = workload_channel.finish(worker, result);

    if (receives(worker) && !result && worker->writes++ == 100)
        outcome = workload_channel.finish(worker, result);
    return outcome;
}

static enum outcome losing_finish(struct worker *worker, int result)
{
    if (receives(worker) && !result && worker->writes++ == 100)
        return OUTCOME_AGAIN;
    return workload_channel.finish(worker, result);
}

Test(stress_fault, an_item_that_comes_twice_is_noticed)
{
    struct stress_config config = config_of(2);
    struct workload workload = workload_channel;

    workload.finish = doubling_finish;
    fails(&workload, &config, "channel: item 101 of producer 0", "channel: state ");
}

Test(stress_fault, an_item_that_is_lost_is_noticed_at_the_end)
{
    struct stress_config config = config_of(2);
    struct workload workload = workload_channel;

    workload.finish = losing_finish;
    fails(&workload, &config, "channel: 10001 items went in, 10000 came out", "channel: state ");
}

static enum outcome swapping_finish(struct worker *worker, int result)
{
    if (receives(worker) && !result && ++worker->writes == 100)
        worker->item.sequence = worker->item.sequence * 2;
    else if (receives(worker) && !result && worker->writes < 300 && worker->writes > 100)
        worker->item.sequence += 100;
    return workload_channel.finish(worker, result);
}

Test(stress_fault, an_item_that_is_another_is_noticed_at_the_end)
{
    struct stress_config config = config_of(2);
    struct workload workload = workload_channel;

    config.operations = 500;
    workload.finish = swapping_finish;
    fails(&workload, &config, "but not the same", "channel: state ");
}

/* ---- a semaphore that has a permit too many, or too few ---- */

static void generous_leave(struct worker *worker)
{
    bool is_chosen = worker->generation++ == 50;

    workload_semaphore.leave(worker);
    if (is_chosen) {
        worker->permits = 0;
        semaphore_release((struct semaphore *)worker->run->arena, 1);
    }
}

Test(stress_fault, a_permit_too_many_is_noticed)
{
    struct stress_config config = config_of(16);
    struct workload workload = workload_semaphore;

    workload.leave = generous_leave;
    fails(&workload, &config, "permits: ", "permits in use of 8");
}
