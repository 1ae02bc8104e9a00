#include "exec/inbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "exec/op.h"
#include "fixture.h"

static void open_inbox(struct inbox *inbox)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    cr_assert_geq(fd, 0);
    inbox_init(inbox, fd);
}

/* How often the executor would have been woken. */
static uint64_t wakes(const struct inbox *inbox)
{
    uint64_t count;

    return read(inbox->wake_fd, &count, sizeof(count)) < 0 ? 0 : count;
}

Test(inbox, hands_tasks_over_in_the_order_of_their_posts)
{
    struct inbox inbox;
    struct task tasks[3] = {0};
    struct task *chain;

    open_inbox(&inbox);
    cr_assert_null(inbox_drain(&inbox));
    for (unsigned i = 0; i < 3; i++)
        inbox_post(&inbox, &tasks[i]);
    inbox_post(&inbox, &tasks[1]);
    chain = inbox_drain(&inbox);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(inbox_chain_pop(&chain), &tasks[i]);
    cr_assert_null(inbox_chain_pop(&chain), "posted twice, there once");
    cr_assert(inbox_is_empty(&inbox));
    /* Popped, it can be posted again. */
    inbox_post(&inbox, &tasks[1]);
    chain = inbox_drain(&inbox);
    cr_assert_eq(inbox_chain_pop(&chain), &tasks[1]);
    cr_assert_eq(wakes(&inbox), 0, "nobody slept");
}

Test(inbox, the_first_post_to_a_sleeper_wakes_it_and_the_others_do_not)
{
    struct inbox inbox;
    struct task tasks[3] = {0};

    open_inbox(&inbox);
    cr_assert(inbox_prepare_wait(&inbox));
    for (unsigned i = 0; i < 3; i++)
        inbox_post(&inbox, &tasks[i]);
    cr_assert_eq(wakes(&inbox), 1);
    inbox_finish_wait(&inbox);
    inbox_post_stop(&inbox);
    cr_assert_eq(wakes(&inbox), 0);
}

Test(inbox, a_push_leaves_the_wake_up_to_the_alert)
{
    struct inbox inbox;
    struct task task = {0};
    struct task *chain;

    open_inbox(&inbox);
    cr_assert(inbox_prepare_wait(&inbox));
    cr_assert(inbox_push(&inbox, &task));
    cr_assert_eq(wakes(&inbox), 0);
    cr_assert_not(inbox_push(&inbox, &task), "there already: whoever put it there alerts");
    inbox_alert(&inbox);
    cr_assert_eq(wakes(&inbox), 1);
    inbox_finish_wait(&inbox);
    chain = inbox_drain(&inbox);
    cr_assert_eq(inbox_chain_pop(&chain), &task);
}

Test(inbox, a_post_before_the_sleep_forbids_it)
{
    struct inbox inbox;
    struct task task = {0};
    struct task *chain;

    open_inbox(&inbox);
    inbox_post(&inbox, &task);
    cr_assert_not(inbox_prepare_wait(&inbox));
    cr_assert_eq(atomic_load(&inbox.state), INBOX_PROCESSING);
    chain = inbox_drain(&inbox);
    cr_assert_eq(inbox_chain_pop(&chain), &task);
    cr_assert(inbox_prepare_wait(&inbox));
}

Test(inbox, a_stop_wakes_and_forbids_the_sleep_until_it_is_taken)
{
    struct inbox inbox;

    open_inbox(&inbox);
    cr_assert(inbox_prepare_wait(&inbox));
    inbox_post_stop(&inbox);
    cr_assert_eq(wakes(&inbox), 1);
    inbox_finish_wait(&inbox);
    cr_assert_not(inbox_is_empty(&inbox));
    cr_assert_not(inbox_prepare_wait(&inbox));
    cr_assert(inbox_take_stop(&inbox));
    cr_assert_not(inbox_take_stop(&inbox));
    cr_assert(inbox_prepare_wait(&inbox));
}

/* ---- with real threads ---- */

/* Counts what other threads post, until the main thread says that they have ended. */
struct waiter {
    struct task task;
    atomic_uint posts;
    unsigned seen;
    bool finish;
};

static enum task_verdict waiter_poll(struct task *task)
{
    struct waiter *const waiter = container_of(task, struct waiter, task);

    waiter->seen = atomic_load_explicit(&waiter->posts, memory_order_relaxed);
    return waiter->finish ? TASK_DONE : TASK_PENDING;
}

static const struct task_type waiter_type = {.name = "waiter", .poll = waiter_poll};

enum { THREADS = 4, WAITERS = 50, POSTS = 20000 };

struct poster {
    struct waiter *waiters;
    atomic_uint *threads_left;
    unsigned seed;
};

