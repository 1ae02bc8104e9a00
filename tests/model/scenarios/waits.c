/*
 * Event, notify, wait group, barrier and once, each between two tasks on executors of their own and
 * a thread: nobody waits for ever whoever cancels, what was written before is seen after, and the
 * state is idle at the end.
 */
#include <errno.h>

#include "scenarios/scenarios.h"
#include "sync/barrier.h"
#include "sync/event.h"
#include "sync/notify.h"
#include "sync/once.h"
#include "sync/wait_group.h"
#include "tasks.h"

enum { USERS = 2 };

struct waiting {
    struct user user;
    struct state *state;
    unsigned number;
    union {
        struct event_wait event;
        struct notify_wait notify;
        struct wait_group_wait group;
        struct barrier_wait barrier;
        struct once_enter once;
    } on;
    /* Beside the wait, and gone with it: for primitives that may live in the waiter's frame. */
    union {
        struct event_compact event;
        struct wait_group_compact group;
    } own;
};

struct state {
    struct event_compact event;
    struct notify_compact notify;
    struct barrier_compact barrier;
    struct once_compact once;
    unsigned written[USERS + 1]; /* by each before it lets others go on */
    unsigned lasts;
    struct waiting waiting[USERS];
    struct executor executors[USERS];
};

static struct waiting *waiting_of(struct user *user)
{
    return container_of(user, struct waiting, user);
}

static void setup(struct state *state)
{
    for (unsigned i = 0; i < USERS; i++) {
        model_executor_init(&state->executors[i], i);
        MODEL_NAME(state->executors[i].posted);
        model_name(&state->waiting[i].on.event.waiter.status, sizeof(unsigned), "waiter.status");
    }
}

