/*
 * Several futures against each other: the first one that is finished wins, the others are
 * cancelled.
 *
 *     frame->parts[0] = job_future(&frame->job);
 *     frame->parts[1] = op_future(&frame->read);
 *     race_start(&frame->race, frame->parts, 2);
 *     AWAIT(task, RACE, race_poll(&frame->race));
 *     if (race_winner(&frame->race) == 0) ...
 *
 * The race is over only when the losers have let go as well: the result of an operation that was
 * cancelled still arrives, and it may say that the operation was carried out. So who cares looks at
 * the results of the losers, too. Losers that take something by being polled (a lock, an item of a
 * channel) have taken nothing.
 *
 * When several are finished at one time the lowest index wins: what must not be missed comes first.
 * A race is a future itself, see future.h.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/future.h"

struct race {
    const struct future *futures; /* private */
    uint32_t count;               /* private */
    int winner;                   /* private */
};

/* All were started, for one task. The array stays the caller's, unchanged until poll is true. */
void race_start(struct race *race, const struct future *futures, uint32_t count);
bool race_poll(struct race *race);
/* Cancels all that are not finished. */
void race_cancel(struct race *race);
struct future race_future(struct race *race);

/* Once poll is true: the winner's index, or -ECANCELED when the race was cancelled before there was
 * one. */
int race_winner(const struct race *race);