static void *poster_main(void *arg)
{
    struct poster *poster = arg;

    for (unsigned i = 0; i < POSTS; i++) {
        struct waiter *waiter;

        poster->seed = poster->seed * 1103515245 + 12345;
        waiter = &poster->waiters[(poster->seed >> 16) % WAITERS];
        atomic_fetch_add_explicit(&waiter->posts, 1, memory_order_relaxed);
        task_wake(&waiter->task);
    }
    if (atomic_fetch_sub(poster->threads_left, 1) == 1)
        executor_stop(poster->waiters[0].task.executor);
    return NULL;
}

static void post_from_many_threads(uint32_t poll_us)
{
    const struct executor_config config = {.poll_us_max = poll_us};
    struct executor *executor = fixture_create(&config);
    struct waiter *waiters = calloc(WAITERS, sizeof(*waiters));
    struct poster posters[THREADS];
    pthread_t threads[THREADS];
    atomic_uint threads_left = THREADS;
    unsigned seen = 0;

    cr_assert_not_null(waiters);
    for (unsigned i = 0; i < WAITERS; i++)
        task_spawn(&waiters[i].task, executor, &waiter_type);
    for (unsigned i = 0; i < THREADS; i++) {
        posters[i] = (struct poster){waiters, &threads_left, i};
        cr_assert_eq(pthread_create(&threads[i], NULL, poster_main, &posters[i]), 0);
    }
    cr_assert_eq(executor_run(executor), 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    /* What was posted right before the stop is still to be seen, without a further wake-up. */
    executor_stop(executor);
    cr_assert_eq(executor_run(executor), 0);
    executor_stop(executor);
    cr_assert_eq(executor_run(executor), 0);
    for (unsigned i = 0; i < WAITERS; i++) {
        cr_assert_eq(waiters[i].seen, atomic_load(&waiters[i].posts), "no post is lost");
        seen += waiters[i].seen;
        waiters[i].finish = true;
        task_wake(&waiters[i].task);
    }
    cr_assert_eq(seen, THREADS * POSTS);
    fixture_finish(executor);
    free(waiters);
}

Test(inbox, posts_of_many_threads_to_many_tasks_are_not_lost_asleep, .timeout = 60)
{
    post_from_many_threads(0);
}

Test(inbox, posts_of_many_threads_to_many_tasks_are_not_lost_polling, .timeout = 60)
{
    post_from_many_threads(20);
}

/* Two executors that post to each other, one ball: whoever loses a wake-up hangs. */
struct player {
    struct task task;
    struct player *peer;
    atomic_uint *ball;            /* counts the strokes; the even ones are the first player's */
    pthread_barrier_t *handshake; /* after it nobody posts any more */
    unsigned parity;
    unsigned strokes;
    bool finish;
};

static enum task_verdict player_poll(struct task *task)
{
    struct player *const player = container_of(task, struct player, task);
    unsigned stroke = atomic_load_explicit(player->ball, memory_order_acquire);

    if (player->finish)
        return TASK_DONE;
    if (stroke == player->strokes) {
        executor_stop(task->executor);
    } else if (stroke % 2 == player->parity) {
        atomic_store_explicit(player->ball, stroke + 1, memory_order_release);
        task_wake(&player->peer->task);
        if (stroke + 1 == player->strokes)
            executor_stop(task->executor);
    }
    return TASK_PENDING;
}

static void *player_main(void *arg)
{
    struct player *player = arg;

    cr_assert_eq(executor_run(player->task.executor), 0);
    pthread_barrier_wait(player->handshake);
    player->finish = true;
    task_wake(&player->task);
    fixture_finish(player->task.executor);
    return NULL;
}

static void play(uint32_t poll_us, unsigned strokes)
{
    static const struct task_type type = {.name = "player", .poll = player_poll};
    const struct executor_config config = {.poll_us_max = poll_us};
    atomic_uint ball = 0;
    pthread_barrier_t handshake;
    struct player players[2];
    pthread_t threads[2];

    cr_assert_eq(pthread_barrier_init(&handshake, NULL, 2), 0);
    for (unsigned i = 0; i < 2; i++) {
        players[i] = (struct player){.peer = &players[!i],
                                     .ball = &ball,
                                     .handshake = &handshake,
                                     .parity = i,
                                     .strokes = strokes};
        task_spawn(&players[i].task, fixture_create(&config), &type);
    }
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, player_main, &players[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(atomic_load(&ball), strokes);
    pthread_barrier_destroy(&handshake);
}

Test(inbox, a_wake_up_during_the_way_to_sleep_is_not_lost, .timeout = 60)
{
    play(0, 20000);
}

Test(inbox, a_wake_up_between_polling_and_sleep_is_not_lost, .timeout = 60)
{
    /* About as long as the other side needs. */
    play(2, 20000);
}
