/*
 * The condition variable. Waiters want a token that is guarded by the mutex; each that gets it puts
 * it back and notifies, so that a notification that is lost leaves somebody asleep for ever.
 */
#include "sync/acond.h"

#include <errno.h>

#include "scenarios/scenarios.h"
#include "tasks.h"

enum { WAITERS = 2 };

struct waiting {
    struct user user;
    struct state *state;
    union {
        struct amutex_lock lock;
        struct acond_wait wait;
        struct acond_wait_timeout timed;
    } on;
    bool is_timed; /* and gives up when its time is up */
};

struct state {
    struct amutex_compact mutex;
    struct acond_compact cond;
    bool token;
    bool for_all;
    bool is_late;             /* the notifier: after both wait */
    _Atomic uint64_t waiting; /* have begun to, then */
    struct waiting waiters[WAITERS];
    struct executor executors[WAITERS];
};

enum { LOCK, WAIT, TIMED_WAIT };

static bool waiter_step(struct user *user)
{
    struct waiting *const waiting = container_of(user, struct waiting, user);
    struct state *const state = waiting->state;

    switch (user->stage) {
    case LOCK:
        user->stage = WAIT;
        amutex_lock_start(&waiting->on.lock, &user->task, &state->mutex, AMUTEX_EXCLUSIVE);
        user->future = amutex_lock_future(&waiting->on.lock);
        return true;
    case TIMED_WAIT:
        if (!user->was_cancelled && waiting->on.timed.result == -ETIMEDOUT) {
            amutex_unlock(&state->mutex, AMUTEX_EXCLUSIVE);
            return false;
        }
        /* fallthrough */
    default:
        if (user->was_cancelled)
            return false;
    }
    if (!state->token && waiting->is_timed) {
        user->stage = TIMED_WAIT;
        acond_wait_timeout_start(&waiting->on.timed, &user->task, &state->cond, &state->mutex,
                                 AMUTEX_EXCLUSIVE, 1);
        user->future = acond_wait_timeout_future(&waiting->on.timed);
        return true;
    }
    if (!state->token) {
        acond_wait_start(&waiting->on.wait, &user->task, &state->cond, &state->mutex,
                         AMUTEX_EXCLUSIVE);
        user->future = acond_wait_future(&waiting->on.wait);
        if (state->is_late) {
            user->may_cancel = waiting == &state->waiters[0];
            atomic_fetch_add_explicit(&state->waiting, 1, memory_order_acq_rel);
        }
        return true;
    }
    amutex_unlock(&state->mutex, AMUTEX_EXCLUSIVE);
    /* The token stays: the next one may have it. */
    if (!state->for_all)
        acond_notify_one(&state->cond);
    return false;
}

static void add(struct state *state, unsigned number, unsigned thread, bool may_cancel)
{
    struct waiting *waiting = &state->waiters[number];

    *waiting = (struct waiting){
        .user = {.step = waiter_step,
                 .may_cancel = may_cancel,
                 .futures = &waiting->on,
                 .futures_size = sizeof(waiting->on)},
        .state = state,
    };
    user_spawn(&waiting->user, &state->executors[thread]);
}

static void setup(void *arg)
{
    struct state *state = arg;

    MODEL_NAME(state->mutex.state);
    MODEL_NAME(state->cond.state);
    for (unsigned i = 0; i < WAITERS; i++) {
        model_executor_init(&state->executors[i], i);
        MODEL_NAME(state->executors[i].posted);
        model_name(&state->waiters[i].on.lock.waiter.status, sizeof(unsigned), "waiter.status");
    }
}

static void one_waiter(void *state)
{
    setup(state);
    add(state, 0, 0, false);
}

static void one_that_cancels(void *state)
{
    setup(state);
    add(state, 0, 0, true);
}

static void one_of_two_cancels(void *state)
{
    setup(state);
    add(state, 0, 0, true);
    add(state, 1, 0, false);
}

static void one_of_two_cancels_for_all(void *arg)
{
    struct state *state = arg;

    one_of_two_cancels(state);
    state->for_all = true;
}

static void one_of_two_has_little_time(void *arg)
{
    struct state *state = arg;

    one_of_two_cancels(state);
    state->waiters[0].is_timed = true;
}

static void first_of_two_cancels_late(void *arg)
{
    struct state *state = arg;

    setup(state);
    state->is_late = true;
    add(state, 0, 0, false);
    add(state, 1, 0, false);
}

