#include "virtio/rate_limit.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "../exec/fixture.h"
#include "base/clock.h"

/* ---- the bucket, whose clock is the caller's ---- */

#define BEGIN_NS (1000 * NS_PER_S)

static struct token_bucket bucket_make(uint64_t rate, uint64_t burst)
{
    const struct rate_config config = {.rate = rate, .burst = burst};
    struct token_bucket bucket;

    token_bucket_init(&bucket, &config);
    return bucket;
}

static bool take_one(struct token_bucket *bucket, uint64_t now_ns)
{
    if (token_bucket_ready_ns(bucket) > now_ns)
        return false;
    token_bucket_take(bucket, 1, now_ns);
    return true;
}

static unsigned take_all(struct token_bucket *bucket, uint64_t now_ns)
{
    unsigned count = 0;

    while (take_one(bucket, now_ns))
        count++;
    return count;
}

Test(rate_limit, bucket_without_a_rate_never_waits)
{
    struct token_bucket bucket = bucket_make(0, 5);

    for (int i = 0; i < 100; i++)
        token_bucket_take(&bucket, UINT32_MAX, i);
    cr_assert_eq(token_bucket_ready_ns(&bucket), 0);
}

Test(rate_limit, burst_is_there_at_once_and_then_the_rate)
{
    struct token_bucket bucket = bucket_make(1000, 10);

    cr_assert_eq(take_all(&bucket, BEGIN_NS), 10);
    cr_assert_eq(token_bucket_ready_ns(&bucket), BEGIN_NS + NS_PER_MS);
    cr_assert_eq(take_all(&bucket, BEGIN_NS + NS_PER_MS - 1), 0);
    cr_assert_eq(take_all(&bucket, BEGIN_NS + NS_PER_MS), 1);
    cr_assert_eq(take_all(&bucket, BEGIN_NS + 5 * NS_PER_MS), 4);
    cr_assert_eq(take_all(&bucket, BEGIN_NS + 3600 * NS_PER_S), 10, "no more than the burst");
}

Test(rate_limit, burst_is_a_tenth_of_the_rate_unless_given_and_one_at_least)
{
    struct token_bucket bucket = bucket_make(1000, 0);

    cr_assert_eq(take_all(&bucket, BEGIN_NS), 100);
    bucket = bucket_make(3, 0);
    cr_assert_eq(take_all(&bucket, BEGIN_NS), 1);
    bucket = bucket_make(RATE_LIMIT_MAX, 1);
    cr_assert_eq(take_all(&bucket, BEGIN_NS), 1000, "what comes in the clock's step");
}

Test(rate_limit, what_is_taken_too_much_is_waited_for)
{
    struct token_bucket bucket = bucket_make(1000, 10);

    token_bucket_take(&bucket, 1010, BEGIN_NS);
    cr_assert_eq(token_bucket_ready_ns(&bucket), BEGIN_NS + 1001 * NS_PER_MS);
    token_bucket_take(&bucket, 1000, BEGIN_NS);
    cr_assert_eq(token_bucket_ready_ns(&bucket), BEGIN_NS + 2001 * NS_PER_MS);
}

Test(rate_limit, nothing_is_lost_to_rounding)
{
    static const uint64_t rates[] = {1, 3, 7, 999, 1001, 999999937, 3 * NS_PER_S + 1};

    for (size_t i = 0; i < array_count(rates); i++) {
        struct token_bucket bucket = bucket_make(rates[i], 1);
        uint64_t begin_ns, spent_ns;

        take_all(&bucket, BEGIN_NS);
        begin_ns = token_bucket_ready_ns(&bucket);
        for (uint64_t taken = 0; taken < 100000; taken++)
            token_bucket_take(&bucket, 1000, token_bucket_ready_ns(&bucket));
        spent_ns = token_bucket_ready_ns(&bucket) - begin_ns;
        cr_assert_leq(spent_ns - (uint64_t)((unsigned __int128)100000000 * NS_PER_S / rates[i]), 1);
    }
}

Test(rate_limit, numbers_of_any_size_neither_overflow_nor_wait_for_ever)
{
    static const uint64_t rates[] = {1, 12345, RATE_LIMIT_MAX};
    static const uint64_t bursts[] = {0, 1, UINT64_MAX};

    for (size_t i = 0; i < array_count(rates); i++)
        for (size_t j = 0; j < array_count(bursts); j++) {
            struct token_bucket bucket = bucket_make(rates[i], bursts[j]);
            uint64_t ready_ns = 0;

            cr_assert_eq(token_bucket_ready_ns(&bucket), 0);
            for (int k = 0; k < 1000; k++) {
                token_bucket_take(&bucket, UINT32_MAX, BEGIN_NS);
                cr_assert_geq(token_bucket_ready_ns(&bucket), ready_ns);
                ready_ns = token_bucket_ready_ns(&bucket);
            }
            cr_assert_leq(ready_ns, BEGIN_NS + 101 * 365 * 86400ULL * NS_PER_S);
        }
}

/* Whoever asks at random times never gets more than burst and rate allow; whoever takes what there
 * is gets all of it. */
