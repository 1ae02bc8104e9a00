#include "exec/executor.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "exec/op.h"
#include "exec/timer.h"

static struct executor *make_executor(uint32_t entries, uint32_t poll_us)
{
    const struct executor_config config = {.entries = entries, .poll_us_max = poll_us};
    struct executor *executor;
    struct err err = {""};

    cr_assert_eq(executor_create(&executor, &config, &err), 0, "%s", err.text);
    return executor;
}

struct counter {
    struct task task;
    unsigned polls;
    unsigned limit;
};

static enum task_verdict yield_poll(struct task *task)
{
    struct counter *const counter = container_of(task, struct counter, task);

    if (++counter->polls == counter->limit)
        return TASK_DONE;
    task_wake(task);
    return TASK_PENDING;
}

static const struct task_type yield_type = {.name = "yield", .poll = yield_poll};

Test(executor, returns_when_no_live_task_is_left)
{
    struct executor *executor = make_executor(0, 0);
    struct counter counters[3] = {{.limit = 1}, {.limit = 5}, {.limit = 1000}};

    cr_assert_eq(executor_run(executor), 0, "no task at all");
    for (unsigned i = 0; i < 3; i++)
        task_spawn(&counters[i].task, executor, &yield_type);
    cr_assert_eq(executor_run(executor), 0);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(counters[i].polls, counters[i].limit);
        cr_assert_not(task_is_live(&counters[i].task));
    }
    executor_destroy(executor);
}

struct echo {
    struct task task;
    struct op read_op;
    struct op write_op;
    int fds[2];
    char in[8];
};

enum { ECHO_WRITE = 1, ECHO_READ };

static enum task_verdict echo_poll(struct task *task)
{
    struct echo *const echo = container_of(task, struct echo, task);

    ASYNC_BEGIN(task)
        ;
        op_read(&echo->read_op, task, io_file_plain(echo->fds[0]), echo->in, sizeof(echo->in),
                UINT64_MAX);
        op_write(&echo->write_op, task, io_file_plain(echo->fds[1]), "hello", 6, UINT64_MAX);
        AWAIT(task, ECHO_WRITE, op_is_done(&echo->write_op));
        AWAIT(task, ECHO_READ, op_is_done(&echo->read_op));
        ASYNC_END(task);
}

Test(executor, a_read_that_must_wait_completes)
{
    static const struct task_type type = {.name = "echo", .poll = echo_poll};

    for (uint32_t poll_us = 0; poll_us <= 50; poll_us += 50) {
        struct executor *executor = make_executor(0, poll_us);
        struct echo echo = {0};

        cr_assert_eq(pipe(echo.fds), 0);
        task_spawn(&echo.task, executor, &type);
        cr_assert_eq(executor_run(executor), 0);
        cr_assert_eq(echo.write_op.result, 6);
        cr_assert_eq(echo.read_op.result, 6);
        cr_assert_str_eq(echo.in, "hello");
        executor_destroy(executor);
        close(echo.fds[0]);
        close(echo.fds[1]);
    }
}

struct sleeper {
    struct task task;
    struct timer timer;
    uint64_t deadline_ns;
};

enum { SLEEPER_SLEEP = 1 };

static enum task_verdict sleeper_poll(struct task *task)
{
    struct sleeper *const sleeper = container_of(task, struct sleeper, task);

    ASYNC_BEGIN(task)
        ;
        timer_arm(&sleeper->timer, task, sleeper->deadline_ns);
        AWAIT(task, SLEEPER_SLEEP, timer_has_fired(&sleeper->timer));
        ASYNC_END(task);
}

Test(executor, a_timer_ends_the_sleep)
{
    static const struct task_type type = {.name = "sleeper", .poll = sleeper_poll};
    struct executor *executor = make_executor(0, 0);
    struct sleeper sleeper = {.deadline_ns = clock_now_ns() + 3 * NS_PER_MS};

    task_spawn(&sleeper.task, executor, &type);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_geq(clock_now_ns(), sleeper.deadline_ns);
    executor_destroy(executor);
}

/* Counts what other threads post, until the main thread says that they have ended. */
struct waiter {
    struct task task;
    atomic_uint posts;
    unsigned seen;
    unsigned target;
    bool finish;
    atomic_uint *threads_left;
};

static enum task_verdict waiter_poll(struct task *task)
{
    struct waiter *const waiter = container_of(task, struct waiter, task);

    waiter->seen = atomic_load_explicit(&waiter->posts, memory_order_relaxed);
    return waiter->finish ? TASK_DONE : TASK_PENDING;
}

static const struct task_type waiter_type = {.name = "waiter", .poll = waiter_poll};

static void *poster_main(void *arg)
{
    struct waiter *waiter = arg;

    for (unsigned i = 0; i < waiter->target; i++) {
        atomic_fetch_add_explicit(&waiter->posts, 1, memory_order_relaxed);
        task_wake(&waiter->task);
    }
    if (atomic_fetch_sub(waiter->threads_left, 1) == 1)
        executor_stop(waiter->task.executor);
    return NULL;
}

Test(executor, posts_of_other_threads_are_not_lost)
{
    for (uint32_t poll_us = 0; poll_us <= 20; poll_us += 20) {
        struct executor *executor = make_executor(0, poll_us);
        static struct waiter waiters[2];
        pthread_t threads[2];
        atomic_uint threads_left = 2;

        for (unsigned i = 0; i < 2; i++) {
            waiters[i] = (struct waiter){.target = 20000, .threads_left = &threads_left};
            task_spawn(&waiters[i].task, executor, &waiter_type);
        }
        for (unsigned i = 0; i < 2; i++)
            cr_assert_eq(pthread_create(&threads[i], NULL, poster_main, &waiters[i]), 0);
        cr_assert_eq(executor_run(executor), 0);
        for (unsigned i = 0; i < 2; i++) {
            cr_assert_eq(pthread_join(threads[i], NULL), 0);
            waiters[i].finish = true;
            task_wake(&waiters[i].task);
        }
        cr_assert_eq(executor_run(executor), 0);
        for (unsigned i = 0; i < 2; i++)
            cr_assert_eq(waiters[i].seen, 20000);
        executor_destroy(executor);
    }
}
