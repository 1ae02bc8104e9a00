#include "exec/blocking.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>

#include "base/clock.h"
#include "fixture.h"

enum { CALLS = 6, THREADS = 2, QUEUE = 3 };

struct bench {
    struct executor *executor;
    struct blocking_pool *pool;
};

static struct blocking_pool *pool_create(uint32_t threads, uint32_t queue, uint64_t idle_ns)
{
    const struct blocking_pool_config config = {threads, queue, idle_ns};
    struct blocking_pool *pool;
    struct err err = {""};

    cr_assert_eq(blocking_pool_create(&pool, &config, &err), 0, "%s", err.text);
    return pool;
}

static void pool_shut_down(struct blocking_pool *pool)
{
    cr_assert_eq(blocking_pool_shutdown(pool, UINT64_MAX), 0);
    cr_assert_eq(blocking_pool_thread_count(pool), 0);
    blocking_pool_destroy(pool);
}

static struct bench create(uint32_t threads, uint32_t queue, uint64_t idle_ns)
{
    return (struct bench){fixture_create(NULL), pool_create(threads, queue, idle_ns)};
}

static void destroy(struct bench bench)
{
    pool_shut_down(bench.pool);
    executor_destroy(bench.executor);
}

/* A call that says that it runs, and returns when the gate lets it pass. */
struct work {
    struct blocking_call call;
    struct rig *rig;
    pthread_t thread;
    bool ran;
};

struct rig {
    struct task task;
    struct blocking_pool *pool;
    struct work work[CALLS];
    sem_t gate;
    sem_t running;
    atomic_uint at_once, at_once_max;
    enum task_verdict (*play)(struct rig *rig);
};

