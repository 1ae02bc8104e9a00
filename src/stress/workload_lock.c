/* The reader/writer mutex: mutual exclusion, and the word 0 at rest. */
#include <errno.h>

#include "base/clock.h"
#include "stress/guarded.h"
#include "stress/workload.h"

struct arena {
    struct amutex mutex;
    struct guarded guarded;
};

enum { LOCK, LOCK_TIMEOUT };
static const char *const phases[] = {"amutex_lock", "amutex_lock_timeout"};

static enum amutex_mode mode_of(const struct worker *worker)
{
    return worker->is_exclusive ? AMUTEX_EXCLUSIVE : AMUTEX_SHARED;
}

/* One of 16 only tries, one has a timeout of its own. */
static enum plan lock_plan(struct worker *worker)
{
    const struct run *run = worker->run;
    struct arena *arena = run->arena;

    if (worker_is_through(worker))
        return PLAN_ENDS;
    worker->is_exclusive =
        !run->workload->has_readers || worker_random(worker, 100) >= run->config->reader_percent;
    worker->phase = worker_random(worker, 16) || worker->is_thread ? LOCK : LOCK_TIMEOUT;
    if (!worker_random(worker, 16) && amutex_try_lock(&arena->mutex, mode_of(worker)))
        return PLAN_IS_DONE;
    return PLAN_WAITS;
}

static void lock_start(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    if (worker->phase == LOCK) {
        amutex_lock_start(&worker->as.lock, &worker->task, &arena->mutex, mode_of(worker));
        worker_awaits(worker, amutex_lock_future(&worker->as.lock), &worker->as.lock.result);
    } else {
        amutex_lock_timeout_start(&worker->as.lock_timeout, &worker->task, &arena->mutex,
                                  mode_of(worker),
                                  clock_now_ns() + worker_random(worker, 100 * NS_PER_US));
        worker_awaits(worker, amutex_lock_timeout_future(&worker->as.lock_timeout),
                      &worker->as.lock_timeout.result);
    }
}

static int lock_block(struct worker *worker, uint64_t deadline_ns)
{
    struct arena *arena = worker->run->arena;

    return amutex_lock_blocking_until(&arena->mutex, mode_of(worker), deadline_ns);
}

static enum outcome lock_finish(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;

    if (result)
        return OUTCOME_AGAIN;
    guarded_enter(&arena->guarded, worker);
    return OUTCOME_HOLDS;
}

static void lock_leave(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    guarded_leave(&arena->guarded, worker);
    amutex_unlock(&arena->mutex, mode_of(worker));
}

static void lock_check_end(struct run *run)
{
    struct arena *arena = run->arena;
    unsigned long state = atomic_load(&arena->mutex.compact.state);

    if (state)
        run_fail(run, "state at rest: the mutex is %#lx, not 0", state);
    guarded_check_end(&arena->guarded, run);
}

static void lock_dump(const struct run *run, FILE *out)
{
    static const char *const bits[] = {"LOCKED",   "HAS_WAITERS",    "DESIGNATED_WAKER",
                                       "SPINLOCK", "WRITER_WAITING", "LONG_WAIT"};
    const struct arena *arena = run->arena;
    unsigned long state = atomic_load(&arena->mutex.compact.state);

    fprintf(out, "mutex: state %#lx:", state);
    for (unsigned i = 0; i < array_count(bits); i++)
        if (state & 1UL << i)
            fprintf(out, " %s", bits[i]);
    fprintf(out, " %lu readers\n", state / AMUTEX_READER);
    guarded_dump(&arena->guarded, out);
}

const struct workload workload_mutex = {
    .name = "mutex",
    .summary = "amutex, exclusive: lock, try, with a timeout",
    .arena_size = sizeof(struct arena),
    .phases = phases,
    .plan = lock_plan,
    .start = lock_start,
    .block = lock_block,
    .finish = lock_finish,
    .leave = lock_leave,
    .check_end = lock_check_end,
    .dump = lock_dump,
};

const struct workload workload_rwlock = {
    .name = "rwlock",
    .summary = "amutex, by readers and writers",
    .has_readers = true,
    .arena_size = sizeof(struct arena),
    .phases = phases,
    .plan = lock_plan,
    .start = lock_start,
    .block = lock_block,
    .finish = lock_finish,
    .leave = lock_leave,
    .check_end = lock_check_end,
    .dump = lock_dump,
};
