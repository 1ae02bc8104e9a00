#include "exec/executor.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "exec/executor_internal.h"
#include "exec/op.h"
#include "exec/timer.h"
#include "fixture.h"

/* ---- create, run, destroy ---- */

struct counter {
    struct task task;
    struct executor *stop; /* stopped when the limit is half reached */
    unsigned polls;
    unsigned limit;
    unsigned ends;
};

static enum task_verdict yield_poll(struct task *task)
{
    struct counter *const counter = container_of(task, struct counter, task);

    if (++counter->polls == counter->limit)
        return TASK_DONE;
    if (counter->stop && counter->polls == counter->limit / 2)
        executor_stop(counter->stop);
    task_wake(task);
    task_wake(task);
    return TASK_PENDING;
}

static void yield_done(struct task *task)
{
    container_of(task, struct counter, task)->ends++;
}

static const struct task_type yield_type = {
    .name = "yield", .poll = yield_poll, .done = yield_done};

Test(executor, returns_when_no_live_task_is_left)
{
    struct executor *executor = fixture_create(NULL);
    struct counter counters[3] = {{.limit = 1}, {.limit = 5}, {.limit = 1000}};

    cr_assert_eq(executor_run(executor), 0, "no task at all");
    for (unsigned i = 0; i < 3; i++)
        task_spawn(&counters[i].task, executor, &yield_type);
    cr_assert_eq(executor_run(executor), 0);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(counters[i].polls, counters[i].limit, "each wake-up is one poll");
        cr_assert_eq(counters[i].task.poll_count, counters[i].limit);
        cr_assert_not(task_is_live(&counters[i].task));
        cr_assert_eq(counters[i].ends, 1);
    }
    executor_destroy(executor);
}

Test(executor, refuses_sizes_beyond_its_limits)
{
    const struct executor_config configs[] = {
        {.entries = EXECUTOR_ENTRIES_MAX + 1},
        {.file_slots = EXECUTOR_FILE_SLOTS_MAX + 1},
        {.poll_us_max = EXECUTOR_POLL_US_MAX + 1},
    };

    for (unsigned i = 0; i < array_count(configs); i++) {
        struct executor *executor;
        struct err err = {""};

        cr_assert_eq(executor_create(&executor, &configs[i], &err), -ERANGE);
        cr_assert(strstr(err.text, "at most"), "%s", err.text);
    }
    executor_destroy(NULL);
}

Test(executor, destroying_it_with_a_live_task_is_a_bug, .signal = SIGABRT)
{
    struct executor *executor = fixture_create(NULL);
    struct counter counter = {.limit = 1};

    task_spawn(&counter.task, executor, &yield_type);
    executor_destroy(executor);
}

static void *run_elsewhere(void *arg)
{
    static int result;

    result = executor_run(arg);
    return &result;
}

