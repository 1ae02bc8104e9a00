#include "latency/load.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/futex.h"

enum { LOAD_SLEEPS, LOAD_WORKS, LOAD_ENDS };

/* Larger than a first-level cache, so that it takes more than cycles from its neighbours. */
enum { WORK_WORDS = 1 << 15 };

static void work(volatile uint64_t *words)
{
    for (unsigned i = 0; i < WORK_WORDS; i++)
        words[i] = words[i] * 6364136223846793005ULL + i;
}

static void *load_main(void *arg)
{
    struct load *load = arg;
    uint64_t words[WORK_WORDS] = {0};
    unsigned state;

    while ((state = atomic_load_explicit(&load->state, memory_order_relaxed)) != LOAD_ENDS) {
        if (state == LOAD_WORKS)
            work(words);
        else
            futex_wait(&load->state, LOAD_SLEEPS, FUTEX_NO_DEADLINE);
    }
    return NULL;
}

static void state_set(struct load *load, unsigned state)
{
    atomic_store_explicit(&load->state, state, memory_order_relaxed);
    futex_wake(&load->state, INT_MAX);
}

int load_create(struct load *load, unsigned count, struct err *err)
{
    CHECK_CMP(count, <=, (unsigned)LOAD_THREADS_MAX);
    load->count = 0;
    atomic_init(&load->state, LOAD_SLEEPS);
    while (load->count < count) {
        int ret = -pthread_create(&load->threads[load->count], NULL, load_main, load);

        if (ret) {
            load_destroy(load);
            return err_set(err, ret, "cannot start %u threads: %s; choose a smaller --load", count,
                           strerror(-ret));
        }
        load->count++;
    }
    return 0;
}

void load_set_busy(struct load *load, bool busy)
{
    state_set(load, busy ? LOAD_WORKS : LOAD_SLEEPS);
}

void load_destroy(struct load *load)
{
    state_set(load, LOAD_ENDS);
    while (load->count)
        pthread_join(load->threads[--load->count], NULL);
}
