/*
 * Notify: producers and consumers on a counter without a lock, one notify for each direction. A
 * permit is for one: who is woken and leaves something behind passes the wake-up on.
 */
#include <errno.h>

#include "stress/buffer.h"
#include "stress/workload.h"

struct arena {
    struct notify has_room, has_items;
    cache_isolated atomic_ulong items;
    atomic_ulong put, taken;
    unsigned long capacity;
    atomic_uint producers; /* that have not ended */
};

enum { WAIT, MOVE };
static const char *const phases[] = {"notify_wait", "the next operation"};

static int notify_init(struct run *run)
{
    struct arena *arena = run->arena;

    arena->capacity = run->worker_count / 8 + 1;
    atomic_store(&arena->producers, (run->worker_count + 1) / 2);
    return 0;
}

static struct notify *notify_of(const struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    return worker_produces(worker) ? &arena->has_room : &arena->has_items;
}

/* Changes the count by one where that stays within 0 and the capacity. */
static bool move(struct arena *arena, bool up)
{
    unsigned long count = atomic_load(&arena->items);

    while (up ? count < arena->capacity : count > 0)
        if (atomic_compare_exchange_weak(&arena->items, &count, up ? count + 1 : count - 1))
            return true;
    return false;
}

static enum plan notify_plan(struct worker *worker)
{
    struct arena *arena = worker->run->arena;
    bool is_last;

    worker->phase = MOVE;
    if (worker_produces(worker)) {
        if (worker_is_through(worker)) {
            atomic_fetch_sub(&arena->producers, 1);
            /* Somebody else may wait for the room; or it was the last one. */
            notify_one(&arena->has_room);
            notify_one(&arena->has_items);
            return PLAN_ENDS;
        }
        if (move(arena, true))
            return PLAN_IS_DONE;
        worker->phase = WAIT;
        return PLAN_WAITS;
    }
    is_last = !atomic_load(&arena->producers);
    if (move(arena, false))
        return PLAN_IS_DONE;
    if (is_last) {
        notify_one(&arena->has_items);
        return PLAN_ENDS;
    }
    worker->phase = WAIT;
    return PLAN_WAITS;
}

static void notify_start(struct worker *worker)
{
    notify_wait_start(&worker->as.notify, &worker->task, notify_of(worker));
    worker_awaits(worker, notify_wait_future(&worker->as.notify), &worker->as.notify.result);
}

static int notify_block(struct worker *worker, uint64_t deadline_ns)
{
    return notify_wait_blocking_until(notify_of(worker), deadline_ns);
}

static enum outcome notify_finish(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;
    bool produces = worker_produces(worker);
    unsigned long items;

    (void)result;
    if (worker->phase == WAIT)
        return OUTCOME_AGAIN;
    atomic_fetch_add_explicit(produces ? &arena->put : &arena->taken, 1, memory_order_relaxed);
    items = atomic_load(&arena->items);
    notify_one(produces ? &arena->has_items : &arena->has_room);
    if (produces ? items < arena->capacity : items > 0)
        notify_one(notify_of(worker));
    return OUTCOME_HOLDS;
}

static void notify_leave(struct worker *worker)
{
    (void)worker; /* the hold is a pause between two operations */
}

static void check_rest(struct run *run, struct notify *notify, const char *name)
{
    unsigned long state;

    /* A permit may be left. */
    if (notify_try_take(notify) && notify_try_take(notify))
        run_fail(run, "state at rest: %s had two permits", name);
    state = atomic_load(&notify->compact.state);
    if (state)
        run_fail(run, "state at rest: %s is %#lx, not 0", name, state);
}

static void notify_check_end(struct run *run)
{
    struct arena *arena = run->arena;

    if (atomic_load(&arena->items) || atomic_load(&arena->put) != atomic_load(&arena->taken))
        run_fail(run, "items: %lu were put, %lu taken, %lu are left", atomic_load(&arena->put),
                 atomic_load(&arena->taken), atomic_load(&arena->items));
    check_rest(run, &arena->has_room, "has_room");
    check_rest(run, &arena->has_items, "has_items");
}

static void notify_dump(const struct run *run, FILE *out)
{
    const struct arena *arena = run->arena;

    fprintf(out, "notify: has_room %#lx, has_items %#lx; %lu items of %lu, %u producers\n",
            atomic_load(&arena->has_room.compact.state),
            atomic_load(&arena->has_items.compact.state), atomic_load(&arena->items),
            arena->capacity, atomic_load(&arena->producers));
}

const struct workload workload_notify = {
    .name = "notify",
    .summary = "producers and consumers on a counter without a lock",
    .arena_size = sizeof(struct arena),
    .phases = phases,
    .init = notify_init,
    .plan = notify_plan,
    .start = notify_start,
    .block = notify_block,
    .finish = notify_finish,
    .leave = notify_leave,
    .check_end = notify_check_end,
    .dump = notify_dump,
};