Test(executor, belongs_to_the_thread_that_bound_it)
{
    struct executor *executor = fixture_create(NULL);
    struct counter counter = {.limit = 1};
    struct err err = {""};
    pthread_t thread;
    void *result;

    cr_assert_eq(executor_bind(executor, &err), 0, "%s", err.text);
    cr_assert_eq(executor_bind(executor, &err), 0, "again is a no-op");
    task_spawn(&counter.task, executor, &yield_type);
    cr_assert_eq(pthread_create(&thread, NULL, run_elsewhere, executor), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(*(int *)result, -EEXIST);
    cr_assert_eq(counter.polls, 0, "nothing ran");
    fixture_finish(executor);
}

Test(executor, is_bound_by_its_first_run_and_not_by_its_creator)
{
    struct executor *executor = fixture_create(NULL);
    struct counter counter = {.limit = 10};
    pthread_t thread;
    void *result;

    task_spawn(&counter.task, executor, &yield_type);
    cr_assert_eq(pthread_create(&thread, NULL, run_elsewhere, executor), 0);
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(*(int *)result, 0);
    cr_assert_eq(counter.polls, 10);
    executor_destroy(executor);
}

Test(executor, many_in_one_thread_leave_nothing_behind)
{
    /* A thread has room for 16 registered rings: those of the dead must not take it. */
    for (unsigned i = 0; i < 100; i++) {
        struct executor *executor = fixture_create(NULL);
        struct counter counter = {.limit = 2};
        char *text;
        size_t len;
        FILE *out = open_memstream(&text, &len);

        task_spawn(&counter.task, executor, &yield_type);
        cr_assert_eq(executor_run(executor), 0);
        executor_describe(executor, out);
        fclose(out);
        cr_assert(strstr(text, "ring descriptor registered"), "%u: %s", i, text);
        free(text);
        executor_destroy(executor);
    }
}

/* ---- stop and continue ---- */

Test(executor, stops_and_continues)
{
    struct executor *executor = fixture_create(NULL);
    struct counter counter = {.limit = 1000, .stop = executor};

    task_spawn(&counter.task, executor, &yield_type);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert(task_is_live(&counter.task));
    cr_assert_geq(counter.polls, 500);
    cr_assert_lt(counter.polls, 1000, "in the turn of the stop");
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_eq(counter.polls, 1000);
    executor_destroy(executor);
}

Test(executor, a_stop_before_the_run_ends_it_after_one_turn)
{
    struct executor *executor = fixture_create(NULL);
    struct counter counter = {.limit = 1000};

    task_spawn(&counter.task, executor, &yield_type);
    executor_stop(executor);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_gt(counter.polls, 0);
    cr_assert_lt(counter.polls, 1000);
    fixture_finish(executor);
}

struct reader {
    struct task task;
    struct op op;
    int fds[2];
    char byte;
};

enum { READER_READ = 1 };

static enum task_verdict reader_poll(struct task *task)
{
    struct reader *const reader = container_of(task, struct reader, task);

    ASYNC_BEGIN(task)
        ;
        op_read(&reader->op, task, io_file_plain(reader->fds[0]), &reader->byte, 1, UINT64_MAX);
        AWAIT(task, READER_READ, op_is_done(&reader->op));
        cr_assert_eq(reader->op.result, 1);
        ASYNC_END(task);
}

static const char *const reader_states[] = {[READER_READ] = "READ"};
static const struct task_type reader_type = {.name = "reader",
                                             .poll = reader_poll,
                                             .state_names = reader_states,
                                             .state_count = array_count(reader_states)};

static void *stop_main(void *arg)
{
    executor_stop(arg);
    return NULL;
}

Test(executor, another_thread_stops_it_asleep_and_its_io_stays_in_flight)
{
    for (unsigned i = 0; i < 20; i++) {
        struct executor *executor = fixture_create(NULL);
        struct reader reader = {.byte = 0};
        pthread_t thread;

        cr_assert_eq(pipe(reader.fds), 0);
        task_spawn(&reader.task, executor, &reader_type);
        cr_assert_eq(pthread_create(&thread, NULL, stop_main, executor), 0);
        cr_assert_eq(executor_run(executor), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_assert(op_is_in_flight(&reader.op));
        cr_assert_eq(write(reader.fds[1], "x", 1), 1);
        cr_assert_eq(executor_run(executor), 0);
        cr_assert_eq(reader.byte, 'x');
        executor_destroy(executor);
        close(reader.fds[0]);
        close(reader.fds[1]);
    }
}

static bool half_way(void *arg)
{
    const struct counter *counter = arg;

    return counter->polls >= counter->limit / 2;
}

Test(executor, runs_until_a_condition_holds)
{
    struct executor *executor = fixture_create(NULL);
    struct counter counter = {.limit = 1000};

    task_spawn(&counter.task, executor, &yield_type);
    cr_assert_eq(executor_run_until(executor, half_way, &counter), 0);
    cr_assert_geq(counter.polls, 500);
    cr_assert_lt(counter.polls, 1000);
    fixture_finish(executor);
}

/* ---- order and fairness ---- */

struct respawner {
    struct task task;
    unsigned lives;
};

static enum task_verdict respawner_poll(struct task *task)
{
    /* A wake-up that is still to come when the task ends must not reach its next life. */
    task_wake(task);
    return TASK_DONE;
}

static void respawner_done(struct task *task);
static const struct task_type respawner_type = {
    .name = "respawner", .poll = respawner_poll, .done = respawner_done};

static void respawner_done(struct task *task)
{
    struct respawner *respawner = container_of(task, struct respawner, task);

    cr_assert_eq(task->poll_count, 1);
    if (--respawner->lives)
        task_spawn(task, task->executor, &respawner_type);
    else
        free(respawner);
}

Test(executor, a_task_may_be_spawned_again_or_freed_when_it_is_done)
{
    struct executor *executor = fixture_create(NULL);

    for (unsigned i = 0; i < 10; i++) {
        struct respawner *respawner = calloc(1, sizeof(*respawner));

        cr_assert_not_null(respawner);
        respawner->lives = i + 1;
        task_spawn(&respawner->task, executor, &respawner_type);
    }
    fixture_finish(executor);
}

struct selfish {
    struct task task;
    const struct task *until; /* until this one is done */
    uint64_t polls;
    int fd; /* gets a byte after a while, unless it is 0 */
};

static enum task_verdict selfish_poll(struct task *task)
{
    struct selfish *const selfish = container_of(task, struct selfish, task);

    if (++selfish->polls == 1000 && selfish->fd)
        cr_assert_eq(write(selfish->fd, "x", 1), 1);
    if (!task_is_live(selfish->until))
        return TASK_DONE;
    task_wake(task);
    return TASK_PENDING;
}

static const struct task_type selfish_type = {.name = "selfish", .poll = selfish_poll};

struct napper {
    struct task task;
    struct timer timer;
    struct op op;
    unsigned rounds;
};

enum { NAPPER_NAP = 1, NAPPER_NOP };

static enum task_verdict napper_poll(struct task *task)
{
    struct napper *const napper = container_of(task, struct napper, task);

    ASYNC_BEGIN(task)
        ;
        while (napper->rounds--) {
            timer_arm(&napper->timer, task, executor_now_ns(task->executor) + 10 * NS_PER_US);
            AWAIT(task, NAPPER_NAP, timer_has_fired(&napper->timer));
            op_nop(&napper->op, task);
            AWAIT(task, NAPPER_NOP, op_is_done(&napper->op));
        }
        ASYNC_END(task);
}

static const struct task_type napper_type = {.name = "napper", .poll = napper_poll};

Test(executor, a_task_that_wakes_itself_starves_neither_timers_nor_operations, .timeout = 60)
{
    struct executor *executor = fixture_create(NULL);
    struct napper napper = {.rounds = 200};
    struct selfish selfish = {.until = &napper.task};

    task_spawn(&napper.task, executor, &napper_type);
    task_spawn(&selfish.task, executor, &selfish_type);
    fixture_finish(executor);
}

Test(executor, a_task_that_wakes_itself_does_not_hide_completions_that_the_kernel_defers,
     .timeout = 60)
{
    struct executor *executor = fixture_create(NULL);
    struct reader reader = {.byte = 0};
    struct selfish selfish = {.until = &reader.task};

    /* The read waits in the kernel when the byte comes; nothing else submits or sleeps meanwhile.
     */
    cr_assert_eq(pipe(reader.fds), 0);
    selfish.fd = reader.fds[1];
    task_spawn(&reader.task, executor, &reader_type);
    task_spawn(&selfish.task, executor, &selfish_type);
    fixture_finish(executor);
    cr_assert_eq(reader.byte, 'x');
}

struct ordered {
    struct task task;
    unsigned *next;
    unsigned position;
};

static enum task_verdict ordered_poll(struct task *task)
{
    struct ordered *const ordered = container_of(task, struct ordered, task);

    cr_assert_eq((*ordered->next)++, ordered->position);
    return TASK_DONE;
}

Test(executor, tasks_run_in_the_order_of_their_wake_ups)
{
    static const struct task_type type = {.name = "ordered", .poll = ordered_poll};
    struct executor *executor = fixture_create(NULL);
    struct ordered tasks[100];
    unsigned next = 0;

    for (unsigned i = 0; i < 100; i++) {
        tasks[i] = (struct ordered){.next = &next, .position = i};
        task_spawn(&tasks[i].task, executor, &type);
    }
    fixture_finish(executor);
    cr_assert_eq(next, 100);
}

static enum task_verdict waking_the_dead_poll(struct task *task)
{
    struct selfish *const selfish = container_of(task, struct selfish, task);

    if (!task_is_live(selfish->until))
        task_wake((struct task *)(uintptr_t)selfish->until);
    task_wake(task);
    return TASK_PENDING;
}

Test(executor, waking_a_task_that_is_done_is_a_bug, .signal = SIGABRT)
{
    static const struct task_type type = {.name = "necromancer", .poll = waking_the_dead_poll};
    struct executor *executor = fixture_create(NULL);
    struct counter counter = {.limit = 1};
    struct selfish selfish = {.until = &counter.task};

    task_spawn(&counter.task, executor, &yield_type);
    task_spawn(&selfish.task, executor, &type);
    fixture_finish(executor);
}

/* ---- signals ---- */

static void on_signal(int number)
{
    (void)number;
}

struct pest {
    pthread_t victim;
    int fd;
};

static void *pest_main(void *arg)
{
    const struct pest *pest = arg;

    for (unsigned i = 0; i < 2000; i++)
        cr_assert_eq(pthread_kill(pest->victim, SIGUSR1), 0);
    cr_assert_eq(write(pest->fd, "x", 1), 1);
    return NULL;
}

Test(executor, signals_disturb_neither_its_sleep_nor_its_io)
{
    const struct sigaction action = {.sa_handler = on_signal};
    struct executor *executor = fixture_create(NULL);
    struct reader reader = {.byte = 0};
    struct napper napper = {.rounds = 100};
    struct pest pest = {.victim = pthread_self()};
    pthread_t thread;

    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    cr_assert_eq(pipe(reader.fds), 0);
    pest.fd = reader.fds[1];
    task_spawn(&reader.task, executor, &reader_type);
    task_spawn(&napper.task, executor, &napper_type);
    cr_assert_eq(pthread_create(&thread, NULL, pest_main, &pest), 0);
    fixture_finish(executor);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(reader.byte, 'x');
}

static struct executor *signalled;

static void stop_on_signal(int number)
{
    (void)number;
    executor_stop(signalled);
}

Test(executor, a_signal_handler_may_stop_it)
{
    const struct sigaction action = {.sa_handler = stop_on_signal};
    struct reader reader = {.byte = 0};

    signalled = fixture_create(NULL);
    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(pipe(reader.fds), 0);
    task_spawn(&reader.task, signalled, &reader_type);
    alarm(1);
    cr_assert_eq(executor_run(signalled), 0);
    cr_assert_eq(write(reader.fds[1], "x", 1), 1);
    fixture_finish(signalled);
}

static enum task_verdict failing_poll(struct task *task)
{
    /* As if the kernel had refused a submission for good. */
    if (!task->state++)
        task->executor->error = -EIO;
    return task->executor->error ? TASK_PENDING : TASK_DONE;
}

Test(executor, an_error_that_no_retry_mends_ends_the_run)
{
    static const struct task_type type = {.name = "failing", .poll = failing_poll};
    const struct executor_config configs[2] = {{.poll_us_max = 0}, {.poll_us_max = 5}};

    for (unsigned i = 0; i < 2; i++) {
        struct executor *executor = fixture_create(&configs[i]);
        struct task task;

        task_spawn(&task, executor, &type);
        cr_assert_eq(executor_run(executor), -EIO);
        cr_assert(task_is_live(&task));
        executor->error = 0;
        task_wake(&task);
        fixture_finish(executor);
    }
}

/* ---- what it says about itself ---- */

Test(executor, the_dump_names_tasks_states_and_operations_in_flight)
{
    struct executor *executor = fixture_create(NULL);
    struct reader reader = {.byte = 0};
    struct counter counter = {.limit = 1000};
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    cr_assert_eq(pipe(reader.fds), 0);
    task_spawn(&reader.task, executor, &reader_type);
    task_spawn(&counter.task, executor, &yield_type);
    cr_assert_eq(executor_run_until(executor, half_way, &counter), 0);
    executor_dump(executor, out);
    fclose(out);
    cr_assert(strstr(text, "2 live tasks"), "%s", text);
    cr_assert(strstr(text, "reader: READ, waiting, 1 in flight"), "%s", text);
    cr_assert(strstr(text, "yield: state 0, ready, 0 in flight"), "%s", text);
    free(text);
    cr_assert_eq(write(reader.fds[1], "x", 1), 1);
    fixture_finish(executor);
}

static enum task_verdict busy_poll(struct task *task)
{
    uint64_t end_ns = clock_now_ns() + 2 * NS_PER_MS;

    (void)task;
    while (clock_now_ns() < end_ns)
        ;
    return TASK_DONE;
}

Test(executor, a_traced_one_measures_run_time_and_latency)
{
    static const struct task_type type = {.name = "busy", .poll = busy_poll};
    const struct executor_config config = {.trace = true};
    struct executor *executor = fixture_create(&config);
    struct task tasks[2];
    struct executor_stats stats;

    for (unsigned i = 0; i < 2; i++)
        task_spawn(&tasks[i], executor, &type);
    cr_assert_eq(executor_run(executor), 0);
    executor_stats_read(executor, &stats);
    cr_assert_geq(tasks[0].run_us + tasks[1].run_us, 4000);
    cr_assert_geq(stats.latency_ns_max, 2 * NS_PER_MS, "the second waited for the first");
    cr_assert_geq(stats.latency_ns, stats.latency_ns_max);
    cr_assert_eq(stats.polls, 2);
    executor_destroy(executor);
}

static enum task_verdict current_poll(struct task *task)
{
    cr_assert(executor_is_current(task->executor));
    cr_assert_eq(executor_now_ns(task->executor), executor_now_ns(task->executor));
    cr_assert_leq(executor_now_ns(task->executor), clock_now_ns());
    return TASK_DONE;
}

Test(executor, is_current_inside_its_tasks)
{
    static const struct task_type type = {.name = "current", .poll = current_poll};
    struct executor *executor = fixture_create(NULL);
    struct task task;

    task_spawn(&task, executor, &type);
    cr_assert_not(executor_is_current(executor));
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_not(executor_is_current(executor));
    executor_destroy(executor);
}
