/*
 * The costs of src/exec, each beside what it is made of: a bare io_uring loop, a futex, two threads
 * that spin. Ours and the reference alternate within one run, so that a busy machine hurts both.
 *
 *     build/release/bench-async [--smoke] [--json FILE] [NAME]
 */
#include <liburing.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "exec/executor.h"
#include "exec/op.h"
#include "exec/timer.h"
#include "report/report.h"
#include "report/run_delay.h"

enum { BATCH_MAX = 32, POLL_US = 50 };

/* How much work a run does; the smoke size only shows that everything runs. */
struct size {
    uint64_t resumes, nops, timers, posts;
};

static const struct size size_full = {2000000, 400000, 1000000, 20000};
static const struct size size_smoke = {20000, 2000, 10000, 200};

static struct executor *create(uint32_t poll_us)
{
    const struct executor_config config = {.poll_us_max = poll_us};
    struct executor *executor;
    struct err err;

    if (executor_create(&executor, &config, &err) < 0) {
        fprintf(stderr, "bench-async: %s\n", err.text);
        exit(1);
    }
    return executor;
}

static double run(struct executor *executor, uint64_t count)
{
    uint64_t begin_ns = clock_now_ns();

    CHECK_CMP(executor_run(executor), ==, 0);
    return (double)(clock_now_ns() - begin_ns) / (double)count;
}

/* resume: tasks that wake themselves. */

struct spinner {
    struct task task;
    uint64_t left;
};

static enum task_verdict spinner_poll(struct task *task)
{
    struct spinner *const spinner = container_of(task, struct spinner, task);

    if (!--spinner->left)
        return TASK_DONE;
    task_wake(task);
    return TASK_PENDING;
}

static const struct task_type spinner_type = {.name = "spinner", .poll = spinner_poll};

static double resume(uint64_t resumes, uint64_t tasks)
{
    struct executor *executor = create(0);
    struct spinner *spinners = calloc(tasks, sizeof(*spinners));
    uint64_t rounds = resumes / tasks ? resumes / tasks : 1;
    double ns;

    CHECK(spinners);
    for (uint64_t i = 0; i < tasks; i++) {
        spinners[i].left = rounds;
        task_spawn(&spinners[i].task, executor, &spinner_type);
    }
    ns = run(executor, rounds * tasks);
    executor_destroy(executor);
    free(spinners);
    return ns;
}

static double resume_1(const struct size *size)
{
    return resume(size->resumes, 1);
}

static double resume_100(const struct size *size)
{
    return resume(size->resumes, 100);
}

static double resume_100000(const struct size *size)
{
    return resume(size->resumes, size->resumes < 100000 ? size->resumes : 100000);
}

/* wake: two tasks that wake each other. */

struct pair {
    struct task tasks[2];
    uint64_t left;
};

static enum task_verdict pair_poll(struct pair *pair, unsigned self)
{
    if (task_is_live(&pair->tasks[!self]))
        task_wake(&pair->tasks[!self]);
    if (pair->left <= 1)
        return TASK_DONE;
    pair->left--;
    return TASK_PENDING;
}

static enum task_verdict pair_poll_0(struct task *task)
{
    return pair_poll(container_of(task, struct pair, tasks[0]), 0);
}

static enum task_verdict pair_poll_1(struct task *task)
{
    return pair_poll(container_of(task, struct pair, tasks[1]), 1);
}

static const struct task_type pair_types[2] = {{.name = "ping", .poll = pair_poll_0},
                                               {.name = "pong", .poll = pair_poll_1}};

static double wake(const struct size *size)
{
    struct executor *executor = create(0);
    struct pair pair = {.left = size->resumes};
    double ns;

    /* The second waits for the first's wake-up from the start. */
    task_spawn(&pair.tasks[0], executor, &pair_types[0]);
    task_spawn(&pair.tasks[1], executor, &pair_types[1]);
    ns = run(executor, size->resumes);
    executor_destroy(executor);
    return ns;
}

/* await_nop: tasks that await one NOP after the other, and the same without an executor. */

struct nopper {
    struct task task;
    struct op op;
    uint64_t left;
};

enum { NOPPER_NOP = 1 };

static enum task_verdict nopper_poll(struct task *task)
{
    struct nopper *const nopper = container_of(task, struct nopper, task);

