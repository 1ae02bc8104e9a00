/* The condition variable: producers and consumers, one notify_one for each item. */
#include <errno.h>

#include "base/clock.h"
#include "stress/buffer.h"
#include "stress/guarded.h"
#include "stress/workload.h"

struct arena {
    struct amutex mutex;
    struct acond has_room, has_items;
    struct guarded guarded;
    struct buffer buffer;
};

enum { LOCK, WAIT };
static const char *const phases[] = {"amutex_lock", "acond_wait"};

static int cond_init(struct run *run)
{
    struct arena *arena = run->arena;

    buffer_init(&arena->buffer, run->worker_count);
    return 0;
}

static struct acond *cond_of(const struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    return worker_produces(worker) ? &arena->has_room : &arena->has_items;
}

static enum plan cond_plan(struct worker *worker)
{
    return worker->has_ended ? PLAN_ENDS : PLAN_WAITS;
}

static void cond_start(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    if (worker->phase == LOCK) {
        amutex_lock_start(&worker->as.lock, &worker->task, &arena->mutex, AMUTEX_EXCLUSIVE);
        worker_awaits(worker, amutex_lock_future(&worker->as.lock), &worker->as.lock.result);
    } else if (worker_random(worker, 16)) {
        acond_wait_start(&worker->as.cond, &worker->task, cond_of(worker), &arena->mutex,
                         AMUTEX_EXCLUSIVE);
        worker_awaits(worker, acond_wait_future(&worker->as.cond), &worker->as.cond.result);
    } else {
        acond_wait_timeout_start(&worker->as.cond_timeout, &worker->task, cond_of(worker),
                                 &arena->mutex, AMUTEX_EXCLUSIVE,
                                 clock_now_ns() + worker_random(worker, 100 * NS_PER_US));
        worker_awaits(worker, acond_wait_timeout_future(&worker->as.cond_timeout),
                      &worker->as.cond_timeout.result);
    }
}

static int cond_block(struct worker *worker, uint64_t deadline_ns)
{
    struct arena *arena = worker->run->arena;

    if (worker->phase == LOCK)
        return amutex_lock_blocking_until(&arena->mutex, AMUTEX_EXCLUSIVE, deadline_ns);
    return acond_wait_blocking_until(cond_of(worker), &arena->mutex, AMUTEX_EXCLUSIVE, deadline_ns);
}

static void end(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    worker->has_ended = true;
    guarded_leave(&arena->guarded, worker);
    amutex_unlock(&arena->mutex, AMUTEX_EXCLUSIVE);
    if (worker_produces(worker))
        acond_notify_all(&arena->has_items);
}

static enum outcome cond_finish(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;
    /* A wait that ran into its timeout has the mutex again, a lock has not. */
    bool has_lock = !result || (result == -ETIMEDOUT && worker->phase == WAIT);

    worker->phase = LOCK;
    if (!has_lock)
        return OUTCOME_AGAIN;
    worker->is_exclusive = true;
    guarded_enter(&arena->guarded, worker);
    switch (buffer_move(&arena->buffer, worker)) {
    case BUFFER_MOVED:
        return OUTCOME_HOLDS;
    case BUFFER_MUST_WAIT:
        guarded_leave(&arena->guarded, worker);
        worker->phase = WAIT;
        break;
    case BUFFER_ENDS:
        end(worker);
        break;
    }
    return OUTCOME_AGAIN;
}

/* Notifies with the lock held, or without. */
static void cond_leave(struct worker *worker)
{
    struct arena *arena = worker->run->arena;
    struct acond *others = worker_produces(worker) ? &arena->has_items : &arena->has_room;
    bool inside = worker_random(worker, 2);

    guarded_leave(&arena->guarded, worker);
    if (inside)
        acond_notify_one(others);
    amutex_unlock(&arena->mutex, AMUTEX_EXCLUSIVE);
    if (!inside)
        acond_notify_one(others);
}

static void cond_check_end(struct run *run)
{
    struct arena *arena = run->arena;
    unsigned long mutex = atomic_load(&arena->mutex.compact.state);
    unsigned long has_room = atomic_load(&arena->has_room.compact.state);
    unsigned long has_items = atomic_load(&arena->has_items.compact.state);

    if (mutex || has_room || has_items)
        run_fail(run, "state at rest: mutex %#lx, condition variables %#lx and %#lx, not 0", mutex,
                 has_room, has_items);
    buffer_check_end(&arena->buffer, run);
    guarded_check_end(&arena->guarded, run);
}

static void cond_dump(const struct run *run, FILE *out)
{
    const struct arena *arena = run->arena;

    fprintf(out, "mutex: state %#lx; condition variables: has_room %#lx, has_items %#lx\n",
            atomic_load(&arena->mutex.compact.state), atomic_load(&arena->has_room.compact.state),
            atomic_load(&arena->has_items.compact.state));
    buffer_dump(&arena->buffer, out);
    guarded_dump(&arena->guarded, out);
}

const struct workload workload_cond = {
    .name = "cond",
    .summary = "acond: producers and consumers, one notification for each item",
    .arena_size = sizeof(struct arena),
    .phases = phases,
    .init = cond_init,
    .plan = cond_plan,
    .start = cond_start,
    .block = cond_block,
    .finish = cond_finish,
    .leave = cond_leave,
    .check_end = cond_check_end,
    .dump = cond_dump,
};
