/*
 * One side waits for the other: turns taken by condition variable and by semaphore, and items
 * through a channel. Between tasks of one executor, between two executors, and, as the reference,
 * between two threads.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "bench.h"
#include "sync/acond.h"
#include "sync/channel.h"
#include "sync/semaphore.h"

/* The parameter of all. */
enum { ONE_EXECUTOR = 1, TWO_EXECUTORS };

static uint64_t count_of(const struct bench_size *size, unsigned executors)
{
    return executors == ONE_EXECUTOR ? size->handovers : size->switches;
}

/* Two tasks on one executor, or one on each of two that poll. Nanoseconds. */
static double run_two_tasks(struct task *first, struct task *second, const struct task_type *types,
                            unsigned executors)
{
    struct executor *here = bench_executor(executors == ONE_EXECUTOR ? 0 : BENCH_POLL_US);
    struct executor *there = executors == ONE_EXECUTOR ? here : bench_executor(BENCH_POLL_US);

    task_spawn(first, here, &types[0]);
    task_spawn(second, there, &types[1]);
    return here == there ? bench_run(here) : bench_run_two(here, there);
}

/* ---- condition variable ---- */

struct turns {
    struct amutex mutex;
    struct acond cond;
    unsigned turn; /* guarded */
};

struct player {
    struct task task;
    struct turns *turns;
    unsigned self;
    uint64_t left;
    struct amutex_lock lock;
    struct acond_wait wait;
};

enum { LOCK = 1, WAIT };

static enum task_verdict player_poll(struct task *task)
{
    struct player *const player = container_of(task, struct player, task);
    struct turns *const turns = player->turns;

    ASYNC_BEGIN(task)
        while (player->left--) {
            amutex_lock_start(&player->lock, task, &turns->mutex, AMUTEX_EXCLUSIVE);
            AWAIT(task, LOCK, amutex_lock_poll(&player->lock));
            while (turns->turn != player->self) {
                acond_wait_start(&player->wait, task, &turns->cond, &turns->mutex,
                                 AMUTEX_EXCLUSIVE);
                AWAIT(task, WAIT, acond_wait_poll(&player->wait));
            }
            turns->turn = !player->self;
            acond_notify_one(&turns->cond);
            amutex_unlock(&turns->mutex, AMUTEX_EXCLUSIVE);
        }
        ASYNC_END(task);
}

static double cond_turns(const struct bench_size *size, unsigned executors)
{
    static const struct task_type types[] = {{.name = "first", .poll = player_poll},
                                             {.name = "second", .poll = player_poll}};
    uint64_t each = count_of(size, executors) / 2;
    struct turns turns = {.turn = 0};
    struct player *players = bench_alloc(2, sizeof(*players));
    double ns;

    for (unsigned i = 0; i < 2; i++) {
        players[i].turns = &turns;
        players[i].self = i;
        players[i].left = each;
    }
    ns = run_two_tasks(&players[0].task, &players[1].task, types, executors);
    free(players);
    return ns / (double)(2 * each);
}

struct thread_turns {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    uint64_t each;
    unsigned turn;
};

static void thread_player_run(void *arg, unsigned self)
{
    struct thread_turns *turns = arg;

    for (uint64_t i = 0; i < turns->each; i++) {
        pthread_mutex_lock(&turns->mutex);
        while (turns->turn != self)
            pthread_cond_wait(&turns->cond, &turns->mutex);
        turns->turn = !self;
        pthread_cond_signal(&turns->cond);
        pthread_mutex_unlock(&turns->mutex);
    }
}

static double thread_cond_turns(const struct bench_size *size, unsigned executors)
{
    struct thread_turns turns = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                 .cond = PTHREAD_COND_INITIALIZER,
                                 .each = size->switches / 2};

    (void)executors;
    return bench_threads(2, thread_player_run, &turns) / (double)(2 * turns.each);
}

/* ---- semaphore ---- */

struct taker {
    struct task task;
    struct semaphore *mine, *other;
    uint64_t left;
    struct semaphore_acquire acquire;
};

enum { ACQUIRE = 1 };

static enum task_verdict taker_poll(struct task *task)
{
    struct taker *const taker = container_of(task, struct taker, task);

    ASYNC_BEGIN(task)
        while (taker->left--) {
            semaphore_acquire_start(&taker->acquire, task, taker->mine, 1);
            AWAIT(task, ACQUIRE, semaphore_acquire_poll(&taker->acquire));
            semaphore_release(taker->other, 1);
        }
        ASYNC_END(task);
}

static double semaphore_turns(const struct bench_size *size, unsigned executors)
{
    static const struct task_type types[] = {{.name = "first", .poll = taker_poll},
                                             {.name = "second", .poll = taker_poll}};
    uint64_t each = count_of(size, executors) / 2;
    struct semaphore semaphores[2];
    struct taker *takers = bench_alloc(2, sizeof(*takers));
    double ns;

    for (unsigned i = 0; i < 2; i++) {
        semaphore_init(&semaphores[i], !i);
        takers[i].mine = &semaphores[i];
        takers[i].other = &semaphores[!i];
        takers[i].left = each;
    }
    ns = run_two_tasks(&takers[0].task, &takers[1].task, types, executors);
    free(takers);
    return ns / (double)(2 * each);
}

struct thread_takers {
    sem_t sems[2];
    uint64_t each;
};

static void thread_taker_run(void *arg, unsigned self)
{
    struct thread_takers *takers = arg;

    for (uint64_t i = 0; i < takers->each; i++) {
        while (sem_wait(&takers->sems[self]))
            ;
        sem_post(&takers->sems[!self]);
    }
}

