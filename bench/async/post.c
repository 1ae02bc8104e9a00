/*
 * A plain thread posts to a task and waits for its answer: when both poll, when both sleep, and
 * when they share a cpu. The reference is the same exchange between two threads and nothing else,
 * or libuv. The median of one run's latencies is its result, in microseconds.
 */
#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#include "base/atomic.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/futex.h"
#include "bench.h"

enum way {
    POLLING,   /* both spin */
    ASLEEP,    /* both sleep */
    SHARE_CPU, /* both would spin, if the other side were elsewhere */
};

/* One question and one answer at a time. */
struct exchange {
    cache_isolated atomic_uint request;
    cache_isolated atomic_uint reply;
    cache_isolated atomic_bool client_sleeps;
    unsigned count;
};

static void reply_with(struct exchange *exchange, unsigned number)
{
    /* Sequentially consistent, as in await_reply: either the client sees the reply before it
     * sleeps, or we see that it sleeps. */
    atomic_store(&exchange->reply, number);
    if (atomic_load(&exchange->client_sleeps))
        futex_wake(&exchange->reply, 1);
}

static void await_reply(struct exchange *exchange, unsigned number, bool may_spin)
{
    unsigned seen;

    while (may_spin && atomic_load_explicit(&exchange->reply, memory_order_acquire) != number)
        cpu_relax();
    if (may_spin)
        return;
    atomic_store(&exchange->client_sleeps, true);
    while ((seen = atomic_load(&exchange->reply)) != number)
        futex_wait(&exchange->reply, seen, FUTEX_NO_DEADLINE);
    atomic_store_explicit(&exchange->client_sleeps, false, memory_order_relaxed);
}

static int compare_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

static double median_us(uint64_t *latencies_ns, uint64_t count)
{
    uint64_t middle = count / 2;

    qsort(latencies_ns, count, sizeof(*latencies_ns), compare_u64);
    return (double)latencies_ns[middle] / (double)NS_PER_US;
}

/* The caller, and so the thread that it creates; returns where they were allowed before. */
static cpu_set_t pin(enum way way)
{
    cpu_set_t before;

    CHECK_CMP(sched_getaffinity(0, sizeof(before), &before), ==, 0);
    if (way != ASLEEP)
        bench_pin_to(bench_cpu_at(&before, false));
    return before;
}

/* That thread: who polls is on another cpu, else a busy machine puts both on one. */
static void pin_other(enum way way, const cpu_set_t *cpus)
{
    if (way == POLLING)
        bench_pin_to(bench_cpu_at(cpus, true));
}

static void unpin(const cpu_set_t *before)
{
    CHECK_CMP(sched_setaffinity(0, sizeof(*before), before), ==, 0);
}

/* ---- to a task ---- */

struct server {
    struct task task;
    struct exchange *exchange;
};

static enum task_verdict server_poll(struct task *task)
{
    struct server *const server = container_of(task, struct server, task);
    struct exchange *const exchange = server->exchange;
    unsigned request = atomic_load_explicit(&exchange->request, memory_order_acquire);

    if (request == atomic_load_explicit(&exchange->reply, memory_order_relaxed))
        return TASK_PENDING;
    reply_with(exchange, request);
    /* The last one is not posted, see post_reply. */
    return request > exchange->count ? TASK_DONE : TASK_PENDING;
}

struct client {
    struct server *server;
    enum way way;
    const cpu_set_t *cpus;
    uint64_t *latencies_ns;
};

static void *client_main(void *arg)
{
    const struct client *client = arg;
    struct exchange *exchange = client->server->exchange;
    struct executor *executor = client->server->task.executor;

    pin_other(client->way, client->cpus);
    for (unsigned i = 1; i <= exchange->count; i++) {
        uint64_t begin_ns = clock_now_ns();

        atomic_store_explicit(&exchange->request, i, memory_order_release);
        task_wake(&client->server->task);
        await_reply(exchange, i,
                    client->way == POLLING ||
                        (client->way == SHARE_CPU && executor_is_elsewhere(executor)));
        client->latencies_ns[i - 1] = clock_now_ns() - begin_ns;
    }
    executor_stop(executor);
    return NULL;
}

static double post_reply(const struct bench_size *size, unsigned way)
{
    static const struct task_type type = {.name = "server", .poll = server_poll};
    cpu_set_t cpus = pin((enum way)way);
    struct executor *executor = bench_executor(way == ASLEEP ? 0 : BENCH_POLL_US);
    struct exchange *exchange = bench_alloc(1, sizeof(*exchange));
    struct server server = {.exchange = exchange};
    struct client client = {&server, (enum way)way, &cpus,
                            bench_alloc(size->posts, sizeof(uint64_t))};
    pthread_t thread;
    double us;

    exchange->count = (unsigned)size->posts;
    task_spawn(&server.task, executor, &type);
    CHECK_CMP(pthread_create(&thread, NULL, client_main, &client), ==, 0);
    CHECK_CMP(executor_run(executor), ==, 0);
    CHECK_CMP(pthread_join(thread, NULL), ==, 0);
    /* The client may not wake a task that ends: it ends now. */
    atomic_store(&exchange->request, exchange->count + 1);
    task_wake(&server.task);
    bench_run(executor);
    us = median_us(client.latencies_ns, size->posts);
    free(client.latencies_ns);
    free(exchange);
    unpin(&cpus);
    return us;
}

