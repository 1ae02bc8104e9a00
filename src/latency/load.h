/* Threads that compete for cpus, caches and memory while something is measured. */
#pragma once
#include <pthread.h>
#include <stdbool.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/err.h"

enum { LOAD_THREADS_MAX = 256 };

struct load {
    unsigned count;                      /* read-only */
    pthread_t threads[LOAD_THREADS_MAX]; /* private */
    atomic_uint state;                   /* private */
};

/* Starts `count` threads, at most LOAD_THREADS_MAX (asserted), which sleep. 0, or a negative errno
 * with its line. */
must_check int load_create(struct load *load, unsigned count, struct err *err);
/* Lets them work, or sleep again soon. */
void load_set_busy(struct load *load, bool busy);
void load_destroy(struct load *load);
