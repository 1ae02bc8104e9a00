/* The channel: items in order, none lost or doubled, whoever cancels or closes. */
#include "sync/channel.h"

#include <errno.h>

#include "scenarios/scenarios.h"
#include "tasks.h"

enum { ITEMS = 2 };

struct party {
    struct user user;
    struct state *state;
    union {
        struct channel_send send;
        struct channel_recv recv;
    } on;
    unsigned item;
};

struct state {
    struct channel_compact channel;
    unsigned room[ITEMS];
    unsigned payload[ITEMS + 1]; /* written before the item that names it goes in */
    unsigned sent, received, last;
    bool stays_open; /* when the receiver gives up */
    unsigned first;  /* that the sender sends; those before are inside at first */
    struct party sender, receiver, other;
    struct executor executors[2];
};

static void note_received(struct state *state, unsigned item)
{
    MODEL_CHECK(item > state->last);
    MODEL_CHECK(state->payload[item] == item);
    state->last = item;
    state->received++;
}

static bool sender_step(struct user *user)
{
    struct party *const party = container_of(user, struct party, user);
    struct state *const state = party->state;

    if (user->stage >= state->first) {
        state->sent += party->on.send.result == 0;
        if (party->on.send.result < 0 || user->stage == ITEMS) {
            channel_close(&state->channel);
            return false;
        }
    }
    user->stage = user->stage ? user->stage + 1 : state->first;
    party->item = user->stage;
    state->payload[party->item] = party->item;
    channel_send_start(&party->on.send, &user->task, &state->channel, &party->item);
    user->future = channel_send_future(&party->on.send);
    return true;
}

static bool receiver_step(struct user *user)
{
    struct party *const party = container_of(user, struct party, user);
    struct state *const state = party->state;

    if (user->stage++) {
        if (party->on.recv.result == 0)
            note_received(state, party->item);
        else if (party->on.recv.result == -ECANCELED && !state->stays_open)
            channel_close(&state->channel);
        if (party->on.recv.result < 0)
            return false;
    }
    channel_recv_start(&party->on.recv, &user->task, &state->channel, &party->item);
    user->future = channel_recv_future(&party->on.recv);
    return true;
}

static void add(struct party *party, struct state *state, unsigned thread,
                bool (*step)(struct user *user), bool may_cancel)
{
    *party = (struct party){
        .user = {.step = step,
                 .may_cancel = may_cancel,
                 .futures = &party->on,
                 .futures_size = sizeof(party->on)},
        .state = state,
    };
    user_spawn(&party->user, &state->executors[thread]);
}

static void setup(struct state *state, unsigned first)
{
    channel_init(&state->channel, state->room, sizeof(state->room[0]), 1);
    MODEL_NAME(state->channel.state);
    for (unsigned i = 0; i < 2; i++) {
        model_executor_init(&state->executors[i], i);
        MODEL_NAME(state->executors[i].posted);
    }
    state->first = first;
    for (unsigned item = 1; item < first; item++) {
        state->payload[item] = item;
        state->sent++;
        MODEL_CHECK(channel_try_send(&state->channel, &item) == 0);
    }
    model_name(&state->sender.on.send.waiter.status, sizeof(unsigned), "sender.status");
    model_name(&state->receiver.on.recv.waiter.status, sizeof(unsigned), "receiver.status");
}

static void empty(void *state)
{
    setup(state, 1);
}

static void full(void *state)
{
    setup(state, 2);
}

static void add_both(struct state *state, bool sender_cancels, bool receiver_cancels)
{
    add(&state->sender, state, 0, sender_step, sender_cancels);
    add(&state->receiver, state, 1, receiver_step, receiver_cancels);
}

static void full_tasks(void *state)
{
    setup(state, 2);
    add_both(state, false, false);
}

static void full_sender_cancels(void *state)
{
    setup(state, 2);
    add_both(state, true, false);
}

static void full_receiver_cancels(void *state)
{
    setup(state, 2);
    add_both(state, false, true);
}

static void empty_tasks(void *state)
{
    setup(state, 1);
    add_both(state, false, false);
}

static void empty_all_cancel(void *state)
{
    setup(state, 1);
    add_both(state, true, true);
}

