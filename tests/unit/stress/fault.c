/*
 * Primitives that are broken on purpose, in the tool's own table: each fault is noticed, ends the
 * verb with a failure, and is told with the seed, the primitive's words and what each worker is at.
 */
#include <stdatomic.h>

#include "stress/guarded.h"
#include "stress/workload.h"
#include "verb.h"

/* One executor and no cancels: the same every time. */
#define ONE_EXECUTOR "-e 1 --threads 0 --cancel 0 "

/* The verb fails with `failure`, and what it prints has `state` in it. */
static void fails(const struct workload *workload, const char *words, const char *failure,
                  const char *state)
{
    const struct workload *const table[] = {workload, NULL};
    const struct verb_output *output;
    char all[256];

    snprintf(all, sizeof(all), "%s --bound 300ms --seed 4711", words);
    output = verb_run(table, stderr, all);
    cr_assert_eq(output->verdict, STRESS_FAILED, "%s", output->text);
    cr_assert(strstr(output->text, failure), "%s", output->text);
    cr_assert(strstr(output->text, state), "%s", output->text);
    cr_assert(strstr(output->text, "\nseed: 4711\n"), "%s", output->text);
    cr_assert(strstr(output->text, "\nworker 0, a "), "%s", output->text);
    cr_assert(strstr(output->text, "\nringvm: something did not hold, with seed 4711"), "%s",
              output->text);
}

/* ---- a lock that everybody gets ---- */

static enum plan open_plan(struct worker *worker)
{
    worker->is_exclusive = !worker->run->workload->has_readers || worker->index == 0;
    return worker_is_through(worker) ? PLAN_ENDS : PLAN_IS_DONE;
}