static double thread_semaphore_turns(const struct bench_size *size, unsigned executors)
{
    struct thread_takers takers = {.each = size->switches / 2};
    double ns;

    (void)executors;
    for (unsigned i = 0; i < 2; i++)
        CHECK_CMP(sem_init(&takers.sems[i], 0, !i), ==, 0);
    ns = bench_threads(2, thread_taker_run, &takers) / (double)(2 * takers.each);
    for (unsigned i = 0; i < 2; i++)
        sem_destroy(&takers.sems[i]);
    return ns;
}

/* ---- channel ---- */

enum { SLOTS = 64 };

struct stage {
    struct task task;
    struct channel *channel;
    uint64_t left;
    uint64_t item, sum;
    struct channel_send send;
    struct channel_recv recv;
};

enum { TRANSFER = 1 };

static enum task_verdict sender_poll(struct task *task)
{
    struct stage *const stage = container_of(task, struct stage, task);

    ASYNC_BEGIN(task)
        while (stage->left--) {
            stage->item = stage->left;
            channel_send_start(&stage->send, task, stage->channel, &stage->item);
            AWAIT(task, TRANSFER, channel_send_poll(&stage->send));
            stage->sum += stage->item;
        }
        ASYNC_END(task);
}

static enum task_verdict receiver_poll(struct task *task)
{
    struct stage *const stage = container_of(task, struct stage, task);

    ASYNC_BEGIN(task)
        while (stage->left--) {
            channel_recv_start(&stage->recv, task, stage->channel, &stage->item);
            AWAIT(task, TRANSFER, channel_recv_poll(&stage->recv));
            stage->sum += stage->item;
        }
        ASYNC_END(task);
}

static double channel_items(const struct bench_size *size, unsigned executors)
{
    static const struct task_type types[] = {{.name = "sender", .poll = sender_poll},
                                             {.name = "receiver", .poll = receiver_poll}};
    uint64_t count = size->handovers, slots[SLOTS];
    struct stage *stages = bench_alloc(2, sizeof(*stages));
    struct channel channel;
    double ns;

    channel_init(&channel, slots, sizeof(slots[0]), SLOTS);
    for (unsigned i = 0; i < 2; i++) {
        stages[i].channel = &channel;
        stages[i].left = count;
    }
    ns = run_two_tasks(&stages[0].task, &stages[1].task, types, executors);
    CHECK_CMP(stages[0].sum, ==, stages[1].sum);
    free(stages);
    return ns / (double)count;
}

/* What everybody writes with a mutex and two condition variables. */
struct thread_queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty, not_full;
    uint64_t slots[SLOTS];
    unsigned first, count;
    uint64_t total, sums[2];
};

static void queue_put(struct thread_queue *queue, uint64_t item)
{
    pthread_mutex_lock(&queue->mutex);
    while (queue->count == SLOTS)
        pthread_cond_wait(&queue->not_full, &queue->mutex);
    queue->slots[(queue->first + queue->count++) % SLOTS] = item;
    pthread_cond_signal(&queue->not_empty);
    pthread_mutex_unlock(&queue->mutex);
}

static uint64_t queue_take(struct thread_queue *queue)
{
    uint64_t item;

    pthread_mutex_lock(&queue->mutex);
    while (!queue->count)
        pthread_cond_wait(&queue->not_empty, &queue->mutex);
    item = queue->slots[queue->first];
    queue->first = (queue->first + 1) % SLOTS;
    queue->count--;
    pthread_cond_signal(&queue->not_full);
    pthread_mutex_unlock(&queue->mutex);
    return item;
}

static void thread_stage_run(void *arg, unsigned self)
{
    struct thread_queue *queue = arg;
    uint64_t sum = 0;

    for (uint64_t i = 0; i < queue->total; i++) {
        sum += self ? queue_take(queue) : i;
        if (!self)
            queue_put(queue, i);
    }
    queue->sums[self] = sum;
}

static double thread_channel_items(const struct bench_size *size, unsigned executors)
{
    struct thread_queue queue = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                 .not_empty = PTHREAD_COND_INITIALIZER,
                                 .not_full = PTHREAD_COND_INITIALIZER,
                                 .total = size->switches * 10};
    double ns = bench_threads(2, thread_stage_run, &queue);

    (void)executors;
    CHECK_CMP(queue.sums[0], ==, queue.sums[1]);
    return ns / (double)queue.total;
}

static void print_sizes(void)
{
    printf(", cond %zu (compact %zu, pthread %zu), its wait %zu, channel %zu (compact %zu)",
           sizeof(struct acond), sizeof(struct acond_compact), sizeof(pthread_cond_t),
           sizeof(struct acond_wait), sizeof(struct channel), sizeof(struct channel_compact));
}

static const struct bench benches[] = {
    {"condvar_pingpong", "ns", cond_turns, "2 pthreads", thread_cond_turns, ONE_EXECUTOR},
    {"condvar_2ex_pingpong", "ns", cond_turns, "2 pthreads", thread_cond_turns, TWO_EXECUTORS},
    {"semaphore_pingpong", "ns", semaphore_turns, "sem_t, 2 pthreads", thread_semaphore_turns,
     ONE_EXECUTOR},
    {"semaphore_2ex_pingpong", "ns", semaphore_turns, "sem_t, 2 pthreads", thread_semaphore_turns,
     TWO_EXECUTORS},
    {"channel", "ns", channel_items, "queue of 2 pthreads", thread_channel_items, ONE_EXECUTOR},
    {"channel_2ex", "ns", channel_items, "queue of 2 pthreads", thread_channel_items,
     TWO_EXECUTORS},
};
const struct bench_group bench_handovers = {benches, array_count(benches), print_sizes};
