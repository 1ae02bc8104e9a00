#include "exec/blocking.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"

#define IDLE_DEFAULT_NS (10 * NS_PER_S)

/*
 *     IDLE -> QUEUED -> RUNNING -> WAKING -> RETURNED -> DONE
 *
 * Up to RUNNING under the pool's lock. The thread that ran the call stores the result, WAKING,
 * posts the task, and stores RETURNED as its last touch: so the frame cannot go while the post
 * still needs it. The task's poll makes it DONE.
 */
enum call_status { CALL_IDLE, CALL_QUEUED, CALL_RUNNING, CALL_WAKING, CALL_RETURNED, CALL_DONE };

struct blocking_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* a call was queued, or the pool is closing */
    pthread_cond_t ended; /* the last thread has ended */
    struct list queue;    /* calls */
    uint32_t queued;
    uint32_t queue_max;
    uint32_t threads;
    uint32_t threads_max;
    uint32_t idle; /* threads that wait for work */
    uint64_t idle_ns;
    bool is_closing;
    bool has_ended_thread; /* `ended_thread` was not joined yet */
    pthread_t ended_thread;
};

static int init_sync(struct blocking_pool *pool)
{
    pthread_condattr_t monotonic;
    int ret = pthread_condattr_init(&monotonic);

    if (ret)
        return -ret;
    ret = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    if (ret)
        goto destroy_attributes;
    ret = pthread_mutex_init(&pool->lock, NULL);
    if (ret)
        goto destroy_attributes;
    ret = pthread_cond_init(&pool->work, &monotonic);
    if (ret)
        goto destroy_lock;
    ret = pthread_cond_init(&pool->ended, &monotonic);
    if (ret)
        goto destroy_work;
    pthread_condattr_destroy(&monotonic);
    return 0;

destroy_work:
    pthread_cond_destroy(&pool->work);
destroy_lock:
    pthread_mutex_destroy(&pool->lock);
destroy_attributes:
    pthread_condattr_destroy(&monotonic);
    return -ret;
}

int blocking_pool_create(struct blocking_pool **out, const struct blocking_pool_config *config,
                         struct err *err)
{
    const struct blocking_pool_config defaults = {.idle_ns = IDLE_DEFAULT_NS};
    struct blocking_pool *pool;
    int ret;

    if (!config)
        config = &defaults;
    if (config->threads_max > BLOCKING_THREADS_MAX)
        return err_set(err, -ERANGE, "blocking pool: %u threads; at most %d", config->threads_max,
                       BLOCKING_THREADS_MAX);
    pool = calloc(1, sizeof(*pool));
    if (!pool)
        return err_set(err, -ENOMEM, "blocking pool: no memory");
    list_init(&pool->queue);
    pool->threads_max = config->threads_max ? config->threads_max : BLOCKING_THREADS_DEFAULT;
    pool->queue_max = config->queue_max ? config->queue_max : BLOCKING_QUEUE_DEFAULT;
    pool->idle_ns = config->idle_ns;
    ret = init_sync(pool);
    if (ret < 0) {
        free(pool);
        return err_set(err, ret, "blocking pool: %s", strerror(-ret));
    }
    *out = pool;
    return 0;
}

static void lock(struct blocking_pool *pool)
{
    CHECK_CMP(pthread_mutex_lock(&pool->lock), ==, 0);
}

static void unlock(struct blocking_pool *pool)
{
    CHECK_CMP(pthread_mutex_unlock(&pool->lock), ==, 0);
}

/* False when the deadline has passed. */
static bool wait_until(struct blocking_pool *pool, pthread_cond_t *cond, uint64_t deadline_ns)
{
    const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                                      .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    int ret = pthread_cond_timedwait(cond, &pool->lock, &deadline);

    CHECK(ret == 0 || ret == ETIMEDOUT);
    return ret == 0;
}

/* The next call to run; NULL when the thread should end. */
static struct blocking_call *take_call(struct blocking_pool *pool)
{
    uint64_t now_ns = clock_now_ns(), deadline_ns;
    struct blocking_call *call;
    bool waits = true;

    if (!u64_add(now_ns, pool->idle_ns, &deadline_ns))
        deadline_ns = UINT64_MAX;
    while (list_is_empty(&pool->queue)) {
        if (pool->is_closing || !waits)
            return NULL;
        pool->idle++;
        waits = wait_until(pool, &pool->work, deadline_ns);
        pool->idle--;
    }
    call = container_of(list_pop_front(&pool->queue), struct blocking_call, link);
    pool->queued--;
    atomic_store_explicit(&call->status, CALL_RUNNING, memory_order_relaxed);
    return call;
}

/* The system call of the wake-up comes last: the executor may run on this cpu from then on, and
 * would find the call WAKING for the rest of its time slice. */
static void return_call(struct blocking_call *call)
{
    struct executor *executor;

    /* Release, both: the poll that reads either sees the result. */
    atomic_store_explicit(&call->status, CALL_WAKING, memory_order_release);
    executor = task_wake_begin(call->task);
    atomic_store_explicit(&call->status, CALL_RETURNED, memory_order_release);
    if (executor)
        task_wake_finish(executor);
}

