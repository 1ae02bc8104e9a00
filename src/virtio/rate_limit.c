#include "virtio/rate_limit.h"

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "exec/executor.h"

enum { BURST_DIVISOR = 10 }; /* of the rate, where no burst is given */

/* A century: what no sum of times that a bucket makes comes near to overflow with. */
#define NS_MAX (100 * 365 * 86400ULL * NS_PER_S)

_Static_assert(UINT32_MAX *NS_PER_S <= UINT64_MAX - RATE_LIMIT_MAX, "of what is taken at once");

void token_bucket_init(struct token_bucket *bucket, const struct rate_config *config)
{
    uint64_t burst = config->burst ? config->burst : config->rate / BURST_DIVISOR;
    unsigned __int128 burst_ns;

    CHECK_CMP(config->rate, <=, RATE_LIMIT_MAX);
    *bucket = (struct token_bucket){.rate = config->rate};
    if (!config->rate)
        return;
    bucket->token_ns = (NS_PER_S + config->rate - 1) / config->rate;
    burst_ns = (unsigned __int128)burst * NS_PER_S / config->rate;
    bucket->burst_ns = burst_ns < NS_MAX ? (uint64_t)burst_ns : NS_MAX;
    /* One that never holds a whole token would never give one. */
    bucket->burst_ns = u64_max(bucket->burst_ns, bucket->token_ns);
}

uint64_t token_bucket_ready_ns(const struct token_bucket *bucket)
{
    uint64_t ahead_ns = bucket->burst_ns - bucket->token_ns;

    return bucket->full_ns > ahead_ns ? bucket->full_ns - ahead_ns : 0;
}

void token_bucket_take(struct token_bucket *bucket, uint32_t tokens, uint64_t now_ns)
{
    uint64_t left;

    if (!bucket->rate)
        return;
    if (bucket->full_ns < now_ns) {
        bucket->full_ns = now_ns;
        bucket->rest = 0;
    }
    left = tokens * NS_PER_S + bucket->rest;
    /* A debt of more than a century is as good as one of a century. */
    bucket->full_ns = u64_min(bucket->full_ns + left / bucket->rate, now_ns + NS_MAX);
    bucket->rest = left % bucket->rate;
}

void rate_limit_init(struct rate_limit *limit, const struct rate_limit_config *config)
{
    *limit = (struct rate_limit){0};
    token_bucket_init(&limit->bytes, &config->bytes);
    token_bucket_init(&limit->operations, &config->operations);
    list_init(&limit->waiters);
}

/* NULL: nobody waits. */
static struct rate_waiter *first_waiter(struct rate_limit *limit)
{
    struct list *first = limit->waiters.next;

    return first == &limit->waiters ? NULL : container_of(first, struct rate_waiter, link);
}

bool rate_limit_admits(struct rate_limit *limit, struct rate_waiter *waiter, struct task *task)
{
    uint64_t ready_ns =
        u64_max(token_bucket_ready_ns(&limit->bytes), token_bucket_ready_ns(&limit->operations));

    if (!rate_limit_is_on(limit))
        return true;
    if (!waiter->task) {
        waiter->task = task;
        list_push_back(&limit->waiters, &waiter->link);
    }
    if (first_waiter(limit) != waiter)
        return false;
    if (ready_ns > executor_now_ns(task->executor)) {
        timer_arm(&limit->timer, task, ready_ns);
        return false;
    }
    rate_limit_leave(limit, waiter);
    return true;
}

void rate_limit_charge(struct rate_limit *limit, struct executor *executor, uint32_t operations,
                       uint32_t bytes)
{
    uint64_t now_ns;

    if (!rate_limit_is_on(limit))
        return;
    now_ns = executor_now_ns(executor);
    token_bucket_take(&limit->operations, operations, now_ns);
    token_bucket_take(&limit->bytes, bytes, now_ns);
}

void rate_limit_leave(struct rate_limit *limit, struct rate_waiter *waiter)
{
    bool was_first = first_waiter(limit) == waiter;

    if (!waiter->task)
        return;
    waiter->task = NULL;
    list_remove(&waiter->link);
    if (!was_first)
        return;
    timer_cancel(&limit->timer);
    /* The next one looks for itself when it is to be woken. */
    if (first_waiter(limit))
        task_wake(first_waiter(limit)->task);
}