/* ---- to a thread ---- */

struct floor {
    struct exchange *exchange;
    enum way way;
    const cpu_set_t *cpus;
};

static void *floor_main(void *arg)
{
    const struct floor *floor = arg;
    struct exchange *exchange = floor->exchange;
    bool spins = floor->way == POLLING;
    unsigned seen;

    pin_other(floor->way, floor->cpus);
    for (unsigned i = 1; i <= exchange->count; i++) {
        while ((seen = atomic_load_explicit(&exchange->request, memory_order_acquire)) != i) {
            if (spins)
                cpu_relax();
            else
                futex_wait(&exchange->request, seen, FUTEX_NO_DEADLINE);
        }
        reply_with(exchange, i);
    }
    return NULL;
}

static double floor_reply(const struct bench_size *size, unsigned way)
{
    cpu_set_t cpus = pin((enum way)way);
    struct exchange *exchange = bench_alloc(1, sizeof(*exchange));
    struct floor floor = {exchange, (enum way)way, &cpus};
    uint64_t *latencies_ns = bench_alloc(size->posts, sizeof(uint64_t));
    pthread_t thread;
    double us;

    exchange->count = (unsigned)size->posts;
    CHECK_CMP(pthread_create(&thread, NULL, floor_main, &floor), ==, 0);
    for (unsigned i = 1; i <= exchange->count; i++) {
        uint64_t begin_ns = clock_now_ns();

        atomic_store_explicit(&exchange->request, i, memory_order_release);
        if (way != POLLING)
            futex_wake(&exchange->request, 1);
        await_reply(exchange, i, way == POLLING);
        latencies_ns[i - 1] = clock_now_ns() - begin_ns;
    }
    CHECK_CMP(pthread_join(thread, NULL), ==, 0);
    us = median_us(latencies_ns, size->posts);
    free(latencies_ns);
    free(exchange);
    unpin(&cpus);
    return us;
}

/* ---- to a loop of libuv ---- */

struct libuv_server {
    uv_async_t async;
    struct exchange *exchange;
    uint64_t *latencies_ns;
};

static void libuv_called(uv_async_t *async)
{
    struct libuv_server *server = async->data;
    unsigned request = atomic_load_explicit(&server->exchange->request, memory_order_acquire);

    if (request != atomic_load_explicit(&server->exchange->reply, memory_order_relaxed))
        reply_with(server->exchange, request);
    if (request > server->exchange->count)
        uv_close((uv_handle_t *)async, NULL);
}

static void *libuv_client_main(void *arg)
{
    struct libuv_server *server = arg;
    struct exchange *exchange = server->exchange;

    for (unsigned i = 1; i <= exchange->count + 1; i++) {
        uint64_t begin_ns = clock_now_ns();

        atomic_store_explicit(&exchange->request, i, memory_order_release);
        uv_async_send(&server->async);
        await_reply(exchange, i, false);
        if (i <= exchange->count)
            server->latencies_ns[i - 1] = clock_now_ns() - begin_ns;
    }
    return NULL;
}

static double libuv_reply(const struct bench_size *size, unsigned way)
{
    struct exchange *exchange = bench_alloc(1, sizeof(*exchange));
    struct libuv_server server = {.exchange = exchange,
                                  .latencies_ns = bench_alloc(size->posts, sizeof(uint64_t))};
    pthread_t thread;
    uv_loop_t loop;
    double us;

    (void)way;
    exchange->count = (unsigned)size->posts;
    CHECK_CMP(uv_loop_init(&loop), ==, 0);
    CHECK_CMP(uv_async_init(&loop, &server.async, libuv_called), ==, 0);
    server.async.data = &server;
    CHECK_CMP(pthread_create(&thread, NULL, libuv_client_main, &server), ==, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_CMP(pthread_join(thread, NULL), ==, 0);
    CHECK_CMP(uv_loop_close(&loop), ==, 0);
    us = median_us(server.latencies_ns, size->posts);
    free(server.latencies_ns);
    free(exchange);
    return us;
}

static const struct bench benches[] = {
    {"post_reply_polling", "us", post_reply, "2 threads spin", floor_reply, POLLING},
    {"post_reply_asleep", "us", post_reply, "2 threads, futex", floor_reply, ASLEEP},
    {"post_reply_asleep_uv", "us", post_reply, "libuv async", libuv_reply, ASLEEP},
    {"post_reply_one_cpu", "us", post_reply, "2 threads, futex", floor_reply, SHARE_CPU},
};
const struct bench_group bench_post = {benches, array_count(benches), NULL};
