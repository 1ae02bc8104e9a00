/*
 * Tasks of two executors and plain threads at random on one primitive at a time, with cancels and
 * deadlines. What each does is drawn from a seed, which is printed. A lost wake-up hangs the test.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "rig.h"
#include "sync/acond.h"
#include "sync/channel.h"
#include "sync/semaphore.h"

enum {
    EXECUTORS = 2,
    TASKS = 6,
    THREADS = 2,
    MEMBERS = EXECUTORS * TASKS + THREADS,
    ROUNDS = 4000
};

struct member {
    struct task task;
    uint64_t random;
    unsigned index;
    unsigned rounds;
    unsigned patience; /* polls until it cancels */
    unsigned item;
    enum amutex_mode mode;
    union {
        struct amutex_lock lock;
        struct acond_wait wait;
        struct semaphore_acquire acquire;
        struct channel_send send;
        struct channel_recv recv;
    };
};

/* What all members do, as a task and as a thread. */
struct trial {
    struct task_type type;
    void (*thread)(struct member *member);
};

static struct member members[MEMBERS];
static const struct trial *trial;

static uint64_t draw(struct member *member, uint64_t limit)
{
    member->random ^= member->random << 13;
    member->random ^= member->random >> 7;
    member->random ^= member->random << 17;
    return member->random % limit;
}

/* Half of them have no end of it. */
static void draw_patience(struct member *member)
{
    member->patience = draw(member, 2) ? UINT32_MAX : (unsigned)draw(member, 4);
}

static bool is_impatient(struct member *member)
{
    return member->patience != UINT32_MAX && member->patience-- == 0;
}

/* Now and then a short one. */
static uint64_t draw_deadline_ns(struct member *member)
{
    return draw(member, 2) ? FUTEX_NO_DEADLINE : clock_now_ns() + draw(member, 50) * NS_PER_US;
}

static void *executor_main(void *arg)
{
    cr_assert_eq(executor_run(arg), 0);
    return NULL;
}

static void *thread_main(void *arg)
{
    trial->thread(arg);
    return NULL;
}

