/*
 * The reader/writer mutex between tasks and threads. What it guards is no atomic: that nobody is in
 * there with a writer, and that everybody sees what the one before did, is for the race detector.
 */
#include "sync/amutex.h"

#include "scenarios/scenarios.h"
#include "tasks.h"

enum { LOCKERS = 3 };

struct locker {
    struct user user;
    struct state *state;
    struct amutex_lock lock;
    enum amutex_mode mode;
};

struct state {
    struct amutex_compact mutex;
    unsigned guarded;
    struct locker lockers[LOCKERS];
    struct executor executors[LOCKERS];
};

static void use(struct state *state, enum amutex_mode mode)
{
    if (mode == AMUTEX_SHARED)
        (void)*(volatile unsigned *)&state->guarded;
    else
        state->guarded++;
}

static bool locker_step(struct user *user)
{
    struct locker *const locker = container_of(user, struct locker, user);

    if (!user->stage++) {
        amutex_lock_start(&locker->lock, &user->task, &locker->state->mutex, locker->mode);
        user->future = amutex_lock_future(&locker->lock);
        return true;
    }
    if (locker->lock.result == 0) {
        use(locker->state, locker->mode);
        amutex_unlock(&locker->state->mutex, locker->mode);
    }
    return false;
}

static void add(struct state *state, unsigned number, unsigned thread, enum amutex_mode mode,
                bool may_cancel)
{
    struct locker *locker = &state->lockers[number];

    *locker = (struct locker){
        .user = {.step = locker_step,
                 .may_cancel = may_cancel,
                 .futures = &locker->lock,
                 .futures_size = sizeof(locker->lock)},
        .state = state,
        .mode = mode,
    };
    user_spawn(&locker->user, &state->executors[thread]);
}

static void setup(void *arg)
{
    struct state *state = arg;

    MODEL_NAME(state->mutex.state);
    for (unsigned i = 0; i < LOCKERS; i++) {
        model_executor_init(&state->executors[i], i);
        MODEL_NAME(state->executors[i].posted);
        model_name(&state->lockers[i].lock.waiter.status, sizeof(unsigned), "waiter.status");
    }
}

/* ---- who takes part ---- */

static void writers(void *state)
{
    setup(state);
    for (unsigned i = 0; i < LOCKERS; i++)
        add(state, i, i, AMUTEX_EXCLUSIVE, false);
}

static void writers_that_cancel(void *state)
{
    setup(state);
    for (unsigned i = 0; i < LOCKERS; i++)
        add(state, i, i, AMUTEX_EXCLUSIVE, true);
}

static void one_cancels(void *state)
{
    setup(state);
    add(state, 0, 0, AMUTEX_EXCLUSIVE, true);
    add(state, 1, 1, AMUTEX_EXCLUSIVE, false);
}

static void two_and_one(void *state)
{
    setup(state);
    add(state, 0, 0, AMUTEX_EXCLUSIVE, true);
    add(state, 1, 0, AMUTEX_EXCLUSIVE, false);
    add(state, 2, 1, AMUTEX_EXCLUSIVE, false);
}

static void readers_and_writer(void *state)
{
    setup(state);
    add(state, 0, 0, AMUTEX_SHARED, true);
    add(state, 1, 0, AMUTEX_EXCLUSIVE, true);
    add(state, 2, 1, AMUTEX_SHARED, false);
}

static void writer_and_readers(void *state)
{
    setup(state);
    add(state, 0, 0, AMUTEX_EXCLUSIVE, true);
    add(state, 1, 1, AMUTEX_SHARED, false);
    add(state, 2, 2, AMUTEX_SHARED, false);
}

static void executor_1(void *arg)
{
    struct state *state = arg;

    model_executor_run(&state->executors[0]);
}

static void executor_2(void *arg)
{
    struct state *state = arg;

    model_executor_run(&state->executors[1]);
}

static void executor_3(void *arg)
{
    struct state *state = arg;

    model_executor_run(&state->executors[2]);
}

