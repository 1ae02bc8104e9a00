/* The semaphore: never more permits in use than there are, and all of them back at rest. */
#include <errno.h>

#include "stress/workload.h"

enum { TAKEN_MAX = 4 };

struct arena {
    struct semaphore semaphore;
    unsigned long permits;
    cache_isolated atomic_ulong in_use;
};

static const char *const phases[] = {"semaphore_acquire"};

static int semaphore_setup(struct run *run)
{
    struct arena *arena = run->arena;

    arena->permits = run->worker_count / 4 + TAKEN_MAX;
    semaphore_init(&arena->semaphore, arena->permits);
    return 0;
}

static enum plan semaphore_plan(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    if (worker_is_through(worker))
        return PLAN_ENDS;
    worker->permits = 1 + worker_random(worker, TAKEN_MAX);
    if (!worker_random(worker, 16) && semaphore_try_acquire(&arena->semaphore, worker->permits))
        return PLAN_IS_DONE;
    return PLAN_WAITS;
}

static void semaphore_start(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    semaphore_acquire_start(&worker->as.acquire, &worker->task, &arena->semaphore, worker->permits);
    worker_awaits(worker, semaphore_acquire_future(&worker->as.acquire),
                  &worker->as.acquire.result);
}

static int semaphore_block(struct worker *worker, uint64_t deadline_ns)
{
    struct arena *arena = worker->run->arena;

    return semaphore_acquire_blocking_until(&arena->semaphore, worker->permits, deadline_ns);
}

static enum outcome semaphore_finish(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;
    unsigned long in_use;

    if (result)
        return OUTCOME_AGAIN;
    /* Relaxed, so that it orders nothing itself. */
    in_use = worker->permits +
             atomic_fetch_add_explicit(&arena->in_use, worker->permits, memory_order_relaxed);
    if (in_use > arena->permits)
        run_fail(worker->run, "permits: %lu are in use, of %lu", in_use, arena->permits);
    return OUTCOME_HOLDS;
}

static void semaphore_leave(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    atomic_fetch_sub_explicit(&arena->in_use, worker->permits, memory_order_relaxed);
    semaphore_release(&arena->semaphore, worker->permits);
}

static void semaphore_check_end(struct run *run)
{
    struct arena *arena = run->arena;
    unsigned long permits = semaphore_permits(&arena->semaphore);

    if (permits != arena->permits)
        run_fail(run, "permits: %lu are left at rest, of %lu", permits, arena->permits);
    if (atomic_load(&arena->semaphore.compact.state) & (STATE_SPINLOCK | STATE_HAS_WAITERS))
        run_fail(run, "state at rest: the semaphore is %#lx",
                 atomic_load(&arena->semaphore.compact.state));
}

static void semaphore_dump(const struct run *run, FILE *out)
{
    const struct arena *arena = run->arena;

    fprintf(out, "semaphore: state %#lx, %lu permits in use of %lu\n",
            atomic_load(&arena->semaphore.compact.state),
            atomic_load_explicit(&arena->in_use, memory_order_relaxed), arena->permits);
}

const struct workload workload_semaphore = {
    .name = "semaphore",
    .summary = "1 to 4 permits at a time, of a quarter as many as there are workers",
    .arena_size = sizeof(struct arena),
    .phases = phases,
    .init = semaphore_setup,
    .plan = semaphore_plan,
    .start = semaphore_start,
    .block = semaphore_block,
    .finish = semaphore_finish,
    .leave = semaphore_leave,
    .check_end = semaphore_check_end,
    .dump = semaphore_dump,
};