/* Only the first one does anything. */
static enum plan lone_plan(struct worker *worker)
{
    return worker->index ? PLAN_ENDS : open_plan(worker);
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

Test(stress_fault, a_lock_that_admits_two_writers_is_noticed)
{
    fails(&open_lock, ONE_EXECUTOR "-t 2 -n 20000", "mutual exclusion: worker",
          "\ninside the lock: ");
}

Test(stress_fault, a_writer_beside_readers_is_noticed)
{
    struct workload workload = open_lock;

    workload.has_readers = true;
    fails(&workload, ONE_EXECUTOR "-t 3 -n 20000", "mutual exclusion: worker",
          "\ninside the lock: ");
}

static void forgetful_leave(struct worker *worker)
{
    open_leave(worker);
    if (worker->generation++ == 10)
        worker->writes--;
}

Test(stress_fault, a_write_too_many_is_noticed_at_the_end)
{
    struct workload workload = open_lock;

    workload.leave = forgetful_leave;
    /* One that works, and one that has nothing to do with it. */
    workload.plan = lone_plan;
    fails(&workload, ONE_EXECUTOR "-t 2 -n 20000", "mutual exclusion: 10000 writes",
          "worker 0, a task: ended");
}

/* ---- wake-ups that are lost ---- */

/* What is unlocked in `leave` does not see that somebody waits. */
static void leave_deaf(struct worker *worker, atomic_ulong *state,
                       void (*leave)(struct worker *worker))
{
    unsigned long has_waiters = atomic_fetch_and(state, ~(unsigned long)STATE_HAS_WAITERS);

    leave(worker);
    atomic_fetch_or(state, has_waiters & STATE_HAS_WAITERS);
}

_Static_assert(AMUTEX_HAS_WAITERS == (unsigned long)STATE_HAS_WAITERS, "one bit for all");

static void deaf_mutex_leave(struct worker *worker)
{
    struct amutex *mutex = worker->run->arena;

    leave_deaf(worker, &mutex->compact.state, workload_mutex.leave);
}

Test(stress_fault, a_mutex_that_loses_wake_ups_of_tasks_is_noticed)
{
    struct workload workload = workload_mutex;

    workload.leave = deaf_mutex_leave;
    fails(&workload, ONE_EXECUTOR "-t 4 -n 20000", "lost wake-up: worker", "\nmutex: state 0x");
    fails(&workload, ONE_EXECUTOR "-t 4 -n 20000", "waits in amutex_lock for ", "state WAIT");
}

Test(stress_fault, a_mutex_that_loses_wake_ups_of_threads_is_noticed)
{
    struct workload workload = workload_mutex;

    workload.leave = deaf_mutex_leave;
    fails(&workload, "-t 0 --threads 4 --cancel 0 -n 400000", "lost wake-up: worker", "a thread: ");
}

static void deaf_semaphore_leave(struct worker *worker)
{
    struct semaphore *semaphore = worker->run->arena;

    leave_deaf(worker, &semaphore->compact.state, workload_semaphore.leave);
}

Test(stress_fault, a_semaphore_that_loses_wake_ups_is_noticed)
{
    struct workload workload = workload_semaphore;

    workload.leave = deaf_semaphore_leave;
    fails(&workload, ONE_EXECUTOR "-t 32 -n 20000", "lost wake-up: worker",
          "\nsemaphore: state 0x");
}

/* As the workload's arena begins. */
struct conds {
    struct amutex mutex;
    struct acond has_room, has_items;
};

static void deaf_room_leave(struct worker *worker)
{
    struct conds *conds = worker->run->arena;

    leave_deaf(worker, &conds->has_room.compact.state, workload_cond.leave);
}

static void deaf_cond_leave(struct worker *worker)
{
    struct conds *conds = worker->run->arena;

    leave_deaf(worker, &conds->has_items.compact.state, deaf_room_leave);
}

Test(stress_fault, a_condition_variable_that_loses_notifications_is_noticed)
{
    struct workload workload = workload_cond;

    workload.leave = deaf_cond_leave;
    fails(&workload, ONE_EXECUTOR "-t 8 -n 20000", "worker", "waits in acond_wait for ");
}

/* ---- a worker that is never served, while the others are ---- */

static enum plan unfair_plan(struct worker *worker)
{
    if (worker->index == 0)
        return PLAN_WAITS;
    return worker_is_through(worker) ? PLAN_ENDS : PLAN_IS_DONE;
}

static void unfair_start(struct worker *worker)
{
    semaphore_acquire_start(&worker->as.acquire, &worker->task,
                            (struct semaphore *)worker->run->arena, 1);
    worker_awaits(worker, semaphore_acquire_future(&worker->as.acquire),
                  &worker->as.acquire.result);
}

static int unfair_block(struct worker *worker, uint64_t deadline_ns)
{
    return semaphore_acquire_blocking_until((struct semaphore *)worker->run->arena, 1, deadline_ns);
}

static enum outcome unfair_finish(struct worker *worker, int result)
{
    (void)worker;
    return result ? OUTCOME_AGAIN : OUTCOME_DONE;
}

static void unfair_check_end(struct run *run)
{
    run_fail(run, "the one that is never served has ended");
}

static void unfair_dump(const struct run *run, FILE *out)
{
    const struct semaphore *semaphore = run->arena;

    fprintf(out, "unfair: %#lx\n", atomic_load(&semaphore->compact.state));
}

static const char *const unfair_phases[] = {"unfair wait"};

static const struct workload unfair = {
    .name = "unfair",
    .arena_size = sizeof(struct semaphore),
    .phases = unfair_phases,
    .plan = unfair_plan,
    .start = unfair_start,
    .block = unfair_block,
    .finish = unfair_finish,
    .check_end = unfair_check_end,
    .dump = unfair_dump,
};

Test(stress_fault, who_waits_while_others_go_on_is_starved)
{
    fails(&unfair, ONE_EXECUTOR "-t 3 -d 60s", "starved, or lost wake-up: worker 0 has waited for ",
          "\nunfair: 0x2\n");
}

/* As long as somebody goes on. */
Test(stress_fault, the_reference_may_starve_but_not_lose_wake_ups)
{
    struct workload workload = unfair;

    workload.is_blocking = true;
    fails(&workload, "-t 0 --threads 2 --cancel 0 -d 500ms", "lost wake-up: worker 0",
          "\nunfair: 0x2\n");
}

/* ---- words that are not idle at the end ---- */

static void staining_leave(struct worker *worker)
{
    struct amutex *mutex = worker->run->arena;

    workload_mutex.leave(worker);
    atomic_fetch_or(&mutex->compact.state, AMUTEX_WRITER_WAITING);
}

Test(stress_fault, a_state_word_that_is_not_0_at_the_end_is_noticed)
{
    struct workload workload = workload_mutex;

    workload.leave = staining_leave;
    fails(&workload, ONE_EXECUTOR "-t 4 -n 20000", "state at rest: the mutex is 0x10, not 0",
          "\nmutex: state 0x10: WRITER_WAITING");
}

/* ---- a barrier and an event that nobody waits for ---- */

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

/* Who runs first decides whether it is an arrival that is missing, or a last one. */
Test(stress_fault, a_barrier_that_lets_one_through_early_is_noticed)
{
    struct workload workload = workload_barrier;

    workload.plan = hasty_barrier_plan;
    fails(&workload, ONE_EXECUTOR "-t 4 -n 20000", "\nbarrier: ", "generations: ");
}

Test(stress_fault, an_event_that_comes_early_is_noticed)
{
    struct workload workload = workload_event;

    workload.plan = hasty_event_plan;
    fails(&workload, ONE_EXECUTOR "-t 4 -n 20000", "has not arrived", "generations: ");
}

/* ---- a once that forgets that it was done ---- */

/* Once for each worker: else nobody would find it done. */
static void forgetting_once_leave(struct worker *worker)
{
    struct once_compact *once = worker->as.once.once;

    workload_once.leave(worker);
    if (atomic_load(&once->state) == ONCE_COMPLETE && !worker->writes++)
        atomic_store(&once->state, 0);
}

Test(stress_fault, what_is_initialised_twice_is_noticed)
{
    struct workload workload = workload_once;

    workload.leave = forgetting_once_leave;
    fails(&workload, ONE_EXECUTOR "-t 4 -n 20000", "sees it initialised ", "generations: ");
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
    struct workload workload = workload_channel;

    workload.finish = doubling_finish;
    fails(&workload, ONE_EXECUTOR "-t 2 -n 20000", "channel: item 101 of producer 0",
          "channel: state ");
}

Test(stress_fault, an_item_that_is_lost_is_noticed_at_the_end)
{
    struct workload workload = workload_channel;

    workload.finish = losing_finish;
    fails(&workload, ONE_EXECUTOR "-t 2 -n 20000", "channel: 10001 items went in, 10000 came out",
          "channel: state ");
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
    struct workload workload = workload_channel;

    workload.finish = swapping_finish;
    fails(&workload, ONE_EXECUTOR "-t 2 -n 500", "but not the same", "channel: state ");
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
    struct workload workload = workload_semaphore;

    workload.leave = generous_leave;
    fails(&workload, ONE_EXECUTOR "-t 16 -n 20000", "permits: ", "permits in use of 8");
}
