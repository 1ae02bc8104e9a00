/* Barrier, event and wait group: nobody goes on before all have come. */
#include <errno.h>

#include "stress/lockstep.h"
#include "stress/workload.h"

struct arena {
    struct lockstep lockstep;
    struct barrier barrier;
    atomic_ulong lasts; /* of the barrier */
    struct event events[2];
    struct wait_group groups[3];
    cache_isolated atomic_ulong arrivals;
};

static int arena_init(struct run *run)
{
    struct arena *arena = run->arena;

    barrier_init(&arena->barrier, run->worker_count);
    wait_group_add(&arena->groups[0], run->worker_count);
    return lockstep_init(&arena->lockstep, run);
}

static void arena_fini(struct run *run)
{
    struct arena *arena = run->arena;

    lockstep_fini(&arena->lockstep);
}

static void arena_dump(const struct run *run, FILE *out)
{
    const struct arena *arena = run->arena;

    lockstep_dump(&arena->lockstep, run, out);
    fprintf(
        out, "barrier: state %#lx, %u wait; events: %#lx, %#lx; wait groups: %#lx, %#lx, %#lx\n",
        atomic_load(&arena->barrier.compact.state), arena->barrier.compact.waiting,
        atomic_load(&arena->events[0].compact.state), atomic_load(&arena->events[1].compact.state),
        atomic_load(&arena->groups[0].compact.state), atomic_load(&arena->groups[1].compact.state),
        atomic_load(&arena->groups[2].compact.state));
}

/* A cancelled wait is waited again; it has arrived. */
static enum plan plan(struct worker *worker, void (*arrive)(struct worker *worker))
{
    struct arena *arena = worker->run->arena;

    if (worker->has_arrived)
        return PLAN_WAITS;
    if (!lockstep_begin(&arena->lockstep, worker))
        return PLAN_ENDS;
    worker->has_arrived = true;
    if (arrive)
        arrive(worker);
    return PLAN_WAITS;
}

static enum outcome finish(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;

    if (result < 0)
        return OUTCOME_AGAIN;
    worker->has_arrived = false;
    lockstep_finish(&arena->lockstep, worker);
    return OUTCOME_HOLDS;
}

static void leave(struct worker *worker)
{
    (void)worker; /* the hold makes it late for the next generation */
}

/* ---- barrier ---- */

static const char *const barrier_phases[] = {"barrier_wait"};

static enum plan barrier_plan(struct worker *worker)
{
    return plan(worker, NULL);
}

static void barrier_start(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    barrier_wait_start(&worker->as.barrier, &worker->task, &arena->barrier);
    worker_awaits(worker, barrier_wait_future(&worker->as.barrier), &worker->as.barrier.result);
}

static int barrier_block(struct worker *worker, uint64_t deadline_ns)
{
    struct arena *arena = worker->run->arena;

    return barrier_wait_blocking_until(&arena->barrier, deadline_ns);
}

/* One LAST in each generation; that of this one may not have said so yet. */
static enum outcome barrier_finish(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;
    unsigned long lasts = atomic_load(&arena->lasts);

    if (result == BARRIER_LAST)
        lasts = atomic_fetch_add(&arena->lasts, 1);
    if (result >= 0 && lasts - worker->generation > (result == BARRIER_LAST ? 0 : 1))
        run_fail(worker->run, "barrier: %lu parties were the last of %lu generations", lasts,
                 (unsigned long)worker->generation);
    return finish(worker, result);
}

static void barrier_check_end(struct run *run)
{
    struct arena *arena = run->arena;
    unsigned long state = atomic_load(&arena->barrier.compact.state);
    unsigned long generations = run->workers[0].generation;

    if (state)
        run_fail(run, "state at rest: the barrier is %#lx, not 0", state);
    if (atomic_load(&arena->lasts) != generations)
        run_fail(run, "barrier: %lu parties were the last of %lu generations",
                 atomic_load(&arena->lasts), generations);
}

const struct workload workload_barrier = {
    .name = "barrier",
    .summary = "all workers, generation after generation",
    .arena_size = sizeof(struct arena),
    .phases = barrier_phases,
    .init = arena_init,
    .fini = arena_fini,
    .plan = barrier_plan,
    .start = barrier_start,
    .block = barrier_block,
    .finish = barrier_finish,
    .leave = leave,
    .check_end = barrier_check_end,
    .dump = arena_dump,
};