    ASYNC_BEGIN(task)
        ;
        while (nopper->left--) {
            op_nop(&nopper->op, task);
            AWAIT(task, NOPPER_NOP, op_is_done(&nopper->op));
        }
        ASYNC_END(task);
}

static const struct task_type nopper_type = {.name = "nopper", .poll = nopper_poll};

static double await_nop(uint64_t nops, unsigned batch)
{
    struct executor *executor = create(POLL_US);
    static struct nopper noppers[BATCH_MAX];
    double ns;

    for (unsigned i = 0; i < batch; i++) {
        noppers[i] = (struct nopper){.left = nops / batch};
        task_spawn(&noppers[i].task, executor, &nopper_type);
    }
    ns = run(executor, nops / batch * batch);
    executor_destroy(executor);
    return ns;
}

static double bare_nop(uint64_t nops, unsigned batch)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN |
                                              IORING_SETUP_TASKRUN_FLAG};
    struct io_uring ring;
    uint64_t begin_ns;

    CHECK_CMP(io_uring_queue_init_params(256, &ring, &params), ==, 0);
    CHECK_CMP(io_uring_register_ring_fd(&ring), ==, 1);
    begin_ns = clock_now_ns();
    for (uint64_t done = 0; done < nops; done += batch) {
        struct io_uring_cqe *cqe;
        unsigned head, reaped = 0;

        for (unsigned i = 0; i < batch; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

            io_uring_prep_nop(sqe);
            io_uring_sqe_set_data64(sqe, i + 1);
        }
        CHECK_CMP(io_uring_submit_and_wait(&ring, batch), ==, (int)batch);
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            CHECK_CMP(cqe->user_data, <=, batch);
            reaped++;
        }
        io_uring_cq_advance(&ring, reaped);
        CHECK_CMP(reaped, ==, batch);
    }
    begin_ns = clock_now_ns() - begin_ns;
    io_uring_queue_exit(&ring);
    return (double)begin_ns / (double)nops;
}

static double await_nop_b1(const struct size *size)
{
    return await_nop(size->nops, 1);
}

static double await_nop_b32(const struct size *size)
{
    return await_nop(size->nops, BATCH_MAX);
}

static double bare_nop_b1(const struct size *size)
{
    return bare_nop(size->nops, 1);
}

static double bare_nop_b32(const struct size *size)
{
    return bare_nop(size->nops, BATCH_MAX);
}

/* timer_arm, timer_cancel: many timers of one task at pseudo-random times within 100 s. */

struct alarm_clock {
    struct task task;
    struct timer *timers;
    uint64_t count;
    uint64_t arm_ns, cancel_ns;
};

static enum task_verdict alarm_clock_poll(struct task *task)
{
    /* A task counts what it has in flight in 16 bits: the timers are spread over many tasks. */
    enum { TIMERS_PER_TASK = 1 << 15 };
    struct alarm_clock *const alarm_clock = container_of(task, struct alarm_clock, task);
    static struct task owners[64];
    uint64_t random = 88172645463325252ULL;
    uint64_t now_ns = executor_now_ns(task->executor);
    uint64_t begin_ns;

    for (unsigned i = 0; i < array_count(owners); i++)
        owners[i] = (struct task){.type = task->type, .executor = task->executor};
    begin_ns = clock_now_ns();
    for (uint64_t i = 0; i < alarm_clock->count; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        timer_arm(&alarm_clock->timers[i], &owners[i / TIMERS_PER_TASK],
                  now_ns + NS_PER_S + random % (100 * NS_PER_S));
    }
    alarm_clock->arm_ns = clock_now_ns() - begin_ns;
    begin_ns = clock_now_ns();
    for (uint64_t i = 0; i < alarm_clock->count; i++)
        timer_cancel(&alarm_clock->timers[i]);
    alarm_clock->cancel_ns = clock_now_ns() - begin_ns;
    return TASK_DONE;
}

static struct alarm_clock measure_timers(uint64_t count)
{
    static const struct task_type type = {.name = "alarm clock", .poll = alarm_clock_poll};
    struct executor *executor = create(0);
    struct alarm_clock alarm_clock = {.count = count};

