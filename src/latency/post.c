/*
 * A plain thread posts to a task and waits for its reply, as a vCPU does with an exit. Between two
 * posts it works for a time, so that an executor which sleeps at once is asleep.
 */
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/futex.h"
#include "latency/crew.h"
#include "latency/probe.h"
#include "report/run_delay.h"

#define WORK_MIN_NS (5 * NS_PER_US)
#define WORK_MAX_NS (40 * NS_PER_US)

/* In the word that the client waits for: it sleeps. The number of the reply is above. */
enum { CLIENT_SLEEPS = 1, REPLY_UNIT = 2 };

struct post_scene {
    struct task task;
    struct probe_run *run; /* the client's while it runs */
    uint64_t spin_ns;
    uint64_t run_delay_ns;
    unsigned served; /* the server's */
    atomic_bool is_over;
    cache_isolated atomic_uint request;
    cache_isolated atomic_uint reply;
};

static enum task_verdict server_poll(struct task *task)
{
    struct post_scene *const scene = container_of(task, struct post_scene, task);
    /* Acquire: pairs with the release in client_post, is_over is visible. */
    unsigned request = atomic_load_explicit(&scene->request, memory_order_acquire);

    if (request == scene->served)
        return TASK_PENDING;
    scene->served = request;
    /* Read before the reply: after the last one the client may be gone. */
    if (atomic_load_explicit(&scene->is_over, memory_order_relaxed))
        return TASK_DONE;
    if (atomic_exchange_explicit(&scene->reply, request, memory_order_acq_rel) & CLIENT_SLEEPS)
        futex_wake(&scene->reply, 1);
    return TASK_PENDING;
}

static void reply_await(struct post_scene *scene, unsigned number, uint64_t begin_ns)
{
    unsigned seen;

    while ((seen = atomic_load_explicit(&scene->reply, memory_order_acquire)) != number) {
        /* A spin on the cpu that the executor needs only delays it. */
        if (!(seen & CLIENT_SLEEPS) && executor_is_elsewhere(scene->task.executor) &&
            clock_now_ns() - begin_ns < scene->spin_ns) {
            cpu_relax();
            continue;
        }
        if (seen & CLIENT_SLEEPS ||
            atomic_compare_exchange_strong_explicit(&scene->reply, &seen, seen | CLIENT_SLEEPS,
                                                    memory_order_acquire, memory_order_acquire))
            futex_wait(&scene->reply, seen | CLIENT_SLEEPS, FUTEX_NO_DEADLINE);
    }
}

static void client_post(struct post_scene *scene, unsigned number)
{
    atomic_store_explicit(&scene->request, number, memory_order_release);
    task_wake(&scene->task);
}

static void client_work(struct post_scene *scene)
{
    uint64_t end_ns =
        clock_now_ns() + random_between(&scene->run->random, WORK_MIN_NS, WORK_MAX_NS);

    while (clock_now_ns() < end_ns)
        cpu_relax();
}

static void *client_main(void *arg)
{
    struct post_scene *scene = arg;
    uint64_t before_ns = run_delay_ns();
    unsigned number = 0;
    uint64_t begin_ns;

    do {
        client_work(scene);
        begin_ns = clock_now_ns();
        number += REPLY_UNIT;
        client_post(scene, number);
        reply_await(scene, number, begin_ns);
    } while (!probe_record(scene->run, begin_ns, clock_now_ns()));
    scene->run_delay_ns = run_delay_ns() - before_ns;
    atomic_store_explicit(&scene->is_over, true, memory_order_relaxed);
    client_post(scene, number + REPLY_UNIT);
    return NULL;
}

static int measure(struct probe_run *run, uint32_t poll_us, struct err *err)
{
    static const struct task_type type = {.name = "server", .poll = server_poll};
    struct post_scene scene = {.run = run, .spin_ns = poll_us * NS_PER_US};
    struct crew crew;
    pthread_t client;
    int ret = crew_create(&crew, run, 1, poll_us, err);

    if (ret)
        return ret;
    task_spawn(&scene.task, crew.executors[0], &type);
    ret = -pthread_create(&client, NULL, client_main, &scene);
    if (ret) {
        ret = err_set(err, ret, "cannot start a thread: %s", strerror(-ret));
        probe_end(run);
        atomic_store_explicit(&scene.is_over, true, memory_order_relaxed);
        client_post(&scene, REPLY_UNIT);
        crew_run(&crew);
        crew_destroy(&crew);
        return ret;
    }
    crew_run(&crew);
    /* Before the executor goes: the last post may still be on its way out of task_wake. */
    pthread_join(client, NULL);
    run->run_delay_ns += scene.run_delay_ns;
    crew_destroy(&crew);
    return 0;
}

int post_polling_measure(struct probe_run *run, struct err *err)
{
    return measure(run, run->poll_us, err);
}

int post_asleep_measure(struct probe_run *run, struct err *err)
{
    return measure(run, 0, err);
}
