/*
 * Once: laps of cells, each to be initialised by one worker, which may give up. Between two laps
 * all meet at a barrier, and its last one makes the cells of the lap after the next new.
 */
#include <errno.h>

#include "stress/lockstep.h"
#include "stress/workload.h"

enum { CELLS = 16 };

struct cell {
    struct once_compact once;
    uint64_t value; /* plain: who is through sees it */
    uint64_t initialised;
};

struct arena {
    struct lockstep lockstep;
    struct barrier barrier;
    struct cell cells[2][CELLS];
};

enum { ENTER, LAP };
static const char *const phases[] = {"once_enter", "barrier_wait"};

static int once_setup(struct run *run)
{
    struct arena *arena = run->arena;

    barrier_init(&arena->barrier, run->worker_count);
    return lockstep_init(&arena->lockstep, run);
}

static void once_fini(struct run *run)
{
    struct arena *arena = run->arena;

    lockstep_fini(&arena->lockstep);
}

/* worker->permits is the next cell of the lap, worker->generation the lap. */
static struct cell *cell_of(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    return &arena->cells[worker->generation % 2][worker->permits];
}

static enum plan once_plan(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    worker->phase = worker->permits < CELLS ? ENTER : LAP;
    if (worker->phase == LAP && !worker->has_arrived) {
        if (!lockstep_begin(&arena->lockstep, worker))
            return PLAN_ENDS;
        worker->has_arrived = true;
    }
    return PLAN_WAITS;
}

static void once_start(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    if (worker->phase == ENTER) {
        once_enter_start(&worker->as.once, &worker->task, &cell_of(worker)->once);
        worker_awaits(worker, once_enter_future(&worker->as.once), &worker->as.once.result);
    } else {
        barrier_wait_start(&worker->as.barrier, &worker->task, &arena->barrier);
        worker_awaits(worker, barrier_wait_future(&worker->as.barrier), &worker->as.barrier.result);
    }
}

static int once_block(struct worker *worker, uint64_t deadline_ns)
{
    struct arena *arena = worker->run->arena;

    return worker->phase == ENTER ? once_enter_blocking_until(&cell_of(worker)->once, deadline_ns)
                                  : barrier_wait_blocking_until(&arena->barrier, deadline_ns);
}

static void finish_lap(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;
    struct cell *old = arena->cells[worker->generation % 2];

    /* Nobody uses them before the barrier at the end of the lap that begins now. */
    if (result == BARRIER_LAST)
        for (unsigned i = 0; i < CELLS; i++)
            old[i] = (struct cell){0};
    lockstep_finish(&arena->lockstep, worker);
    worker->has_arrived = false;
    worker->permits = 0;
}

static enum outcome once_finish(struct worker *worker, int result)
{
    struct cell *cell = cell_of(worker);

    if (result < 0)
        return OUTCOME_AGAIN;
    if (worker->phase == LAP) {
        finish_lap(worker, result);
        return OUTCOME_AGAIN;
    }
    if (result == ONCE_INITIALISE)
        return OUTCOME_HOLDS;
    if (cell->initialised != 1 || cell->value != worker->generation)
        run_fail(worker->run, "once: worker %u is through and sees it initialised %lu times",
                 worker->index, (unsigned long)cell->initialised);
    worker->permits++;
    return OUTCOME_DONE;
}

/* The initialiser: one of 8 gives up, and comes again. */
static void once_leave(struct worker *worker)
{
    struct cell *cell = cell_of(worker);

    if (!worker_random(worker, 8)) {
        once_abandon(&cell->once);
        return;
    }
    cell->initialised++;
    cell->value = worker->generation;
    once_complete(&cell->once);
    worker->permits++;
}

static void once_check_end(struct run *run)
{
    struct arena *arena = run->arena;

    for (unsigned i = 0; i < 2 * CELLS; i++) {
        unsigned long state = atomic_load(&arena->cells[i / CELLS][i % CELLS].once.state);

        if (state & ~ONCE_COMPLETE)
            run_fail(run, "state at rest: once %u is %#lx", i, state);
    }
}

static void once_dump(const struct run *run, FILE *out)
{
    const struct arena *arena = run->arena;

    lockstep_dump(&arena->lockstep, run, out);
    for (unsigned i = 0; i < 2 * CELLS; i++)
        fprintf(out, "%s%#lx%s", i % CELLS ? " " : "once: ",
                atomic_load(&arena->cells[i / CELLS][i % CELLS].once.state),
                i % CELLS == CELLS - 1 ? "\n" : "");
    fprintf(out, "barrier: %#lx\n", atomic_load(&arena->barrier.compact.state));
}

const struct workload workload_once = {
    .name = "once",
    .summary = "one initialiser for each cell, which may give up",
    .arena_size = sizeof(struct arena),
    .phases = phases,
    .init = once_setup,
    .fini = once_fini,
    .plan = once_plan,
    .start = once_start,
    .block = once_block,
    .finish = once_finish,
    .leave = once_leave,
    .check_end = once_check_end,
    .dump = once_dump,
};