static int64_t work_run(struct blocking_call *call)
{
    struct work *work = container_of(call, struct work, call);
    struct rig *rig = work->rig;
    unsigned now = atomic_fetch_add_explicit(&rig->at_once, 1, memory_order_relaxed) + 1;
    unsigned max = atomic_load_explicit(&rig->at_once_max, memory_order_relaxed);

    while (now > max &&
           !atomic_compare_exchange_weak_explicit(&rig->at_once_max, &max, now,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
    sem_post(&rig->running);
    sem_wait(&rig->gate);
    atomic_fetch_sub_explicit(&rig->at_once, 1, memory_order_relaxed);
    work->thread = pthread_self();
    work->ran = true;
    return work - rig->work + 100;
}

static void work_start(struct rig *rig, unsigned i)
{
    blocking_call_start(&rig->work[i].call, &rig->task, rig->pool, work_run);
}

static bool work_is_done(struct rig *rig, unsigned count)
{
    bool done = true;

    for (unsigned i = 0; i < count; i++)
        done &= blocking_call_poll(&rig->work[i].call);
    return done;
}

static void open_gate(struct rig *rig, unsigned count)
{
    while (count--)
        sem_post(&rig->gate);
}

static enum task_verdict rig_poll(struct task *task)
{
    struct rig *const rig = container_of(task, struct rig, task);

    return rig->play(rig);
}

static const struct task_type rig_type = {.name = "rig", .poll = rig_poll};

static void rig_init(struct rig *rig, struct blocking_pool *pool,
                     enum task_verdict (*play)(struct rig *rig))
{
    *rig = (struct rig){.pool = pool, .play = play};
    for (unsigned i = 0; i < CALLS; i++)
        rig->work[i].rig = rig;
    cr_assert_eq(sem_init(&rig->gate, 0, 0), 0);
    cr_assert_eq(sem_init(&rig->running, 0, 0), 0);
}

static void play_in(struct bench bench, enum task_verdict (*play)(struct rig *rig))
{
    struct rig rig;

    rig_init(&rig, bench.pool, play);
    task_spawn(&rig.task, bench.executor, &rig_type);
    cr_assert_eq(executor_run(bench.executor), 0);
}

enum { FIRST = 1, SECOND };

static enum task_verdict returns(struct rig *rig)
{
    struct task *const task = &rig->task;

    ASYNC_BEGIN(task)
        work_start(rig, 3);
        cr_assert_eq(task->in_flight, 1, "a call keeps its frame");
        cr_assert_not(blocking_call_poll(&rig->work[3].call));
        open_gate(rig, 1);
        AWAIT(task, FIRST, blocking_call_poll(&rig->work[3].call));
        cr_assert_eq(rig->work[3].call.result, 103);
        cr_assert_not(pthread_equal(rig->work[3].thread, pthread_self()));
        cr_assert(blocking_call_poll(&rig->work[3].call), "stays finished");
        cr_assert_eq(task->in_flight, 0);
        ASYNC_END(task);
}

Test(blocking, the_result_of_a_call_arrives)
{
    /* One thread: whether the first is idle again when the next call comes would be luck. */
    struct bench bench = create(1, 0, UINT64_MAX);

    cr_assert_eq(blocking_pool_thread_count(bench.pool), 0, "no thread before there is work");
    play_in(bench, returns);
    cr_assert_eq(blocking_pool_thread_count(bench.pool), 1);
    play_in(bench, returns);
    cr_assert_eq(blocking_pool_thread_count(bench.pool), 1, "it serves the next call too");
    destroy(bench);
}

static enum task_verdict fills(struct rig *rig)
{
    struct task *const task = &rig->task;

    ASYNC_BEGIN(task)
        for (unsigned i = 0; i < THREADS; i++)
            work_start(rig, i);
        for (unsigned i = 0; i < THREADS; i++)
            sem_wait(&rig->running);
        /* Both threads are busy now. */
        for (unsigned i = THREADS; i < THREADS + QUEUE; i++)
            work_start(rig, i);
        work_start(rig, THREADS + QUEUE);
        cr_assert(blocking_call_poll(&rig->work[THREADS + QUEUE].call));
        cr_assert_eq(rig->work[THREADS + QUEUE].call.result, -EBUSY);
        cr_assert_eq(blocking_pool_thread_count(rig->pool), THREADS);
        open_gate(rig, THREADS + QUEUE);
        AWAIT(task, FIRST, work_is_done(rig, THREADS + QUEUE));
        for (unsigned i = 0; i < THREADS + QUEUE; i++)
            cr_assert_eq(rig->work[i].call.result, 100 + i);
        cr_assert_eq(atomic_load_explicit(&rig->at_once_max, memory_order_relaxed), THREADS);
        ASYNC_END(task);
}

_Static_assert(CALLS == THREADS + QUEUE + 1, "one more than fits");

Test(blocking, threads_and_queue_are_bounded)
{
    struct bench bench = create(THREADS, QUEUE, UINT64_MAX);

    play_in(bench, fills);
    destroy(bench);
}

static enum task_verdict cancels(struct rig *rig)
{
    struct task *const task = &rig->task;

    ASYNC_BEGIN(task)
        blocking_call_cancel(&rig->work[0].call);
        work_start(rig, 0);
        sem_wait(&rig->running);
        work_start(rig, 1);
        work_start(rig, 2);
        future_cancel(blocking_call_future(&rig->work[1].call));
        cr_assert(future_poll(blocking_call_future(&rig->work[1].call)), "at once");
        cr_assert_eq(rig->work[1].call.result, -ECANCELED);
        blocking_call_cancel(&rig->work[0].call);
        cr_assert_not(blocking_call_poll(&rig->work[0].call), "it runs");
        open_gate(rig, 2);
        AWAIT(task, FIRST, work_is_done(rig, 3));
        blocking_call_cancel(&rig->work[0].call);
        cr_assert_eq(rig->work[0].call.result, 100);
        cr_assert_not(rig->work[1].ran);
        cr_assert_eq(rig->work[2].call.result, 102);
        ASYNC_END(task);
}

Test(blocking, a_cancel_takes_a_call_out_of_the_queue_but_stops_none)
{
    struct bench bench = create(1, 0, UINT64_MAX);

    play_in(bench, cancels);
    destroy(bench);
}

Test(blocking, idle_threads_end)
{
    struct bench bench = create(THREADS, 0, 1);

    for (unsigned i = 0; i < 3; i++) {
        play_in(bench, returns);
        while (blocking_pool_thread_count(bench.pool))
            sched_yield();
    }
    destroy(bench);
}

static enum task_verdict is_shut_down(struct rig *rig)
{
    struct task *const task = &rig->task;

    ASYNC_BEGIN(task)
        work_start(rig, 0);
        sem_wait(&rig->running);
        work_start(rig, 1);
        cr_assert_eq(blocking_pool_shutdown(rig->pool, clock_now_ns() + NS_PER_MS), -ETIMEDOUT);
        cr_assert(blocking_call_poll(&rig->work[1].call));
        cr_assert_eq(rig->work[1].call.result, -ECANCELED);
        work_start(rig, 2);
        cr_assert(blocking_call_poll(&rig->work[2].call));
        cr_assert_eq(rig->work[2].call.result, -ECANCELED);
        cr_assert_not(blocking_call_poll(&rig->work[0].call));
        open_gate(rig, 1);
        cr_assert_eq(blocking_pool_shutdown(rig->pool, UINT64_MAX), 0);
        AWAIT(task, FIRST, blocking_call_poll(&rig->work[0].call));
        cr_assert_eq(rig->work[0].call.result, 100, "it ran to its end");
        cr_assert_not(rig->work[1].ran || rig->work[2].ran);
        ASYNC_END(task);
}

Test(blocking, a_shutdown_cancels_what_waits_and_awaits_what_runs_up_to_a_deadline)
{
    struct bench bench = create(1, 0, UINT64_MAX);

    play_in(bench, is_shut_down);
    destroy(bench);
}

static enum task_verdict starts_only(struct rig *rig)
{
    open_gate(rig, 1);
    work_start(rig, 0);
    return TASK_DONE;
}

Test(blocking, ending_with_a_call_is_a_bug, .signal = SIGABRT)
{
    play_in(create(1, 0, 0), starts_only);
}

Test(blocking, destroying_a_pool_with_threads_is_a_bug, .signal = SIGABRT)
{
    struct bench bench = create(1, 0, UINT64_MAX);

    play_in(bench, returns);
    blocking_pool_destroy(bench.pool);
}

Test(blocking, a_config_beyond_the_limits_is_refused)
{
    const struct blocking_pool_config config = {.threads_max = BLOCKING_THREADS_MAX + 1};
    struct blocking_pool *pool = NULL;
    struct err err = {""};

    cr_assert_eq(blocking_pool_create(&pool, &config, &err), -ERANGE);
    cr_assert_str_eq(err.text, "blocking pool: 65 threads; at most 64");
    cr_assert_eq(blocking_pool_create(&pool, NULL, &err), 0);
    blocking_pool_destroy(pool);
    blocking_pool_destroy(NULL);
}

/* ---- two executors, many calls, cancels in between ---- */

enum { STORM_TASKS = 8, STORM_CALLS = 200 };

struct storm {
    struct task task;
    struct blocking_call call;
    struct blocking_pool *pool;
    unsigned i, ran, refused, cancelled;
};

static int64_t storm_run(struct blocking_call *call)
{
    (void)call;
    return 1;
}

static enum task_verdict storm_poll(struct task *task)
{
    struct storm *const storm = container_of(task, struct storm, task);

    ASYNC_BEGIN(task)
        for (; storm->i < STORM_CALLS; storm->i++) {
            blocking_call_start(&storm->call, task, storm->pool, storm_run);
            if (storm->i % 3 == 0)
                blocking_call_cancel(&storm->call);
            AWAIT(task, FIRST, blocking_call_poll(&storm->call));
            storm->ran += storm->call.result == 1;
            storm->refused += storm->call.result == -EBUSY;
            storm->cancelled += storm->call.result == -ECANCELED;
        }
        ASYNC_END(task);
}

static void *storm_main(void *arg)
{
    const struct bench *bench = arg;
    static const struct task_type type = {.name = "storm", .poll = storm_poll};
    struct storm storms[STORM_TASKS];

    for (unsigned i = 0; i < STORM_TASKS; i++) {
        storms[i] = (struct storm){.pool = bench->pool};
        task_spawn(&storms[i].task, bench->executor, &type);
    }
    cr_assert_eq(executor_run(bench->executor), 0);
    for (unsigned i = 0; i < STORM_TASKS; i++)
        cr_assert_eq(storms[i].ran + storms[i].refused + storms[i].cancelled, STORM_CALLS);
    return NULL;
}

Test(blocking, executors_share_a_pool)
{
    struct bench benches[2] = {create(2, 4, 1000), {fixture_create(NULL), NULL}};
    pthread_t threads[2];

    benches[1].pool = benches[0].pool;
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, storm_main, &benches[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    destroy(benches[0]);
    executor_destroy(benches[1].executor);
}
