/* The C library's primitives between plain threads: the reference. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "stress/buffer.h"
#include "stress/guarded.h"
#include "stress/workload.h"

struct arena {
    pthread_mutex_t mutex;
    pthread_rwlock_t rwlock;
    pthread_cond_t has_room, has_items;
    struct guarded guarded;
    struct buffer buffer;
};

static int pthread_setup(struct run *run)
{
    struct arena *arena = run->arena;

    arena->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    arena->rwlock = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
    arena->has_room = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    arena->has_items = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    buffer_init(&arena->buffer, run->worker_count);
    return 0;
}

/* ThreadSanitizer knows the calls of CLOCK_REALTIME only. */
static struct timespec realtime_of(uint64_t deadline_ns)
{
    uint64_t now_ns = clock_now_ns(), time_ns;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    time_ns = (uint64_t)now.tv_nsec + (deadline_ns > now_ns ? deadline_ns - now_ns : 0);
    return (struct timespec){.tv_sec = now.tv_sec + (time_t)(time_ns / NS_PER_S),
                             .tv_nsec = (long)(time_ns % NS_PER_S)};
}

static void dump(const struct run *run, FILE *out)
{
    const struct arena *arena = run->arena;

    guarded_dump(&arena->guarded, out);
    buffer_dump(&arena->buffer, out);
}

static void check_end(struct run *run)
{
    struct arena *arena = run->arena;

    guarded_check_end(&arena->guarded, run);
    buffer_check_end(&arena->buffer, run);
}

/* A failure, or 0 or -ETIMEDOUT. */
static int check_result(struct worker *worker, int error)
{
    if (error && error != ETIMEDOUT)
        run_fail(worker->run, "a pthread call of worker %u failed: error %d", worker->index, error);
    return -error;
}

/* ---- mutex and rwlock ---- */

static const char *const mutex_phases[] = {"pthread_mutex_timedlock"};
static const char *const rwlock_phases[] = {"pthread_rwlock_timedrdlock or wrlock"};

static enum plan lock_plan(struct worker *worker)
{
    const struct run *run = worker->run;

    if (worker_is_through(worker))
        return PLAN_ENDS;
    worker->is_exclusive =
        !run->workload->has_readers || worker_random(worker, 100) >= run->config->reader_percent;
    return PLAN_WAITS;
}

static int mutex_block(struct worker *worker, uint64_t deadline_ns)
{
    struct timespec deadline = realtime_of(deadline_ns);
    struct arena *arena = worker->run->arena;

    return check_result(worker, pthread_mutex_timedlock(&arena->mutex, &deadline));
}

static int rwlock_block(struct worker *worker, uint64_t deadline_ns)
{
    struct timespec deadline = realtime_of(deadline_ns);
    struct arena *arena = worker->run->arena;

    return check_result(worker, worker->is_exclusive
                                    ? pthread_rwlock_timedwrlock(&arena->rwlock, &deadline)
                                    : pthread_rwlock_timedrdlock(&arena->rwlock, &deadline));
}

static enum outcome lock_finish(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;

    if (result)
        return OUTCOME_AGAIN;
    guarded_enter(&arena->guarded, worker);
    return OUTCOME_HOLDS;
}

static void mutex_leave(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    guarded_leave(&arena->guarded, worker);
    check_result(worker, pthread_mutex_unlock(&arena->mutex));
}

static void rwlock_leave(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    guarded_leave(&arena->guarded, worker);
    check_result(worker, pthread_rwlock_unlock(&arena->rwlock));
}

const struct workload workload_pthread_mutex = {
    .name = "pthread-mutex",
    .summary = "reference: as mutex, between plain threads",
    .is_blocking = true,
    .arena_size = sizeof(struct arena),
    .phases = mutex_phases,
    .init = pthread_setup,
    .plan = lock_plan,
    .block = mutex_block,
    .finish = lock_finish,
    .leave = mutex_leave,
    .check_end = check_end,
    .dump = dump,
};

const struct workload workload_pthread_rwlock = {
    .name = "pthread-rwlock",
    .summary = "reference: as rwlock, between plain threads",
    .is_blocking = true,
    .has_readers = true,
    .arena_size = sizeof(struct arena),
    .phases = rwlock_phases,
    .init = pthread_setup,
    .plan = lock_plan,
    .block = rwlock_block,
    .finish = lock_finish,
    .leave = rwlock_leave,
    .check_end = check_end,
    .dump = dump,
};

/* ---- condition variable ---- */

enum { LOCK, WAIT };
static const char *const cond_phases[] = {"pthread_mutex_timedlock", "pthread_cond_timedwait"};

static enum plan cond_plan(struct worker *worker)
{
    return worker->has_ended ? PLAN_ENDS : PLAN_WAITS;
}

static int cond_block(struct worker *worker, uint64_t deadline_ns)
{
    struct timespec deadline = realtime_of(deadline_ns);
    struct arena *arena = worker->run->arena;

    if (worker->phase == LOCK)
        return mutex_block(worker, deadline_ns);
    return check_result(worker, pthread_cond_timedwait(worker_produces(worker) ? &arena->has_room
                                                                               : &arena->has_items,
                                                       &arena->mutex, &deadline));
}

static enum outcome cond_finish(struct worker *worker, int result)
{
    struct arena *arena = worker->run->arena;
    bool has_lock = !result || worker->phase == WAIT;

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
        worker->has_ended = true;
        mutex_leave(worker);
        pthread_cond_broadcast(&arena->has_items);
        break;
    }
    return OUTCOME_AGAIN;
}

static void cond_leave(struct worker *worker)
{
    struct arena *arena = worker->run->arena;

    mutex_leave(worker);
    pthread_cond_signal(worker_produces(worker) ? &arena->has_items : &arena->has_room);
}

const struct workload workload_pthread_cond = {
    .name = "pthread-cond",
    .summary = "reference: as cond, between plain threads",
    .is_blocking = true,
    .arena_size = sizeof(struct arena),
    .phases = cond_phases,
    .init = pthread_setup,
    .plan = cond_plan,
    .block = cond_block,
    .finish = cond_finish,
    .leave = cond_leave,
    .check_end = check_end,
    .dump = dump,
};
