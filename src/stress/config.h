/* What a stress run is made of: see the text of `ringvm stress --help`. */
#pragma once
#include <stdint.h>

enum {
    STRESS_TASKS_MAX = 100000,
    STRESS_EXECUTORS_MAX = 64,
    STRESS_THREADS_MAX = 1024,
    STRESS_HOLD_US_MAX = 1000000,
};

struct stress_config {
    uint32_t tasks;
    uint32_t executors;
    uint32_t threads;        /* plain ones */
    uint32_t hold_us;        /* the longest hold */
    uint32_t cancel_percent; /* of the waits */
    uint32_t reader_percent; /* of the locks of rwlocks */
    uint32_t poll_us;        /* of the executors, before they sleep */
    uint64_t duration_ns;    /* for each primitive, unless ended by operations */
    uint64_t operations;     /* for each primitive, in all; 0: by time */
    uint64_t bound_ns;       /* nobody waits for longer, or a wake-up was lost */
    uint64_t seed;
};