static void *thread_main(void *arg)
{
    struct blocking_pool *pool = arg;
    struct blocking_call *call;
    pthread_t previous;
    bool join;

    lock(pool);
    while ((call = take_call(pool))) {
        unlock(pool);
        call->result = call->run(call);
        return_call(call);
        lock(pool);
    }
    /* Each that ends joins the one before, and the shutdown the last: nobody else waits for it. */
    join = pool->has_ended_thread;
    previous = pool->ended_thread;
    pool->has_ended_thread = true;
    pool->ended_thread = pthread_self();
    if (--pool->threads == 0)
        pthread_cond_broadcast(&pool->ended);
    unlock(pool);
    if (join)
        CHECK_CMP(pthread_join(previous, NULL), ==, 0);
    return NULL;
}

/* The program's signals are not for these threads. */
static int start_thread(struct blocking_pool *pool)
{
    sigset_t all, old;
    pthread_t thread;
    int ret;

    sigfillset(&all);
    CHECK_CMP(pthread_sigmask(SIG_SETMASK, &all, &old), ==, 0);
    ret = pthread_create(&thread, NULL, thread_main, pool);
    CHECK_CMP(pthread_sigmask(SIG_SETMASK, &old, NULL), ==, 0);
    if (ret)
        return -ret;
    pool->threads++;
    return 0;
}

/* Queues the call, and sees that a thread comes for it. 0, or why not. */
static int submit(struct blocking_pool *pool, struct blocking_call *call)
{
    if (pool->is_closing)
        return -ECANCELED;
    if (pool->queued == pool->queue_max)
        return -EBUSY;
    if (pool->queued >= pool->idle && pool->threads < pool->threads_max) {
        int ret = start_thread(pool);

        /* The others will come to it in time, if there are any. */
        if (ret < 0 && !pool->threads)
            return -EAGAIN;
    }
    list_push_back(&pool->queue, &call->link);
    pool->queued++;
    pthread_cond_signal(&pool->work);
    return 0;
}

void blocking_call_start(struct blocking_call *call, struct task *task, struct blocking_pool *pool,
                         int64_t (*run)(struct blocking_call *call))
{
    unsigned status = atomic_load_explicit(&call->status, memory_order_relaxed);
    int ret;

    CHECK(status == CALL_IDLE || status == CALL_DONE);
    CHECK_CMP(task->in_flight, <, UINT16_MAX);
    task->in_flight++;
    call->task = task;
    call->pool = pool;
    call->run = run;
    lock(pool);
    atomic_store_explicit(&call->status, CALL_QUEUED, memory_order_relaxed);
    ret = submit(pool, call);
    unlock(pool);
    if (ret == 0)
        return;
    call->result = ret;
    atomic_store_explicit(&call->status, CALL_RETURNED, memory_order_relaxed);
    task_wake(task);
}

bool blocking_call_poll(struct blocking_call *call)
{
    /* Acquire: pairs with return_call. */
    switch (atomic_load_explicit(&call->status, memory_order_acquire)) {
    case CALL_DONE:
        return true;
    case CALL_RETURNED:
        call->task->in_flight--;
        atomic_store_explicit(&call->status, CALL_DONE, memory_order_relaxed);
        return true;
    case CALL_WAKING:
        /* Within a few instructions of its end: look again in the next turn. */
        task_wake(call->task);
        return false;
    default:
        return false;
    }
}

void blocking_call_cancel(struct blocking_call *call)
{
    struct blocking_pool *pool = call->pool;

    if (atomic_load_explicit(&call->status, memory_order_relaxed) != CALL_QUEUED)
        return;
    lock(pool);
    if (atomic_load_explicit(&call->status, memory_order_relaxed) == CALL_QUEUED) {
        list_remove(&call->link);
        pool->queued--;
        call->result = -ECANCELED;
        atomic_store_explicit(&call->status, CALL_RETURNED, memory_order_relaxed);
    }
    unlock(pool);
}

int blocking_pool_shutdown(struct blocking_pool *pool, uint64_t deadline_ns)
{
    struct list cancelled, *link;
    bool in_time = true;

    list_init(&cancelled);
    lock(pool);
    pool->is_closing = true;
    list_splice(&cancelled, &pool->queue);
    pool->queued = 0;
    /* Not QUEUED any more: nobody takes them off the list here. */
    list_for_each (each, &cancelled)
        atomic_store_explicit(&container_of(each, struct blocking_call, link)->status, CALL_RUNNING,
                              memory_order_relaxed);
    pthread_cond_broadcast(&pool->work);
    unlock(pool);
    while ((link = list_pop_front(&cancelled))) {
        struct blocking_call *call = container_of(link, struct blocking_call, link);

        call->result = -ECANCELED;
        return_call(call);
    }
    lock(pool);
    while (pool->threads && in_time)
        in_time = wait_until(pool, &pool->ended, deadline_ns);
    if (!pool->threads && pool->has_ended_thread) {
        CHECK_CMP(pthread_join(pool->ended_thread, NULL), ==, 0);
        pool->has_ended_thread = false;
    }
    in_time = !pool->threads;
    unlock(pool);
    return in_time ? 0 : -ETIMEDOUT;
}

void blocking_pool_destroy(struct blocking_pool *pool)
{
    if (!pool)
        return;
    CHECK_CMP(pool->threads, ==, 0U);
    CHECK(!pool->has_ended_thread);
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

uint32_t blocking_pool_thread_count(struct blocking_pool *pool)
{
    uint32_t count;

    lock(pool);
    count = pool->threads;
    unlock(pool);
    return count;
}

DEFINE_FUTURE(blocking_call);