/* The task `number`, on an executor. */
static void add(struct state *state, unsigned number, unsigned executor, bool may_cancel,
                bool (*step)(struct user *user))
{
    struct waiting *waiting = &state->waiting[number];

    waiting->user = (struct user){
        .step = step,
        .may_cancel = may_cancel,
        .futures = &waiting->on,
        .futures_size = sizeof(waiting->on) + sizeof(waiting->own),
    };
    waiting->state = state;
    waiting->number = number;
    user_spawn(&waiting->user, &state->executors[executor]);
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

/* ---- event ---- */

static bool event_step(struct user *user)
{
    struct waiting *const waiting = waiting_of(user);

    if (user->stage++) {
        MODEL_CHECK(waiting->on.event.result == (user->was_cancelled ? -ECANCELED : 0));
        if (!waiting->on.event.result)
            MODEL_CHECK(waiting->state->written[0] == 1);
        return false;
    }
    event_wait_start(&waiting->on.event, &user->task, &waiting->state->event);
    user->future = event_wait_future(&waiting->on.event);
    return true;
}

static void event_setup(void *arg)
{
    struct state *state = arg;

    setup(state);
    MODEL_NAME(state->event.state);
    add(state, 0, 0, true, event_step);
    add(state, 1, 0, false, event_step);
}

static void thread_sets(void *arg)
{
    struct state *state = arg;

    state->written[0] = 1;
    event_set(&state->event);
}

static void event_is_idle(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(state->event.state == EVENT_SET);
    MODEL_CHECK(waitlist_is_empty(&state->event.waiters));
}

static bool own_event_step(struct user *user)
{
    struct waiting *const waiting = waiting_of(user);

    if (user->stage++)
        return false;
    event_wait_start(&waiting->on.event, &user->task, &waiting->own.event);
    user->future = event_wait_future(&waiting->on.event);
    return true;
}

static void own_event_setup(void *arg)
{
    struct state *state = arg;

    setup(state);
    add(state, 0, 0, false, own_event_step);
}

static void thread_sets_own(void *arg)
{
    struct state *state = arg;

    event_set(&state->waiting[0].own.event);
}

/* ---- notify: one wake-up, which whoever has it passes on ---- */

static bool notify_step(struct user *user)
{
    struct waiting *const waiting = waiting_of(user);
    struct state *const state = waiting->state;

    if (user->stage++) {
        if (waiting->on.notify.result < 0)
            return false;
        MODEL_CHECK(state->written[0] == 1);
        notify_one(&state->notify);
        return false;
    }
    notify_wait_start(&waiting->on.notify, &user->task, &state->notify);
    user->future = notify_wait_future(&waiting->on.notify);
    return true;
}

static void notify_setup(void *arg)
{
    struct state *state = arg;

    setup(state);
    MODEL_NAME(state->notify.state);
    add(state, 0, 0, true, notify_step);
    add(state, 1, 0, false, notify_step);
}

static void thread_notifies(void *arg)
{
    struct state *state = arg;

    state->written[0] = 1;
    notify_one(&state->notify);
}

static void notify_has_its_permit(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(state->notify.state == NOTIFY_PERMIT);
    MODEL_CHECK(waitlist_is_empty(&state->notify.waiters));
}

/* ---- wait group, in the frame of the one that waits ---- */

static bool group_step(struct user *user)
{
    struct waiting *const waiting = waiting_of(user);
    struct state *const state = waiting->state;

    if (user->stage && !user->was_cancelled) {
        MODEL_CHECK(state->written[0] == 1 && state->written[1] == 1);
        MODEL_CHECK(waiting->own.group.state == 0);
        return false;
    }
    /* It gives up once, and waits after all. */
    user->may_cancel = user->may_cancel && !user->stage;
    user->stage = 1;
    wait_group_wait_start(&waiting->on.group, &user->task, &waiting->own.group);
    user->future = wait_group_wait_future(&waiting->on.group);
    return true;
}

static void group_begin(struct state *state, uint32_t count, bool may_cancel)
{
    setup(state);
    wait_group_add(&state->waiting[0].own.group, count);
    MODEL_NAME(state->waiting[0].own.group.state);
    add(state, 0, 0, may_cancel, group_step);
}

static void group_of_two(void *arg)
{
    group_begin(arg, 2, false);
}

static void group_cancelled(void *arg)
{
    struct state *state = arg;

    state->written[1] = 1;
    group_begin(state, 1, true);
}

static void thread_is_done_1(void *arg)
{
    struct state *state = arg;

    state->written[0] = 1;
    wait_group_done(&state->waiting[0].own.group);
}

static void thread_is_done_2(void *arg)
{
    struct state *state = arg;

    state->written[1] = 1;
    wait_group_done(&state->waiting[0].own.group);
}

/* ---- barrier ---- */

static void pass(struct state *state, int result)
{
    for (unsigned i = 0; i < state->barrier.parties; i++)
        MODEL_CHECK(state->written[i] == 1);
    if (result == BARRIER_LAST)
        state->lasts++;
}

static bool barrier_step(struct user *user)
{
    struct waiting *const waiting = waiting_of(user);
    struct state *const state = waiting->state;

    if (user->stage && waiting->on.barrier.result >= 0) {
        pass(state, waiting->on.barrier.result);
        return false;
    }
    user->may_cancel = user->may_cancel && !user->stage;
    user->stage = 1;
    state->written[waiting->number] = 1;
    barrier_wait_start(&waiting->on.barrier, &user->task, &state->barrier);
    user->future = barrier_wait_future(&waiting->on.barrier);
    return true;
}

static void barrier_begin(struct state *state, uint32_t parties)
{
    setup(state);
    barrier_init(&state->barrier, parties);
    MODEL_NAME(state->barrier.state);
    add(state, 0, 0, true, barrier_step);
}

static void barrier_tasks(void *arg)
{
    struct state *state = arg;

    barrier_begin(state, 2);
    add(state, 1, 1, false, barrier_step);
}

static void barrier_three(void *arg)
{
    struct state *state = arg;

    barrier_begin(state, 3);
    add(state, 1, 0, false, barrier_step);
}

static void thread_comes(void *arg)
{
    struct state *state = arg;

    state->written[USERS] = 1;
    pass(state, barrier_wait_blocking(&state->barrier));
}

static void barrier_is_idle(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(state->barrier.state == 0);
    MODEL_CHECK(state->barrier.waiting == 0);
    MODEL_CHECK(waitlist_is_empty(&state->barrier.waiters));
    MODEL_CHECK(state->lasts == 1);
}

/* ---- once ---- */

static void be_through(struct state *state, int result)
{
    if (result == ONCE_INITIALISE) {
        state->written[0]++;
        once_complete(&state->once);
    }
    MODEL_CHECK(state->written[0] == 1);
}

/* The first task to have it gives it up. */
static bool once_step(struct user *user)
{
    struct waiting *const waiting = waiting_of(user);
    struct state *const state = waiting->state;

    if (user->stage++) {
        if (waiting->on.once.result == ONCE_INITIALISE && waiting->number == 0)
            once_abandon(&state->once);
        else if (waiting->on.once.result >= 0)
            be_through(state, waiting->on.once.result);
        return false;
    }
    once_enter_start(&waiting->on.once, &user->task, &state->once);
    user->future = once_enter_future(&waiting->on.once);
    return true;
}

static void once_begin(struct state *state)
{
    setup(state);
    MODEL_NAME(state->once.state);
}

static void once_abandoned(void *arg)
{
    struct state *state = arg;

    once_begin(state);
    add(state, 0, 0, false, once_step);
    add(state, 1, 0, false, once_step);
}

static void once_cancelled(void *arg)
{
    struct state *state = arg;

    once_begin(state);
    add(state, 1, 0, true, once_step);
}

static void thread_enters(void *arg)
{
    struct state *state = arg;

    be_through(state, once_enter_blocking(&state->once));
}

static void thread_abandons_first(void *arg)
{
    struct state *state = arg;
    int result = once_enter_blocking(&state->once);

    if (result == ONCE_INITIALISE) {
        once_abandon(&state->once);
        result = once_enter_blocking(&state->once);
    }
    be_through(state, result);
}

static void once_is_complete_and_idle(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(state->once.state == ONCE_COMPLETE);
    MODEL_CHECK(waitlist_is_empty(&state->once.waiters));
}

#define WAIT(title, what, prepare, check, ...)                                              \
    {                                                                                       \
        .name = title, .about = what, .state_size = sizeof(struct state), .setup = prepare, \
        .finish = check, .threads = {                                                       \
            __VA_ARGS__                                                                     \
        }                                                                                   \
    }

const struct scenario waits_scenarios[] = {
    WAIT("event/tasks", "two tasks, one cancels", event_setup, event_is_idle, {"tasks", executor_1},
         {"sets", thread_sets}),
    WAIT("event/goes", "an event in the frame of the task that waits", own_event_setup, NULL,
         {"task", executor_1}, {"sets", thread_sets_own}),
    WAIT("notify/tasks", "two tasks, one cancels, the other passes it on", notify_setup,
         notify_has_its_permit, {"tasks", executor_1}, {"notifies", thread_notifies}),
    WAIT("wait_group/goes", "in the frame of the task that waits for two threads", group_of_two,
         NULL, {"task", executor_1}, {"one", thread_is_done_1}, {"two", thread_is_done_2}),
    WAIT("wait_group/cancel", "in the frame of a task that cancels and waits again",
         group_cancelled, NULL, {"task", executor_1}, {"one", thread_is_done_1}),
    WAIT("barrier/tasks", "two tasks, one cancels and comes again", barrier_tasks, barrier_is_idle,
         {"task 1", executor_1}, {"task 2", executor_2}),
    WAIT("barrier/three", "the same, and a thread", barrier_three, barrier_is_idle,
         {"tasks", executor_1}, {"thread", thread_comes}),
    WAIT("once/abandon", "a task that abandons, one that waits, a thread", once_abandoned,
         once_is_complete_and_idle, {"tasks", executor_1}, {"thread", thread_enters}),
    WAIT("once/cancel", "a task that cancels, a thread that abandons and comes again",
         once_cancelled, once_is_complete_and_idle, {"task", executor_1},
         {"thread", thread_abandons_first}),
    {0},
};
