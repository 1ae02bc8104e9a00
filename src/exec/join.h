/*
 * Several futures at once, until all of them are finished.
 *
 *     frame->parts[0] = op_future(&frame->read);
 *     frame->parts[1] = timer_future(&frame->timer);
 *     join_start(&frame->join, frame->parts, 2);
 *     AWAIT(task, BOTH, join_poll(&frame->join));
 *
 * For 2 to some dozens: a poll polls each of them. A join is a future itself, see future.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/future.h"

struct join {
    const struct future *futures; /* private */
    uint32_t count;               /* private */
};

/* All were started, for one task. The array stays the caller's, unchanged until poll is true. */
void join_start(struct join *join, const struct future *futures, uint32_t count);
/* True once all are finished; with none of them, at once. */
bool join_poll(struct join *join);
/* Cancels all that are not finished. */
void join_cancel(struct join *join);
struct future join_future(struct join *join);