/* ---- event: two in turns, the last to arrive sets it ---- */

static const char *const event_phases[] = {"event_wait"};

static struct event *event_of(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    return &arena->events[worker->generation % 2];
}

static void event_arrive(struct worker *worker)
{
    struct arena *arena = worker->run->arena;
    unsigned long arrivals = atomic_fetch_add(&arena->arrivals, 1) + 1;

    if (arrivals % worker->run->worker_count)
        return;
    /* All have left the other one, it is the next. */
    arena->events[(worker->generation + 1) % 2] = (struct event){0};
    event_set(event_of(worker));
}

static enum plan event_plan(struct worker *worker)
{
    return plan(worker, event_arrive);
}

static void event_start(struct worker *worker)
{
    event_wait_start(&worker->as.event, &worker->task, event_of(worker));
    worker_awaits(worker, event_wait_future(&worker->as.event), &worker->as.event.result);
}

static int event_block(struct worker *worker, uint64_t deadline_ns)
{
    return event_wait_blocking_until(event_of(worker), deadline_ns);
}

static void event_check_end(struct run *run)
{
    struct arena *arena = run->arena;

    for (unsigned i = 0; i < array_count(arena->events); i++) {
        unsigned long state = atomic_load(&arena->events[i].compact.state);

        if (state & ~EVENT_SET)
            run_fail(run, "state at rest: event %u is %#lx", i, state);
    }
}

const struct workload workload_event = {
    .name = "event",
    .summary = "all workers wait for the last one to set it",
    .arena_size = sizeof(struct arena),
    .phases = event_phases,
    .init = arena_init,
    .fini = arena_fini,
    .plan = event_plan,
    .start = event_start,
    .block = event_block,
    .finish = finish,
    .leave = leave,
    .check_end = event_check_end,
    .dump = arena_dump,
};

/* ---- wait group: three in turns, the first to arrive adds to the next ---- */

static const char *const group_phases[] = {"wait_group_wait"};

static struct wait_group *group_of(struct worker *worker, unsigned ahead)
{
    struct arena *arena = worker->run->arena;

    return &arena->groups[(worker->generation + ahead) % array_count(arena->groups)];
}

static void group_arrive(struct worker *worker)
{
    struct arena *arena = worker->run->arena;
    uint32_t count = worker->run->worker_count;

    if (atomic_fetch_add(&arena->arrivals, 1) % count == 0)
        wait_group_add(group_of(worker, 1), count);
    wait_group_done(group_of(worker, 0));
}

static enum plan group_plan(struct worker *worker)
{
    return plan(worker, group_arrive);
}

static void group_start_wait(struct worker *worker)
{
    wait_group_wait_start(&worker->as.group, &worker->task, group_of(worker, 0));
    worker_awaits(worker, wait_group_wait_future(&worker->as.group), &worker->as.group.result);
}

static int group_block(struct worker *worker, uint64_t deadline_ns)
{
    return wait_group_wait_blocking_until(group_of(worker, 0), deadline_ns);
}

/* The next generation's workers were added, and nobody comes. */
static void group_check_end(struct run *run)
{
    struct arena *arena = run->arena;

    for (uint32_t i = 0; i < run->worker_count; i++)
        wait_group_done(group_of(&run->workers[0], 0));
    for (unsigned i = 0; i < array_count(arena->groups); i++) {
        unsigned long state = atomic_load(&arena->groups[i].compact.state);

        if (state)
            run_fail(run, "state at rest: wait group %u is %#lx, not 0", i, state);
    }
}

const struct workload workload_wait_group = {
    .name = "waitgroup",
    .summary = "all workers are done, and wait for all",
    .arena_size = sizeof(struct arena),
    .phases = group_phases,
    .init = arena_init,
    .fini = arena_fini,
    .plan = group_plan,
    .start = group_start_wait,
    .block = group_block,
    .finish = finish,
    .leave = leave,
    .check_end = group_check_end,
    .dump = arena_dump,
};