static void two_apart(void *state)
{
    setup(state);
    add(state, 0, 0, true);
    add(state, 1, 1, false);
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

static void put_token(struct state *state)
{
    amutex_lock_blocking(&state->mutex, AMUTEX_EXCLUSIVE);
    state->token = true;
    amutex_unlock(&state->mutex, AMUTEX_EXCLUSIVE);
}

static void notifier(void *arg)
{
    struct state *state = arg;

    put_token(state);
    acond_notify_one(&state->cond);
}

static void notifier_inside(void *arg)
{
    struct state *state = arg;

    amutex_lock_blocking(&state->mutex, AMUTEX_EXCLUSIVE);
    state->token = true;
    acond_notify_one(&state->cond);
    amutex_unlock(&state->mutex, AMUTEX_EXCLUSIVE);
}

static void late_notifier_inside(void *arg)
{
    struct state *state = arg;

    model_wait_more(&state->waiting, WAITERS - 1);
    notifier_inside(state);
}

static void notifier_of_all(void *arg)
{
    struct state *state = arg;

    put_token(state);
    acond_notify_all(&state->cond);
}

static void thread_waits(void *arg)
{
    struct state *state = arg;

    amutex_lock_blocking(&state->mutex, AMUTEX_EXCLUSIVE);
    while (!state->token)
        acond_wait_blocking(&state->cond, &state->mutex, AMUTEX_EXCLUSIVE);
    amutex_unlock(&state->mutex, AMUTEX_EXCLUSIVE);
    acond_notify_one(&state->cond);
}

static void thread_waits_in_time(void *arg)
{
    struct state *state = arg;
    int ret = 0;

    amutex_lock_blocking(&state->mutex, AMUTEX_EXCLUSIVE);
    while (!state->token && !ret)
        ret = acond_wait_blocking_until(&state->cond, &state->mutex, AMUTEX_EXCLUSIVE, 1);
    amutex_unlock(&state->mutex, AMUTEX_EXCLUSIVE);
}

static void is_idle(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(state->mutex.state == 0);
    MODEL_CHECK(state->cond.state == 0);
    MODEL_CHECK(waitlist_is_empty(&state->mutex.waiters));
    MODEL_CHECK(waitlist_is_empty(&state->cond.waiters));
}

#define ACOND(title, what, prepare, ...)                                           \
    {                                                                              \
        .name = "acond/" title, .about = what, .state_size = sizeof(struct state), \
        .setup = prepare, .finish = is_idle, __VA_ARGS__                           \
    }
#define THREADS(...) .threads = {__VA_ARGS__}

const struct scenario acond_scenarios[] = {
    ACOND("task", "a task waits", one_waiter,
          THREADS({"waiter", executor_1}, {"notifier", notifier})),
    ACOND("task-inside", "... and the notifier has the mutex", one_waiter,
          THREADS({"waiter", executor_1}, {"notifier", notifier_inside})),
    ACOND("task-cancel", "a task gives up, whenever it waits", one_that_cancels,
          THREADS({"waiter", executor_1}, {"notifier", notifier})),
    ACOND("thread", "a thread waits", setup,
          THREADS({"waiter", thread_waits}, {"notifier", notifier})),
    ACOND("thread-timeout", "a thread whose time runs out", setup,
          THREADS({"waiter", thread_waits_in_time}, {"notifier", notifier})),
    ACOND("tasks", "two tasks of one executor, of which one cancels", one_of_two_cancels,
          THREADS({"waiters", executor_1}, {"notifier", notifier})),
    ACOND("tasks-late", "... once both wait, and the notifier has the mutex",
          first_of_two_cancels_late,
          THREADS({"waiters", executor_1}, {"notifier", late_notifier_inside})),
    ACOND("tasks-timeout", "... or its time is up", one_of_two_has_little_time,
          THREADS({"waiters", executor_1}, {"notifier", notifier_inside})),
    ACOND("tasks-all", "... and all are notified", one_of_two_cancels_for_all,
          THREADS({"waiters", executor_1}, {"notifier", notifier_of_all})),
    ACOND("tasks-apart", "two tasks of two executors, of which one cancels", two_apart,
          THREADS({"waiter 1", executor_1}, {"waiter 2", executor_2}, {"notifier", notifier})),
    ACOND("task-and-thread", "a task that cancels and a thread", one_that_cancels,
          THREADS({"waiter 1", executor_1}, {"waiter 2", thread_waits}, {"notifier", notifier})),
    {0},
};