    alarm_clock.timers = calloc(count, sizeof(struct timer));
    CHECK(alarm_clock.timers);
    /* Touch the memory: page faults are not what is measured. */
    for (uint64_t i = 0; i < count; i++)
        alarm_clock.timers[i].status = TIMER_FIRED;
    task_spawn(&alarm_clock.task, executor, &type);
    run(executor, 1);
    executor_destroy(executor);
    free(alarm_clock.timers);
    return alarm_clock;
}

static double timer_arm_1e6(const struct size *size)
{
    return (double)measure_timers(size->timers).arm_ns / (double)size->timers;
}

static double timer_cancel_1e6(const struct size *size)
{
    return (double)measure_timers(size->timers).cancel_ns / (double)size->timers;
}

/* task_life: created, run once, freed. */

struct mayfly {
    struct task task;
    void *payload;
};

static enum task_verdict mayfly_poll(struct task *task)
{
    (void)task;
    return TASK_DONE;
}

static void mayfly_done(struct task *task)
{
    free(container_of(task, struct mayfly, task));
}

static double task_life_1e6(const struct size *size)
{
    static const struct task_type type = {
        .name = "mayfly", .poll = mayfly_poll, .done = mayfly_done};
    struct executor *executor = create(0);
    uint64_t count = size->timers, begin_ns = clock_now_ns();

    for (uint64_t i = 0; i < count; i++) {
        struct mayfly *mayfly = malloc(sizeof(*mayfly));

        CHECK(mayfly);
        task_spawn(&mayfly->task, executor, &type);
    }
    CHECK_CMP(executor_run(executor), ==, 0);
    begin_ns = clock_now_ns() - begin_ns;
    executor_destroy(executor);
    return (double)begin_ns / (double)count;
}

/* post_reply: a plain thread posts to a task and waits for its answer. */

struct server {
    struct task task;
    cache_isolated atomic_uint request;
    cache_isolated atomic_uint reply;
    bool sleeps; /* the client waits in a futex, not in a loop */
    unsigned count;
};

