/*
 * Ticks at a fixed distance.
 *
 *     interval_start(&frame->interval, task, 10 * NS_PER_MS);
 *     for (;;) {
 *         AWAIT(task, TICK, interval_is_due(&frame->interval));
 *         missed = interval_take(&frame->interval) - 1;
 *
 * Ticks stay on the grid: the n-th is due n periods after the start, however late the ones before
 * were taken. Missed ticks are not made up for: they come as one, whose count says how many.
 * Executor thread only.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/future.h"
#include "exec/timer.h"

struct interval {
    struct timer timer; /* private */
    uint64_t period_ns; /* read-only */
};

/* The first tick is due one period from now. The period is not 0 (asserted). */
void interval_start(struct interval *interval, struct task *task, uint64_t period_ns);
/* No more ticks. The frame lives on until then, see task.h rule 2. */
void interval_stop(struct interval *interval);

static inline bool interval_is_due(const struct interval *interval)
{
    return timer_has_fired(&interval->timer);
}

/* How many ticks have come since the last one was taken: 0 unless one is due, 1 when none was
 * missed. Then the next one is awaited. */
uint64_t interval_take(struct interval *interval);

/* The next tick: finished when it is due, or the interval stopped. */
static inline struct future interval_future(struct interval *interval)
{
    return timer_future(&interval->timer);
}
