/*
 * Locks that are free, and locks that many want. Who has a contended lock lets everybody else run
 * once while it holds it, so that all of them find it taken and wait: tasks by YIELD, threads by
 * sched_yield. With a short hold they do not: then tasks of one executor never find it taken, and
 * threads only when they run at the same time.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "bench.h"
#include "sync/amutex.h"
#include "sync/semaphore.h"

/* ---- nobody else wants it ---- */

/* The work, as a task of its own, since the future wants one. */
struct loner {
    struct task task;
    void (*work)(struct task *task, uint64_t count);
    uint64_t count;
    double ns;
};

static enum task_verdict loner_poll(struct task *task)
{
    struct loner *const loner = container_of(task, struct loner, task);
    struct stopwatch watch;

    stopwatch_start(&watch);
    loner->work(task, loner->count);
    loner->ns = stopwatch_ns(&watch);
    return TASK_DONE;
}

static void *sleep_until_unlocked(void *arg)
{
    pthread_mutex_lock(arg);
    pthread_mutex_unlock(arg);
    return NULL;
}

/* In a process with one thread the C library's locks do without atomics: here are two. */
static void with_another_thread(struct executor *executor)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;

    pthread_mutex_lock(&gate);
    CHECK_CMP(pthread_create(&thread, NULL, sleep_until_unlocked, &gate), ==, 0);
    bench_run(executor);
    pthread_mutex_unlock(&gate);
    CHECK_CMP(pthread_join(thread, NULL), ==, 0);
}

static double alone(uint64_t count, void (*work)(struct task *task, uint64_t count))
{
    static const struct task_type type = {.name = "loner", .poll = loner_poll};
    struct executor *executor = bench_executor(0);
    struct loner loner = {.work = work, .count = count};

    task_spawn(&loner.task, executor, &type);
    with_another_thread(executor);
    return loner.ns / (double)count;
}

static void amutex_work(struct task *task, uint64_t count, enum amutex_mode mode)
{
    static struct amutex mutex;
    struct amutex_lock lock;

    for (uint64_t i = 0; i < count; i++) {
        amutex_lock_start(&lock, task, &mutex, mode);
        CHECK(amutex_lock_poll(&lock));
        amutex_unlock(&mutex, mode);
    }
}

static void exclusive_work(struct task *task, uint64_t count)
{
    amutex_work(task, count, AMUTEX_EXCLUSIVE);
}

static void shared_work(struct task *task, uint64_t count)
{
    amutex_work(task, count, AMUTEX_SHARED);
}

static void semaphore_work(struct task *task, uint64_t count)
{
    static struct semaphore semaphore;
    struct semaphore_acquire acquire;

    semaphore_init(&semaphore, 1);
    for (uint64_t i = 0; i < count; i++) {
        semaphore_acquire_start(&acquire, task, &semaphore, 1);
        CHECK(semaphore_acquire_poll(&acquire));
        semaphore_release(&semaphore, 1);
    }
}

static void pthread_mutex_work(struct task *task, uint64_t count)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    (void)task;
    for (uint64_t i = 0; i < count; i++) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
}

static void pthread_rwlock_work(struct task *task, uint64_t count)
{
    static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

    (void)task;
    for (uint64_t i = 0; i < count; i++) {
        pthread_rwlock_rdlock(&rwlock);
        pthread_rwlock_unlock(&rwlock);
    }
}

static void sem_work(struct task *task, uint64_t count)
{
    static sem_t sem;

    (void)task;
    CHECK_CMP(sem_init(&sem, 0, 1), ==, 0);
    for (uint64_t i = 0; i < count; i++) {
        sem_wait(&sem);
        sem_post(&sem);
    }
    sem_destroy(&sem);
}

enum { LONE_MUTEX, LONE_RWLOCK, LONE_SEMAPHORE };

static double lone(const struct bench_size *size, unsigned parameter)
{
    static void (*const works[])(struct task * task,
                                 uint64_t count) = {[LONE_MUTEX] = exclusive_work,
                                                    [LONE_RWLOCK] = shared_work,
                                                    [LONE_SEMAPHORE] = semaphore_work};

    return alone(size->locks, works[parameter]);
}

static double lone_pthread(const struct bench_size *size, unsigned parameter)
{
    static void (*const works[])(struct task * task,
                                 uint64_t count) = {[LONE_MUTEX] = pthread_mutex_work,
                                                    [LONE_RWLOCK] = pthread_rwlock_work,
                                                    [LONE_SEMAPHORE] = sem_work};

    return alone(size->locks, works[parameter]);
}

/* ---- many want it ---- */

/* In the parameter, beside how many there are: nobody lets others run while it has the lock. */
enum { SHORT_HOLD = 1 << 16 };

static unsigned rivals_of(unsigned parameter)
{
    return parameter & ~(unsigned)SHORT_HOLD;
}

struct rivals {
    struct amutex mutex;
    uint64_t count; /* guarded */
    bool is_short;
};