static void run(const struct trial *the_trial)
{
    const char *given = getenv("SYNC_STRESS_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 1;
    struct executor *executors[EXECUTORS];
    pthread_t runners[EXECUTORS], threads[THREADS];

    printf("SYNC_STRESS_SEED=%llu\n", (unsigned long long)seed);
    trial = the_trial;
    for (unsigned i = 0; i < MEMBERS; i++)
        members[i] = (struct member){
            .index = i, .rounds = ROUNDS, .random = (seed + i) * 0x9e3779b97f4a7c15ULL};
    for (unsigned i = 0; i < EXECUTORS; i++) {
        const struct executor_config config = {.poll_us_max = i * 20};
        struct err err = {""};

        cr_assert_eq(executor_create(&executors[i], &config, &err), 0, "%s", err.text);
        for (unsigned k = 0; k < TASKS; k++)
            task_spawn(&members[i * TASKS + k].task, executors[i], &trial->type);
    }
    for (unsigned i = 0; i < EXECUTORS; i++)
        cr_assert_eq(pthread_create(&runners[i], NULL, executor_main, executors[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(
            pthread_create(&threads[i], NULL, thread_main, &members[EXECUTORS * TASKS + i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < EXECUTORS; i++)
        cr_assert_eq(pthread_join(runners[i], NULL), 0);
    for (unsigned i = 0; i < EXECUTORS; i++)
        executor_destroy(executors[i]);
}

static struct member *member_of(struct task *task)
{
    return container_of(task, struct member, task);
}

/* ---- mutex ---- */

static struct amutex mutex;
static atomic_uint readers;
static atomic_uint writers;
static unsigned guarded; /* by the mutex: a race on it is a race in the mutex */

static void enter(struct member *member)
{
    if (member->mode == AMUTEX_EXCLUSIVE) {
        cr_assert_eq(atomic_fetch_add_explicit(&writers, 1, memory_order_relaxed), 0);
        cr_assert_eq(atomic_load_explicit(&readers, memory_order_relaxed), 0);
        guarded++;
    } else {
        atomic_fetch_add_explicit(&readers, 1, memory_order_relaxed);
        cr_assert_eq(atomic_load_explicit(&writers, memory_order_relaxed), 0);
        cr_assert_geq(guarded, 0U);
    }
}

static void leave(struct member *member)
{
    if (member->mode == AMUTEX_EXCLUSIVE)
        atomic_fetch_sub_explicit(&writers, 1, memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(&readers, 1, memory_order_relaxed);
    amutex_unlock(&mutex, member->mode);
}

enum { TRY = 1, HOLD, WAIT, RETRY, RETAKE };

static enum task_verdict lock_poll(struct task *task)
{
    struct member *const member = member_of(task);

    ASYNC_BEGIN(task)
        ;
        for (; member->rounds; member->rounds--) {
            member->mode = draw(member, 3) ? AMUTEX_SHARED : AMUTEX_EXCLUSIVE;
            draw_patience(member);
            amutex_lock_start(&member->lock, task, &mutex, member->mode);
            while (!amutex_lock_poll(&member->lock)) {
                if (is_impatient(member)) {
                    amutex_lock_cancel(&member->lock);
                } else if (member->patience == UINT32_MAX) {
                    AWAIT(task, WAIT, amutex_lock_poll(&member->lock));
                } else {
                    YIELD(task, TRY);
                }
            }
            if (member->lock.result == -ECANCELED)
                continue;
            enter(member);
            if (draw(member, 2))
                YIELD(task, HOLD);
            leave(member);
        }
        ASYNC_END(task);
}

static void lock_thread(struct member *member)
{
    for (; member->rounds; member->rounds--) {
        member->mode = draw(member, 3) ? AMUTEX_SHARED : AMUTEX_EXCLUSIVE;
        if (amutex_lock_blocking_until(&mutex, member->mode, draw_deadline_ns(member)) == 0) {
            enter(member);
            leave(member);
        }
    }
}

Test(stress, the_mutex_excludes_and_loses_no_wake_up, .timeout = 100)
{
    static const struct trial locks = {{.name = "locker", .poll = lock_poll}, lock_thread};

    run(&locks);
    cr_assert_eq(atomic_load(&mutex.compact.state), 0);
    cr_assert(waitlist_is_empty(&mutex.compact.waiters));
}

/* ---- condition variable: every second member makes tokens, the others take as many ---- */

static struct acond cond;
static unsigned tokens; /* guarded by the mutex */

static bool makes_tokens(const struct member *member)
{
    return member->index % 2;
}

static enum task_verdict token_poll(struct task *task)
{
    struct member *const member = member_of(task);

    ASYNC_BEGIN(task)
        ;
        for (; member->rounds; member->rounds--) {
            amutex_lock_start(&member->lock, task, &mutex, AMUTEX_EXCLUSIVE);
            AWAIT(task, TRY, amutex_lock_poll(&member->lock));
            if (makes_tokens(member)) {
                tokens++;
                acond_notify_one(&cond);
                amutex_unlock(&mutex, AMUTEX_EXCLUSIVE);
                YIELD(task, HOLD);
                continue;
            }
            while (!tokens) {
                draw_patience(member);
                acond_wait_start(&member->wait, task, &cond, &mutex, AMUTEX_EXCLUSIVE);
                while (!acond_wait_poll(&member->wait)) {
                    if (is_impatient(member)) {
                        acond_wait_cancel(&member->wait);
                    } else if (member->patience == UINT32_MAX) {
                        AWAIT(task, WAIT, acond_wait_poll(&member->wait));
                    } else {
                        YIELD(task, RETRY);
                    }
                }
                if (member->wait.result == 0)
                    continue;
                amutex_lock_start(&member->lock, task, &mutex, AMUTEX_EXCLUSIVE);
                AWAIT(task, RETAKE, amutex_lock_poll(&member->lock));
            }
            tokens--;
            amutex_unlock(&mutex, AMUTEX_EXCLUSIVE);
        }
        ASYNC_END(task);
}

static void token_thread(struct member *member)
{
    for (; member->rounds; member->rounds--) {
        amutex_lock_blocking(&mutex, AMUTEX_EXCLUSIVE);
        if (makes_tokens(member)) {
            tokens++;
            acond_notify_one(&cond);
        } else {
            while (!tokens) {
                int ret = acond_wait_blocking_until(&cond, &mutex, AMUTEX_EXCLUSIVE,
                                                    draw_deadline_ns(member));

                cr_assert(ret == 0 || ret == -ETIMEDOUT);
            }
            tokens--;
        }
        amutex_unlock(&mutex, AMUTEX_EXCLUSIVE);
    }
}

Test(stress, the_condition_variable_loses_no_notification, .timeout = 100)
{
    static const struct trial trade = {{.name = "trader", .poll = token_poll}, token_thread};

    run(&trade);
    cr_assert_eq(tokens, 0);
    cr_assert_eq(atomic_load(&mutex.compact.state), 0);
    cr_assert_eq(atomic_load(&cond.compact.state), 0);
}

/* ---- semaphore ---- */

enum { PERMITS = 5 };

static struct semaphore semaphore;
static atomic_int permits_out;

static void check_permits(unsigned taken)
{
    int out = atomic_fetch_add_explicit(&permits_out, (int)taken, memory_order_relaxed);

    cr_assert_leq(out + (int)taken, PERMITS);
    atomic_fetch_sub_explicit(&permits_out, (int)taken, memory_order_relaxed);
}

static enum task_verdict permit_poll(struct task *task)
{
    struct member *const member = member_of(task);

    ASYNC_BEGIN(task)
        ;
        for (; member->rounds; member->rounds--) {
            member->item = 1 + (unsigned)draw(member, PERMITS);
            draw_patience(member);
            semaphore_acquire_start(&member->acquire, task, &semaphore, member->item);
            while (!semaphore_acquire_poll(&member->acquire)) {
                if (is_impatient(member)) {
                    semaphore_acquire_cancel(&member->acquire);
                } else if (member->patience == UINT32_MAX) {
                    AWAIT(task, WAIT, semaphore_acquire_poll(&member->acquire));
                } else {
                    YIELD(task, TRY);
                }
            }
            if (member->acquire.result == -ECANCELED)
                continue;
            check_permits(member->item);
            if (draw(member, 2))
                YIELD(task, HOLD);
            semaphore_release(&semaphore, member->item);
        }
        ASYNC_END(task);
}

static void permit_thread(struct member *member)
{
    for (; member->rounds; member->rounds--) {
        unsigned permits = 1 + (unsigned)draw(member, PERMITS);

        if (semaphore_acquire_blocking_until(&semaphore, permits, draw_deadline_ns(member)) == 0) {
            check_permits(permits);
            semaphore_release(&semaphore, permits);
        }
    }
}

Test(stress, the_semaphore_keeps_its_permits, .timeout = 100)
{
    static const struct trial acquire = {{.name = "acquirer", .poll = permit_poll}, permit_thread};

    semaphore_init(&semaphore, PERMITS);
    run(&acquire);
    cr_assert_eq(semaphore_permits(&semaphore), PERMITS);
    cr_assert(waitlist_is_empty(&semaphore.compact.waiters));
}

/* ---- channel: every second member sends, the others receive as many ---- */

static struct channel channel;
static unsigned room[2];
static atomic_uint sum_in;
static atomic_uint sum_out;

static void count(atomic_uint *sum, unsigned item)
{
    atomic_fetch_add_explicit(sum, item * item + 1, memory_order_relaxed);
}

static enum task_verdict item_poll(struct task *task)
{
    struct member *const member = member_of(task);

    ASYNC_BEGIN(task)
        ;
        while (member->rounds) {
            draw_patience(member);
            if (member->index % 2) {
                member->item = member->index * ROUNDS + member->rounds;
                channel_send_start(&member->send, task, &channel, &member->item);
                while (!channel_send_poll(&member->send)) {
                    if (is_impatient(member)) {
                        channel_send_cancel(&member->send);
                    } else {
                        YIELD(task, TRY);
                    }
                }
                if (member->send.result == -ECANCELED)
                    continue;
                cr_assert_eq(member->send.result, 0);
                count(&sum_in, member->item);
            } else {
                channel_recv_start(&member->recv, task, &channel, &member->item);
                while (!channel_recv_poll(&member->recv)) {
                    if (is_impatient(member)) {
                        channel_recv_cancel(&member->recv);
                    } else if (member->patience == UINT32_MAX) {
                        AWAIT(task, WAIT, channel_recv_poll(&member->recv));
                    } else {
                        YIELD(task, HOLD);
                    }
                }
                if (member->recv.result == -ECANCELED)
                    continue;
                cr_assert_eq(member->recv.result, 0);
                count(&sum_out, member->item);
            }
            member->rounds--;
        }
        ASYNC_END(task);
}

static void item_thread(struct member *member)
{
    while (member->rounds) {
        uint64_t deadline_ns = draw_deadline_ns(member);
        int ret;

        if (member->index % 2) {
            member->item = member->index * ROUNDS + member->rounds;
            ret = channel_send_blocking_until(&channel, &member->item, deadline_ns);
        } else {
            ret = channel_recv_blocking_until(&channel, &member->item, deadline_ns);
        }
        if (ret == -ETIMEDOUT)
            continue;
        cr_assert_eq(ret, 0);
        count(member->index % 2 ? &sum_in : &sum_out, member->item);
        member->rounds--;
    }
}

Test(stress, the_channel_loses_and_doubles_nothing, .timeout = 100)
{
    static const struct trial pass = {{.name = "passer", .poll = item_poll}, item_thread};

    channel_init(&channel, room, sizeof(room[0]), 2);
    run(&pass);
    cr_assert_eq(atomic_load(&sum_in), atomic_load(&sum_out));
    cr_assert_eq(channel.compact.count, 0);
    cr_assert_eq(atomic_load(&channel.compact.state), 0);
}
