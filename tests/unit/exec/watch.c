#include "exec/watch.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "exec/timer.h"
#include "fixture.h"

/* A queue in the manner of virtio: a driver thread adds, a pump task takes, and the driver kicks
 * only if it was asked to. */
struct queue {
    struct task task;
    struct watch watch;
    atomic_uint avail;
    atomic_bool wants_kicks;
    unsigned used;
    unsigned target;
    unsigned rearms, looks;
    bool waits_for_driver;
    atomic_uint kicks;
};

static bool queue_has_work(struct watch *watch)
{
    struct queue *queue = container_of(watch, struct queue, watch);

    queue->looks++;
    if (atomic_load_explicit(&queue->avail, memory_order_acquire) == queue->used)
        return false;
    task_wake(&queue->task);
    return true;
}

static bool queue_rearm(struct watch *watch)
{
    struct queue *queue = container_of(watch, struct queue, watch);

    queue->rearms++;
    /* Sequentially consistent with the load in has_work's place below: pairs with the driver, which
     * stores avail and then loads wants_kicks. */
    atomic_store(&queue->wants_kicks, true);
    if (atomic_load(&queue->avail) == queue->used)
        return false;
    task_wake(&queue->task);
    return true;
}

static const struct watch_type queue_watch = {queue_has_work, queue_rearm};

static enum task_verdict queue_poll(struct task *task)
{
    struct queue *const queue = container_of(task, struct queue, task);

    atomic_store_explicit(&queue->wants_kicks, false, memory_order_relaxed);
    watch_start(&queue->watch, task->executor, &queue_watch);
    watch_start(&queue->watch, task->executor, &queue_watch);
    queue->used = atomic_load_explicit(&queue->avail, memory_order_acquire);
    if (queue->used != queue->target || queue->waits_for_driver)
        return TASK_PENDING;
    watch_stop(&queue->watch);
    watch_stop(&queue->watch);
    cr_assert_not(watch_is_on(&queue->watch));
    return TASK_DONE;
}

static const struct task_type queue_type = {.name = "queue", .poll = queue_poll};

static void *driver_main(void *arg)
{
    struct queue *queue = arg;

    for (unsigned i = 1; i <= queue->target; i++) {
        atomic_store(&queue->avail, i);
        if (atomic_load(&queue->wants_kicks)) {
            atomic_fetch_add_explicit(&queue->kicks, 1, memory_order_relaxed);
            task_wake(&queue->task);
        }
        /* Now and then the device gets time to fall asleep. */
        if (i % 64 == 0)
            for (unsigned spin = 0; spin < (i * 7) % 4096; spin++)
                atomic_load_explicit(&queue->wants_kicks, memory_order_relaxed);
    }
    executor_stop(queue->task.executor);
    return NULL;
}

static bool saw_everything(void *arg)
{
    const struct queue *queue = arg;

    return queue->used == queue->target;
}

static void drive(uint32_t poll_us)
{
    const struct executor_config config = {.poll_us_max = poll_us};
    struct executor *executor = fixture_create(&config);
    struct queue queue = {.target = 100000, .waits_for_driver = true};
    pthread_t thread;

    task_spawn(&queue.task, executor, &queue_type);
    cr_assert_eq(pthread_create(&thread, NULL, driver_main, &queue), 0);
    /* Hangs when a kick is lost; the stop may come before the last work is seen. */
    while (!saw_everything(&queue))
        cr_assert_eq(executor_run_until(executor, saw_everything, &queue), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    queue.waits_for_driver = false;
    task_wake(&queue.task);
    while (task_is_live(&queue.task))
        cr_assert_eq(executor_run(executor), 0);
    executor_destroy(executor);
}

Test(watch, no_kick_is_lost_when_the_executor_sleeps_at_once, .timeout = 60)
{
    drive(0);
}

Test(watch, no_kick_is_lost_when_the_executor_polls_first, .timeout = 60)
{
    drive(3);
}

/* A driver on the executor's own thread, so that every step is known. */
struct script {
    struct task task;
    struct timer timer;
    struct queue *queue;
    unsigned turns;
};

enum { SCRIPT_TURN = 1, SCRIPT_SLEEP };

static enum task_verdict script_poll(struct task *task)
{
    struct script *const script = container_of(task, struct script, task);
    struct queue *const queue = script->queue;

    ASYNC_BEGIN(task)
        ;
        /* While somebody is busy, the executor looks by itself and never asks for a kick. */
        for (; script->turns < 1000; script->turns++)
            YIELD(task, SCRIPT_TURN);
        cr_assert_gt(queue->looks, 10);
        cr_assert_eq(queue->rearms, 0);
        cr_assert(watch_is_on(&queue->watch));
        /* Then everything sleeps: the watch goes off, once. */
        timer_arm(&script->timer, task, clock_now_ns() + 2 * NS_PER_MS);
        AWAIT(task, SCRIPT_SLEEP, timer_has_fired(&script->timer));
        cr_assert_eq(queue->rearms, 1);
        cr_assert_not(watch_is_on(&queue->watch));
        cr_assert(atomic_load(&queue->wants_kicks));
        atomic_store(&queue->avail, queue->target);
        task_wake(&queue->task);
        ASYNC_END(task);
}

Test(watch, is_looked_at_while_busy_and_taken_off_before_a_sleep)
{
    static const struct task_type type = {.name = "script", .poll = script_poll};
    struct executor *executor = fixture_create(NULL);
    struct queue queue = {.target = 1};
    struct script script = {.queue = &queue};

    task_spawn(&queue.task, executor, &queue_type);
    task_spawn(&script.task, executor, &type);
    fixture_finish(executor);
    cr_assert_eq(queue.used, 1);
}

static bool late_rearm(struct watch *watch)
{
    struct queue *queue = container_of(watch, struct queue, watch);

    /* The driver comes between the last look of the busy executor and the request for kicks, and
     * has no reason to kick. */
    atomic_store(&queue->avail, queue->target);
    return queue_rearm(watch);
}

static const struct watch_type late_watch = {queue_has_work, late_rearm};

static enum task_verdict late_poll(struct task *task)
{
    struct queue *const queue = container_of(task, struct queue, task);

    queue->used = atomic_load_explicit(&queue->avail, memory_order_acquire);
    if (queue->used == queue->target)
        return TASK_DONE;
    watch_start(&queue->watch, task->executor, &late_watch);
    return TASK_PENDING;
}

Test(watch, work_that_is_found_at_the_last_look_forbids_the_sleep, .timeout = 10)
{
    static const struct task_type type = {.name = "late", .poll = late_poll};
    const struct executor_config configs[2] = {{.poll_us_max = 0}, {.poll_us_max = 5}};

    for (unsigned i = 0; i < 2; i++) {
        struct executor *executor = fixture_create(&configs[i]);
        struct queue queue = {.target = 1};

        task_spawn(&queue.task, executor, &type);
        fixture_finish(executor);
        cr_assert_eq(queue.rearms, 1);
    }
}