static void lock_and_use(struct state *state, enum amutex_mode mode)
{
    amutex_lock_blocking(&state->mutex, mode);
    use(state, mode);
    amutex_unlock(&state->mutex, mode);
}

static void thread_writes(void *state)
{
    lock_and_use(state, AMUTEX_EXCLUSIVE);
}

static void thread_reads(void *state)
{
    lock_and_use(state, AMUTEX_SHARED);
}

static void thread_writes_in_time(void *arg)
{
    struct state *state = arg;

    if (amutex_lock_blocking_until(&state->mutex, AMUTEX_EXCLUSIVE, 1) < 0)
        return;
    use(state, AMUTEX_EXCLUSIVE);
    amutex_unlock(&state->mutex, AMUTEX_EXCLUSIVE);
}

static void thread_tries(void *arg)
{
    struct state *state = arg;

    if (!amutex_try_lock(&state->mutex, AMUTEX_EXCLUSIVE))
        return;
    use(state, AMUTEX_EXCLUSIVE);
    amutex_unlock(&state->mutex, AMUTEX_EXCLUSIVE);
}

static void is_idle(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(state->mutex.state == 0);
    MODEL_CHECK(waitlist_is_empty(&state->mutex.waiters));
}

#define AMUTEX(title, what, prepare, ...)                                           \
    {                                                                               \
        .name = "amutex/" title, .about = what, .state_size = sizeof(struct state), \
        .setup = prepare, .finish = is_idle, __VA_ARGS__                            \
    }
#define THREADS(...) .threads = {__VA_ARGS__}

const struct scenario amutex_scenarios[] = {
    AMUTEX("threads", "two threads", setup,
           THREADS({"one", thread_writes}, {"two", thread_writes})),
    AMUTEX("threads-rw", "a thread that writes, one that reads", setup,
           THREADS({"writer", thread_writes}, {"reader", thread_reads})),
    AMUTEX(
        "threads-rw-3", "a thread that writes, two that read", setup,
        THREADS({"writer", thread_writes}, {"reader 1", thread_reads}, {"reader 2", thread_reads})),
    AMUTEX("threads-timeout", "a thread whose time runs out", setup,
           THREADS({"one", thread_writes}, {"two", thread_writes_in_time})),
    AMUTEX("threads-try", "a thread that only tries", setup,
           THREADS({"one", thread_writes}, {"tries", thread_tries})),
    AMUTEX("tasks", "tasks of two executors", writers,
           THREADS({"task 1", executor_1}, {"task 2", executor_2})),
    AMUTEX("tasks-cancel", "... that cancel when they wait", writers_that_cancel,
           THREADS({"task 1", executor_1}, {"task 2", executor_2})),
    AMUTEX("task-and-thread", "a task that cancels and a thread", writers_that_cancel,
           THREADS({"task", executor_1}, {"thread", thread_writes})),
    AMUTEX("tasks-two-and-one", "two tasks here, of which one cancels, and one there", two_and_one,
           THREADS({"tasks 1, 2", executor_1}, {"task 3", executor_2})),
    AMUTEX("tasks-rw", "a reader and a writer that cancel here, a reader there", readers_and_writer,
           THREADS({"tasks 1, 2", executor_1}, {"task 3", executor_2})),
    AMUTEX("tasks-and-thread", "two tasks, of which one cancels, and a thread", one_cancels,
           THREADS({"task 1", executor_1}, {"task 2", executor_2}, {"thread", thread_writes})),
    AMUTEX("tasks-3", "tasks of three executors", writers,
           THREADS({"task 1", executor_1}, {"task 2", executor_2}, {"task 3", executor_3})),
    AMUTEX("tasks-3-cancel", "... that cancel when they wait", writers_that_cancel,
           THREADS({"task 1", executor_1}, {"task 2", executor_2}, {"task 3", executor_3})),
    AMUTEX("tasks-rw-3", "a writer and two readers", writer_and_readers,
           THREADS({"writer", executor_1}, {"reader 1", executor_2}, {"reader 2", executor_3})),
    {0},
};
