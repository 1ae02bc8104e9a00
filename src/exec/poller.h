/*
 * How long an executor polls before it sleeps. Polling answers in 0.2 us where a sleep and a wake
 * cost 5 to 40 us, but wastes the cpu when nothing comes: so the window grows while work arrives
 * soon after the executor ran out of it, and shrinks to nothing while it does not.
 */
#pragma once
#include <stdint.h>

struct poller {
    uint64_t window_ns; /* how long to poll now; 0: not at all */
    uint64_t max_ns;
};

/* Starts with the full window. max_ns 0: never polls. */
void poller_init(struct poller *poller, uint64_t max_ns);
/* After `idle_ns` without work, polled and slept, some arrived. */
void poller_learn(struct poller *poller, uint64_t idle_ns);