static void queue(struct party *party)
{
    struct task *task = &party->user.task;

    MODEL_CHECK(task->type->poll(task) == TASK_PENDING);
}

static void one_item_of_two_receivers(void *arg)
{
    struct state *state = arg;

    setup(state, 1);
    state->first = ITEMS;
    state->stays_open = true;
    add(&state->other, state, 1, receiver_step, false);
    add(&state->receiver, state, 1, receiver_step, false);
    /* The item is for the one that is polled last. */
    queue(&state->receiver);
    queue(&state->other);
    state->receiver.user.may_cancel = true;
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

/* An item for the first that waits, then runs. */
static void executor_2_sends(void *arg)
{
    struct state *state = arg;
    unsigned item = state->first;

    state->payload[item] = item;
    state->sent += channel_try_send(&state->channel, &item) == 0;
    model_executor_run(&state->executors[1]);
}

static void closer(void *arg)
{
    struct state *state = arg;

    channel_close(&state->channel);
}

static void thread_sends(void *arg)
{
    struct state *state = arg;

    for (unsigned item = state->first; item <= ITEMS; item++) {
        state->payload[item] = item;
        if (channel_send_blocking(&state->channel, &item) < 0)
            break;
        state->sent++;
    }
    channel_close(&state->channel);
}

static void thread_receives(void *arg)
{
    struct state *state = arg;
    unsigned item;

    while (channel_recv_blocking(&state->channel, &item) == 0)
        note_received(state, item);
}

static void thread_receives_in_time(void *arg)
{
    struct state *state = arg;
    unsigned item;

    while (channel_recv_blocking_until(&state->channel, &item, 1) == 0)
        note_received(state, item);
    channel_close(&state->channel);
}

static void is_balanced(void *arg)
{
    struct state *state = arg;

    MODEL_CHECK(state->received + state->channel.count == state->sent);
    MODEL_CHECK(state->channel.state == CHANNEL_CLOSED);
    MODEL_CHECK(waitlist_is_empty(&state->channel.senders));
    MODEL_CHECK(waitlist_is_empty(&state->channel.receivers));
    MODEL_CHECK(!state->channel.claimed);
}

/* The receiver that did not give up has seen the end. */
static void is_empty(void *arg)
{
    struct state *state = arg;

    is_balanced(arg);
    MODEL_CHECK(!state->channel.count);
}

#define CHANNEL(title, what, prepare, ...)                                           \
    {                                                                                \
        .name = "channel/" title, .about = what, .state_size = sizeof(struct state), \
        .setup = prepare, .finish = is_balanced, __VA_ARGS__                         \
    }
#define THREADS(...) .threads = {__VA_ARGS__}

const struct scenario channel_scenarios[] = {
    CHANNEL("threads", "two threads, no room at first", full,
            THREADS({"sender", thread_sends}, {"receiver", thread_receives})),
    CHANNEL("threads-timeout", "a receiver whose time runs out", full,
            THREADS({"sender", thread_sends}, {"receiver", thread_receives_in_time})),
    CHANNEL("tasks", "two tasks, no room at first", full_tasks,
            THREADS({"sender", executor_1}, {"receiver", executor_2})),
    CHANNEL("sender-cancels", "... and the sender cancels", full_sender_cancels,
            THREADS({"sender", executor_1}, {"receiver", executor_2})),
    CHANNEL("receiver-cancels", "... and the receiver cancels", full_receiver_cancels,
            THREADS({"sender", executor_1}, {"receiver", executor_2})),
    CHANNEL("threads-empty", "two threads, nothing inside at first", empty,
            THREADS({"sender", thread_sends}, {"receiver", thread_receives})),
    CHANNEL("tasks-empty", "two tasks", empty_tasks,
            THREADS({"sender", executor_1}, {"receiver", executor_2})),
    CHANNEL("tasks-cancel", "... that both cancel", empty_all_cancel,
            THREADS({"sender", executor_1}, {"receiver", executor_2})),
    {
        .name = "channel/claim-cancels",
        .about = "two receivers, an item for one, which cancels; a close at any time",
        .state_size = sizeof(struct state),
        .setup = one_item_of_two_receivers,
        .finish = is_empty,
        THREADS({"closer", closer}, {"sender and receivers", executor_2_sends}),
    },
    {0},
};
