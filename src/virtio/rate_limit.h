/*
 * A limit on what a device asks of the host: bytes and operations a second, each with a burst. One
 * limit is shared by all queues of a device, in turn.
 *
 *     pump:  for each chain:
 *                if (!rate_limit_admits(limit, &waiter, &queue->pump))
 *                    return VIRTIO_PUMP_BLOCKED;    // the limit wakes the pump
 *                pop; rate_limit_charge(limit, 1, bytes of the chain)
 *     stop:  rate_limit_leave(limit, &waiter)
 *
 * What is not admitted stays in the guest's ring: a limit costs no memory and no polling. Two token
 * buckets: an operation is admitted while both hold a token, and may then take more bytes than
 * there are; what is taken too much is waited for afterwards. So no size of request is starved, and
 * over time none gets more than the rate.
 *
 * Whoever is not admitted stands in line. The first in line is woken when its token is there, and
 * is last again after one operation, as long as others wait.
 *
 * Executor thread, or before it runs.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/list.h"
#include "exec/timer.h"

/* More is as good as no limit; keeps the arithmetic in 64 bits. */
#define RATE_LIMIT_MAX 1000000000000ULL

struct rate_config {
    uint64_t rate;  /* a second, at most RATE_LIMIT_MAX; 0: no limit */
    uint64_t burst; /* at once, after a pause; 0: what the rate gives in a tenth of a second */
};

struct rate_limit_config {
    struct rate_config bytes;
    struct rate_config operations;
};

/* ---- a token bucket ---- */

/* All private. What is in it is what `full_ns`, the one thing that changes, is away from now. */
struct token_bucket {
    uint64_t rate;     /* tokens a second; 0: there is always one */
    uint64_t burst_ns; /* in which an empty one becomes full */
    uint64_t token_ns; /* in which a token comes, rounded up */
    uint64_t full_ns;  /* when it is full again */
    uint64_t rest;     /* what full_ns is rounded down by, in 1/rate ns */
};

/* Full. */
void token_bucket_init(struct token_bucket *bucket, const struct rate_config *config);
/* From when on there is a token, unless one is taken; 0: since ever. */
uint64_t token_bucket_ready_ns(const struct token_bucket *bucket);
/* Takes tokens, whether they are there or not. Time does not go back. */
void token_bucket_take(struct token_bucket *bucket, uint32_t tokens, uint64_t now_ns);

/* ---- two of them, and those who wait ---- */

/* Of one who asks; zeroed at first. Outlives its place in the line. */
struct rate_waiter {
    struct list link;  /* private */
    struct task *task; /* private: NULL while it does not wait */
};

/* All private. */
struct rate_limit {
    struct token_bucket bytes, operations;
    struct list waiters; /* the first one's task is what the timer wakes */
    struct timer timer;
};

void rate_limit_init(struct rate_limit *limit, const struct rate_limit_config *config);

static inline bool rate_limit_is_on(const struct rate_limit *limit)
{
    return limit->bytes.rate || limit->operations.rate;
}

/* Whether one more operation may start now. If not, `task` is woken when it is time to ask again.
 */
must_check bool rate_limit_admits(struct rate_limit *limit, struct rate_waiter *waiter,
                                  struct task *task);
/* What was started, admitted or not: found out later, or more than it looked like. */
void rate_limit_charge(struct rate_limit *limit, struct executor *executor, uint32_t operations,
                       uint32_t bytes);
/* Gives up the place in the line, if any: before the task ends. */
void rate_limit_leave(struct rate_limit *limit, struct rate_waiter *waiter);