static void futex_wait(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static enum task_verdict server_poll(struct task *task)
{
    struct server *const server = container_of(task, struct server, task);
    unsigned request = atomic_load_explicit(&server->request, memory_order_acquire);

    if (request == atomic_load_explicit(&server->reply, memory_order_relaxed))
        return TASK_PENDING;
    atomic_store_explicit(&server->reply, request, memory_order_release);
    if (server->sleeps)
        futex_wake(&server->reply);
    return request == server->count + 1 ? TASK_DONE : TASK_PENDING;
}

static void await_word(atomic_uint *word, unsigned value, bool sleeps)
{
    unsigned seen;

    while ((seen = atomic_load_explicit(word, memory_order_acquire)) != value) {
        if (sleeps)
            futex_wait(word, seen);
        else
            cpu_relax();
    }
}

struct client {
    struct server *server;
    uint64_t *latencies_ns;
};

static void *client_main(void *arg)
{
    const struct client *client = arg;
    struct server *server = client->server;

    for (unsigned i = 1; i <= server->count; i++) {
        uint64_t begin_ns = clock_now_ns();

        atomic_store_explicit(&server->request, i, memory_order_release);
        task_wake(&server->task);
        await_word(&server->reply, i, server->sleeps);
        client->latencies_ns[i - 1] = clock_now_ns() - begin_ns;
    }
    executor_stop(server->task.executor);
    return NULL;
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

static double post_reply(uint64_t count, bool sleeps)
{
    static const struct task_type type = {.name = "server", .poll = server_poll};
    struct executor *executor = create(sleeps ? 0 : POLL_US);
    static struct server server;
    struct client client = {&server, calloc(count, sizeof(uint64_t))};
    pthread_t thread;
    double us;

    CHECK(client.latencies_ns);
    server = (struct server){.sleeps = sleeps, .count = (unsigned)count};
    task_spawn(&server.task, executor, &type);
    CHECK_CMP(pthread_create(&thread, NULL, client_main, &client), ==, 0);
    CHECK_CMP(executor_run(executor), ==, 0);
    CHECK_CMP(pthread_join(thread, NULL), ==, 0);
    atomic_store(&server.request, server.count + 1);
    task_wake(&server.task);
    CHECK_CMP(executor_run(executor), ==, 0);
    executor_destroy(executor);
    us = median_us(client.latencies_ns, count);
    free(client.latencies_ns);
    return us;
}

/* The floor: the same exchange between two threads and nothing else. */
static void *floor_main(void *arg)
{
    struct server *server = arg;

    for (unsigned i = 1; i <= server->count; i++) {
        await_word(&server->request, i, server->sleeps);
        atomic_store_explicit(&server->reply, i, memory_order_release);
        if (server->sleeps)
            futex_wake(&server->reply);
    }
    return NULL;
}

static double floor_reply(uint64_t count, bool sleeps)
{
    static struct server server;
    uint64_t *latencies_ns = calloc(count, sizeof(uint64_t));
    pthread_t thread;
    double us;

    CHECK(latencies_ns);
    server = (struct server){.sleeps = sleeps, .count = (unsigned)count};
    CHECK_CMP(pthread_create(&thread, NULL, floor_main, &server), ==, 0);
    for (unsigned i = 1; i <= server.count; i++) {
        uint64_t begin_ns = clock_now_ns();

        atomic_store_explicit(&server.request, i, memory_order_release);
        if (sleeps)
            futex_wake(&server.request);
        await_word(&server.reply, i, sleeps);
        latencies_ns[i - 1] = clock_now_ns() - begin_ns;
    }
    CHECK_CMP(pthread_join(thread, NULL), ==, 0);
    us = median_us(latencies_ns, count);
    free(latencies_ns);
    return us;
}

static double post_reply_polling(const struct size *size)
{
    return post_reply(size->posts, false);
}

static double post_reply_asleep(const struct size *size)
{
    return post_reply(size->posts, true);
}

static double spin_floor(const struct size *size)
{
    return floor_reply(size->posts, false);
}

static double futex_floor(const struct size *size)
{
    return floor_reply(size->posts, true);
}

struct benchmark {
    const char *name;
    const char *unit;
    double (*ours)(const struct size *size);
    const char *reference;
    double (*other)(const struct size *size);
};

static const struct benchmark benchmarks[] = {
    {"resume", "ns", resume_1, NULL, NULL},
    {"resume_100", "ns", resume_100, NULL, NULL},
    {"resume_100000", "ns", resume_100000, NULL, NULL},
    {"wake", "ns", wake, NULL, NULL},
    {"await_nop_b1", "ns", await_nop_b1, "bare liburing loop", bare_nop_b1},
    {"await_nop_b32", "ns", await_nop_b32, "bare liburing loop", bare_nop_b32},
    {"timer_arm_1e6", "ns", timer_arm_1e6, NULL, NULL},
    {"timer_cancel_1e6", "ns", timer_cancel_1e6, NULL, NULL},
    {"task_life_1e6", "ns", task_life_1e6, NULL, NULL},
    {"post_reply_polling", "us", post_reply_polling, "two spinning threads", spin_floor},
    {"post_reply_asleep", "us", post_reply_asleep, "two threads on a futex", futex_floor},
};

int main(int argc, char **argv)
{
    static struct report report;
    const struct size *size = &size_full;
    const char *json = NULL, *filter = NULL;
    uint64_t delay_ns = run_delay_ns();
    unsigned runs = 11;
    struct err err;
    int ret = 0;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--smoke")) {
            size = &size_smoke;
            runs = 1;
        } else if (!strcmp(argv[i], "--json") && i + 1 < argc) {
            json = argv[++i];
        } else {
            filter = argv[i];
        }
    }
    printf("sizes: task %zu, op %zu, timer %zu bytes\n", sizeof(struct task), sizeof(struct op),
           sizeof(struct timer));
    report_print_heading(stdout);
    for (size_t b = 0; b < array_count(benchmarks); b++) {
        const struct benchmark *benchmark = &benchmarks[b];
        struct report_row *row;

        if (filter && !strstr(benchmark->name, filter))
            continue;
        row = report_add(&report, benchmark->name, benchmark->unit, benchmark->reference);
        for (unsigned i = 0; i < runs; i++) {
            report_sample(&row->ours, benchmark->ours(size));
            if (benchmark->other)
                report_sample(&row->other, benchmark->other(size));
        }
        report_print_row(row, stdout);
        fflush(stdout);
    }
    printf("run delay of this thread: %.1f ms (large: the machine was busy)\n",
           (double)(run_delay_ns() - delay_ns) / 1e6);
    if (json)
        ret = report_write_json(&report, json, &err);
    if (ret < 0)
        fprintf(stderr, "bench-async: %s\n", err.text);
    return ret < 0;
}
