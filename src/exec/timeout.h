/*
 * A time limit around any future.
 *
 *     op_recv(&frame->recv, task, frame->socket, frame->buffer, sizeof(frame->buffer), 0);
 *     timeout_start(&frame->timeout, task, op_future(&frame->recv), clock_now_ns() + 5 * NS_PER_S);
 *     AWAIT(task, RECV, timeout_poll(&frame->timeout));
 *     if (timeout_has_expired(&frame->timeout)) ...
 *
 * When the time is up the future is cancelled, and the timeout is over when the future has let go.
 * A future that was finished at that time wins. The result of an operation may cross its cancel, so
 * that it was carried out although the time was up: its own result says so.
 * A timeout is a future itself, see future.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/future.h"
#include "exec/timer.h"

struct timeout {
    struct future future; /* private */
    struct timer timer;   /* private */
    bool expired;         /* private */
};

/* `future` was started for `task`. The deadline is of CLOCK_MONOTONIC; UINT64_MAX: never. */
void timeout_start(struct timeout *timeout, struct task *task, struct future future,
                   uint64_t deadline_ns);
bool timeout_poll(struct timeout *timeout);
/* Cancels the future. */
void timeout_cancel(struct timeout *timeout);
struct future timeout_future(struct timeout *timeout);

/* True when it was the time that ended it. */
static inline bool timeout_has_expired(const struct timeout *timeout)
{
    return timeout->expired;
}
