/* The executor's inbox: posts from other threads, and going to sleep without losing one. */
#include "exec/inbox.h"

#include "scenarios/scenarios.h"

enum { POSTERS = 3, SHARED_TASK = POSTERS, TASKS };

struct state {
    struct inbox inbox;
    struct task tasks[TASKS];
    unsigned news[POSTERS]; /* by poster: what it wants to tell, written before it posts */
    unsigned seen[POSTERS]; /* by the executor, when it last ran a task */
    atomic_uint rumours[2]; /* of two posters of the same task */
    bool heard[2];
    bool is_over; /* written before a stop */
    bool stopped;
    uint64_t fd_seen;
};

static void setup(void *arg)
{
    struct state *state = arg;

    inbox_init(&state->inbox, MODEL_FD);
    model_hint(&state->inbox.poster_cpu);
    MODEL_NAME(state->inbox.head);
    MODEL_NAME(state->inbox.state);
    MODEL_NAME(state->inbox.stop);
    for (int i = 0; i < TASKS; i++)
        model_name(&state->tasks[i].posted, 1, "task.posted");
}

/* ---- the executor: what executor_run does about its inbox ---- */

static void run_task(struct state *state, unsigned number)
{
    if (number < POSTERS) {
        state->seen[number] = state->news[number];
        return;
    }
    for (int i = 0; i < 2; i++)
        if (atomic_load_explicit(&state->rumours[i], memory_order_relaxed))
            state->heard[i] = true;
}

static bool turn(struct state *state)
{
    struct task *chain = inbox_drain(&state->inbox), *task;
    bool found = chain;

    while ((task = inbox_chain_pop(&chain)))
        run_task(state, (unsigned)(task - state->tasks));
    if (inbox_take_stop(&state->inbox)) {
        MODEL_CHECK(state->is_over);
        state->stopped = found = true;
    }
    return found;
}

static void run(struct state *state, bool (*is_done)(const struct state *state))
{
    while (!is_done(state)) {
        if (turn(state) || !inbox_prepare_wait(&state->inbox))
            continue;
        state->fd_seen = model_fd_wait(MODEL_FD, state->fd_seen);
        inbox_finish_wait(&state->inbox);
    }
}

#define EXECUTOR(name, condition)                         \
    static bool name##_is_done(const struct state *state) \
    {                                                     \
        return condition;                                 \
    }                                                     \
    static void name(void *state)                         \
    {                                                     \
        run(state, name##_is_done);                       \
    }

EXECUTOR(wants_one, state->seen[0])
EXECUTOR(wants_two, state->seen[0] && state->seen[1])
EXECUTOR(wants_both, state->heard[0] && state->heard[1])
EXECUTOR(wants_three, state->seen[0] && state->seen[1] && state->seen[2])
EXECUTOR(wants_stop, state->stopped)
EXECUTOR(wants_one_and_stop, state->seen[0] && state->stopped)

/* ---- posters ---- */

static void post(struct state *state, int number)
{
    state->news[number]++;
    inbox_post(&state->inbox, &state->tasks[number]);
}

static void post_first(void *state)
{
    post(state, 0);
}

static void post_second(void *state)
{
    post(state, 1);
}

static void post_third(void *state)
{
    post(state, 2);
}

static void post_shared(struct state *state, int number)
{
    atomic_store_explicit(&state->rumours[number], 1, memory_order_relaxed);
    inbox_post(&state->inbox, &state->tasks[SHARED_TASK]);
}

static void post_shared_first(void *state)
{
    post_shared(state, 0);
}

static void post_shared_second(void *state)
{
    post_shared(state, 1);
}

static void post_stop(void *arg)
{
    struct state *state = arg;

    state->is_over = true;
    inbox_post_stop(&state->inbox);
}

#define INBOX(title, what, ...)                                                                    \
    {                                                                                              \
        .name = "inbox/" title, .about = what, .state_size = sizeof(struct state), .setup = setup, \
        __VA_ARGS__                                                                                \
    }
#define THREADS(...) .threads = {__VA_ARGS__}

const struct scenario inbox_scenarios[] = {
    INBOX("one", "one post", THREADS({"executor", wants_one}, {"poster", post_first})),
    INBOX("two", "two posters",
          THREADS({"executor", wants_two}, {"poster 1", post_first}, {"poster 2", post_second})),
    INBOX("same", "two posters of one task",
          THREADS({"executor", wants_both}, {"poster 1", post_shared_first},
                  {"poster 2", post_shared_second})),
    INBOX("three", "three posters",
          THREADS({"executor", wants_three}, {"poster 1", post_first}, {"poster 2", post_second},
                  {"poster 3", post_third})),
    INBOX("stop", "a stop, and what the stopper wrote",
          THREADS({"executor", wants_stop}, {"stopper", post_stop})),
    INBOX(
        "post-and-stop", "a post and a stop",
        THREADS({"executor", wants_one_and_stop}, {"poster", post_first}, {"stopper", post_stop})),
    {0},
};
