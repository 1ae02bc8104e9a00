/* The semaphore: as a mutex of one permit, and with waiters that want different amounts. */
#include "sync/semaphore.h"

#include "scenarios/scenarios.h"
#include "tasks.h"

enum { USERS = 2 };

struct taker {
    struct user user;
    struct state *state;
    struct semaphore_acquire acquire;
    uint32_t permits;
};

struct state {
    struct semaphore_compact semaphore;
    uint32_t permits; /* of the semaphore, at first and at the end */
    unsigned guarded; /* by all permits */
    struct taker takers[USERS];
    struct executor executors[USERS];
};

static void use(struct state *state, uint32_t permits)
{
    if (permits == state->permits)
        state->guarded++;
}

static bool taker_step(struct user *user)
{
    struct taker *const taker = container_of(user, struct taker, user);

    if (!user->stage++) {
        semaphore_acquire_start(&taker->acquire, &user->task, &taker->state->semaphore,
                                taker->permits);
        user->future = semaphore_acquire_future(&taker->acquire);
        return true;
    }
    if (taker->acquire.result == 0) {
        use(taker->state, taker->permits);
        semaphore_release(&taker->state->semaphore, taker->permits);
    }
    return false;
}

static void add(struct state *state, unsigned number, unsigned thread, uint32_t permits,
                bool may_cancel)
{
    struct taker *taker = &state->takers[number];

    *taker = (struct taker){
        .user = {.step = taker_step,
                 .may_cancel = may_cancel,
                 .futures = &taker->acquire,
                 .futures_size = sizeof(taker->acquire)},
        .state = state,
        .permits = permits,
    };
    user_spawn(&taker->user, &state->executors[thread]);
}

static void setup(struct state *state, uint32_t permits)
{
    state->permits = permits;
    semaphore_init(&state->semaphore, permits);
    MODEL_NAME(state->semaphore.state);
    for (unsigned i = 0; i < USERS; i++) {
        model_executor_init(&state->executors[i], i);
        MODEL_NAME(state->executors[i].posted);
        model_name(&state->takers[i].acquire.waiter.status, sizeof(unsigned), "waiter.status");
    }
}

static void one_permit(void *state)
{
    setup(state, 1);
}

static void as_a_mutex(void *state)
{
    setup(state, 1);
    add(state, 0, 0, 1, true);
    add(state, 1, 1, 1, false);
}

static void many_and_few(void *state)
{
    setup(state, 2);
    add(state, 0, 0, 2, true);
    add(state, 1, 0, 1, false);
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

static void thread_takes_all(void *arg)
{
    struct state *state = arg;

    semaphore_acquire_blocking(&state->semaphore, state->permits);
    use(state, state->permits);
    semaphore_release(&state->semaphore, state->permits);
}

static void thread_takes_in_time(void *arg)
{
    struct state *state = arg;

    if (semaphore_acquire_blocking_until(&state->semaphore, state->permits, 1) < 0)
        return;
    use(state, state->permits);
    semaphore_release(&state->semaphore, state->permits);
}

static void thread_tries(void *arg)
{
    struct state *state = arg;

    if (!semaphore_try_acquire(&state->semaphore, state->permits))
        return;
    use(state, state->permits);
    semaphore_release(&state->semaphore, state->permits);
}

static void is_idle(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(semaphore_permits(&state->semaphore) == state->permits);
    MODEL_CHECK(!(state->semaphore.state & (STATE_SPINLOCK | STATE_HAS_WAITERS)));
    MODEL_CHECK(waitlist_is_empty(&state->semaphore.waiters));
}

#define SEMAPHORE(title, what, prepare, ...)                                           \
    {                                                                                  \
        .name = "semaphore/" title, .about = what, .state_size = sizeof(struct state), \
        .setup = prepare, .finish = is_idle, __VA_ARGS__                               \
    }
#define THREADS(...) .threads = {__VA_ARGS__}

const struct scenario semaphore_scenarios[] = {
    SEMAPHORE("threads", "two threads, one permit", one_permit,
              THREADS({"one", thread_takes_all}, {"two", thread_takes_all})),
    SEMAPHORE("threads-timeout", "a thread whose time runs out", one_permit,
              THREADS({"one", thread_takes_all}, {"two", thread_takes_in_time})),
    SEMAPHORE("threads-try", "a thread that only tries", one_permit,
              THREADS({"one", thread_takes_all}, {"tries", thread_tries})),
    SEMAPHORE("tasks", "two tasks, one permit, one cancels", as_a_mutex,
              THREADS({"task 1", executor_1}, {"task 2", executor_2})),
    SEMAPHORE("many-and-few", "a task that wants many and cancels, one that wants few, a thread",
              many_and_few, THREADS({"tasks", executor_1}, {"thread", thread_takes_all})),
    {0},
};