struct rival {
    struct task task;
    struct rivals *rivals;
    struct amutex_lock lock;
    uint64_t left;
};

enum { LOCK = 1, HOLD, PAUSE };

static enum task_verdict rival_poll(struct task *task)
{
    struct rival *const rival = container_of(task, struct rival, task);
    struct rivals *const rivals = rival->rivals;

    ASYNC_BEGIN(task)
        while (rival->left--) {
            amutex_lock_start(&rival->lock, task, &rivals->mutex, AMUTEX_EXCLUSIVE);
            AWAIT(task, LOCK, amutex_lock_poll(&rival->lock));
            if (!rivals->is_short)
                YIELD(task, HOLD);
            rivals->count++;
            amutex_unlock(&rivals->mutex, AMUTEX_EXCLUSIVE);
            if (rivals->is_short)
                YIELD(task, PAUSE);
        }
        ASYNC_END(task);
}

/* On one executor, or on two, which poll: what is measured is the lock, not how a thread falls
 * asleep. */
static double contended_on(unsigned executor_count, const struct bench_size *size,
                           unsigned parameter)
{
    static const struct task_type type = {.name = "rival", .poll = rival_poll};
    unsigned count = rivals_of(parameter);
    uint64_t each = (parameter & SHORT_HOLD ? size->locks : size->handovers) / count;
    struct rival *tasks = bench_alloc(count, sizeof(*tasks));
    struct rivals rivals = {.is_short = parameter & SHORT_HOLD};
    struct executor *executors[2];
    double ns;

    for (unsigned i = 0; i < executor_count; i++)
        executors[i] = bench_executor(executor_count > 1 ? BENCH_POLL_US : 0);
    for (unsigned i = 0; i < count; i++) {
        tasks[i].rivals = &rivals;
        tasks[i].left = each;
        task_spawn(&tasks[i].task, executors[i % executor_count], &type);
    }
    ns = executor_count > 1 ? bench_run_two(executors[0], executors[1]) : bench_run(executors[0]);
    CHECK_CMP(rivals.count, ==, each * count);
    free(tasks);
    return ns / (double)(each * count);
}

static double contended(const struct bench_size *size, unsigned parameter)
{
    return contended_on(1, size, parameter);
}

static double contended_2(const struct bench_size *size, unsigned parameter)
{
    return contended_on(2, size, parameter);
}

struct thread_rivals {
    pthread_mutex_t mutex;
    uint64_t each;
    uint64_t count; /* guarded */
    bool is_short;
};

static void thread_rival_run(void *arg, unsigned index)
{
    struct thread_rivals *common = arg;

    (void)index;
    for (uint64_t i = 0; i < common->each; i++) {
        pthread_mutex_lock(&common->mutex);
        if (!common->is_short)
            sched_yield();
        common->count++;
        pthread_mutex_unlock(&common->mutex);
    }
}

static double contended_threads(const struct bench_size *size, unsigned parameter)
{
    unsigned count = rivals_of(parameter);
    bool is_short = parameter & SHORT_HOLD;
    struct thread_rivals common = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                   .each = (is_short ? size->locks : size->switches) / count,
                                   .is_short = is_short};
    double ns = bench_threads(count, thread_rival_run, &common);

    CHECK_CMP(common.count, ==, common.each * count);
    return ns / (double)common.count;
}

static void print_sizes(void)
{
    printf(", mutex %zu (compact %zu, pthread %zu), its lock %zu, semaphore %zu (compact %zu)",
           sizeof(struct amutex), sizeof(struct amutex_compact), sizeof(pthread_mutex_t),
           sizeof(struct amutex_lock), sizeof(struct semaphore), sizeof(struct semaphore_compact));
}

static const struct bench benches[] = {
    {"mutex_uncontended", "ns", lone, "pthread mutex", lone_pthread, LONE_MUTEX},
    {"rwlock_uncontended", "ns", lone, "pthread rwlock", lone_pthread, LONE_RWLOCK},
    {"semaphore_uncontended", "ns", lone, "sem_t", lone_pthread, LONE_SEMAPHORE},
    {"mutex_contended_2", "ns", contended, "2 pthreads", contended_threads, 2},
    {"mutex_contended", "ns", contended, "8 pthreads", contended_threads, 8},
    {"mutex_contended_64", "ns", contended, "64 pthreads", contended_threads, 64},
    {"mutex_short", "ns", contended, "8 pthreads", contended_threads, 8 | SHORT_HOLD},
    {"mutex_2ex_short", "ns", contended_2, "8 pthreads", contended_threads, 8 | SHORT_HOLD},
    {"mutex_2ex_contended_2", "ns", contended_2, "2 pthreads", contended_threads, 2},
    {"mutex_2ex_contended_8", "ns", contended_2, "8 pthreads", contended_threads, 8},
    {"mutex_2ex_contended_64", "ns", contended_2, "64 pthreads", contended_threads, 64},
};
const struct bench_group bench_locks = {benches, array_count(benches), print_sizes};
