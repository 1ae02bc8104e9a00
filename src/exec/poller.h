/*
 * How long an executor polls before it sleeps. Polling answers in 0.2 us where a sleep and a wake
 * cost 5 to 40 us, but wastes the cpu when nothing comes. Private to src/exec. So:
 *  - the window grows while work arrives soon after the executor ran out of it, and shrinks to
 *    nothing while it does not;
 *  - polling that fails time after time is given up for a number of sleeps, twice as many each
 *    time, whatever the idle times look like: where both share a cpu, work arrives exactly when the
 *    polling ends, because it ends.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct poller {
    uint64_t window_ns; /* how long to poll now; 0: not at all */
    uint64_t max_ns;
    uint32_t failures;    /* in a row */
    uint32_t pause;       /* sleeps until polling is tried again */
    uint32_t pause_again; /* how long the next pause will be */
};

/* Starts with the full window. max_ns 0: never polls. */
void poller_init(struct poller *poller, uint64_t max_ns);
/* Polling found work before the window ended. */
void poller_succeeded(struct poller *poller);
/* After `idle_ns` without work, polled (if `polled`) and slept, some arrived. */
void poller_slept(struct poller *poller, bool polled, uint64_t idle_ns);