Test(rate_limit, hungry_taker_gets_the_rate_and_not_more)
{
    srand(1);
    for (int round = 0; round < 50; round++) {
        uint64_t rate = 1 + (uint64_t)rand() % 1000000, burst = 2 + (uint64_t)rand() % 1000;
        struct token_bucket bucket = bucket_make(rate, burst);
        uint64_t now_ns = BEGIN_NS, taken = 0, allowed;

        for (int step = 0; step < 100; step++) {
            taken += take_all(&bucket, now_ns);
            allowed = burst + (uint64_t)((unsigned __int128)(now_ns - BEGIN_NS) * rate / NS_PER_S);
            cr_assert_leq(taken, allowed, "rate %lu burst %lu", rate, burst);
            cr_assert_leq(allowed - taken, 1, "rate %lu burst %lu", rate, burst);
            /* What does not fit into the bucket is lost, so it is never full before. */
            now_ns += (uint64_t)rand() % ((burst - 1) * NS_PER_S / rate);
        }
    }
}

/* ---- tasks in line ---- */

enum { TAKER_COUNT = 3, TURNS = 31 };

struct line {
    struct rate_limit limit;
    unsigned order[TURNS];
    unsigned count;
};

struct taker {
    struct task task;
    struct rate_waiter waiter;
    struct line *line;
    unsigned number;
    bool leaves; /* the line, when polled next */
};

static enum task_verdict taker_poll(struct task *task)
{
    struct taker *const taker = container_of(task, struct taker, task);
    struct line *const line = taker->line;

    while (!taker->leaves && line->count < TURNS) {
        if (!rate_limit_admits(&line->limit, &taker->waiter, task))
            return TASK_PENDING;
        rate_limit_charge(&line->limit, task->executor, 1, 0);
        line->order[line->count++] = taker->number;
    }
    rate_limit_leave(&line->limit, &taker->waiter);
    return TASK_DONE;
}

static const struct task_type taker_type = {.name = "taker", .poll = taker_poll};

static void takers_start(struct executor *executor, struct line *line, struct taker *takers)
{
    for (unsigned i = 0; i < TAKER_COUNT; i++) {
        takers[i] = (struct taker){.line = line, .number = i};
        task_spawn(&takers[i].task, executor, &taker_type);
    }
}

Test(rate_limit, line_is_served_in_turn_and_slept_in)
{
    const struct rate_limit_config config = {.operations = {.rate = 2000, .burst = 1}};
    struct executor *executor = fixture_create(NULL);
    struct executor_stats stats;
    struct taker takers[TAKER_COUNT];
    struct line line = {.count = 0};

    rate_limit_init(&line.limit, &config);
    takers_start(executor, &line, takers);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_eq(line.count, TURNS);
    /* The first one found the line empty. */
    for (unsigned i = 1; i < TURNS; i++)
        cr_assert_eq(line.order[i], (i - 1) % TAKER_COUNT, "turn %u", i);
    executor_stats_read(executor, &stats);
    cr_assert_leq(stats.polls, 3 * TURNS + 2 * TAKER_COUNT, "nobody polls for its turn");
    cr_assert_gt(stats.sleeps, 0);
    executor_destroy(executor);
}

Test(rate_limit, either_limit_is_waited_for)
{
    const struct rate_limit_config config = {.bytes = {.rate = 1 << 20, .burst = 1}};
    struct executor *executor = fixture_create(NULL);
    struct taker taker = {.number = 0};
    struct line line = {.count = 0};

    rate_limit_init(&line.limit, &config);
    rate_limit_charge(&line.limit, executor, 0, 1 << 10);
    taker.line = &line;
    taker.leaves = false;
    task_spawn(&taker.task, executor, &taker_type);
    cr_assert_gt(token_bucket_ready_ns(&line.limit.bytes), 0);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_eq(line.count, TURNS, "bytes came back, and operations are not limited");
    executor_destroy(executor);
}

static bool all_wait(void *arg)
{
    struct taker *takers = arg;

    for (unsigned i = 0; i < TAKER_COUNT; i++)
        if (!takers[i].waiter.task)
            return false;
    return true;
}

static bool second_is_first(void *arg)
{
    struct taker *takers = arg;

    return timer_is_armed(&takers->line->limit.timer) &&
           takers->line->limit.timer.task == &takers[1].task;
}

Test(rate_limit, who_leaves_the_line_wakes_the_next)
{
    const struct rate_limit_config config = {.bytes = {.rate = 1, .burst = 1}};
    struct executor *executor = fixture_create(NULL);
    struct taker takers[TAKER_COUNT];
    struct line line = {.count = 0};

    rate_limit_init(&line.limit, &config);
    rate_limit_charge(&line.limit, executor, 0, UINT32_MAX); /* for longer than this test */
    takers_start(executor, &line, takers);
    cr_assert_eq(executor_run_until(executor, all_wait, takers), 0);
    cr_assert_eq(line.limit.timer.task, &takers[0].task);
    takers[0].leaves = true;
    task_wake(&takers[0].task);
    cr_assert_eq(executor_run_until(executor, second_is_first, takers), 0);
    takers[2].leaves = true;
    task_wake(&takers[2].task);
    takers[1].leaves = true;
    task_wake(&takers[1].task);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_eq(line.count, 0);
    cr_assert_not(timer_is_armed(&line.limit.timer));
    executor_destroy(executor);
}
