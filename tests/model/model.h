/*
 * Scenarios for the schedule explorer: a few threads that use production code. Everything that the
 * threads share is in `state`, which is zeroed before each run. Each run is deterministic but for
 * the order of atomic accesses, what they read, and model_choose.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum { MODEL_THREADS_MAX = 6 };

struct model_thread {
    const char *name;
    void (*main)(void *state);
};

struct scenario {
    const char *name;
    const char *about;
    size_t state_size;
    void (*setup)(void *state);  /* optional: before the threads, seen by all of them */
    void (*finish)(void *state); /* optional: after all have ended, sees everything */
    struct model_thread threads[MODEL_THREADS_MAX];
    /* Canaries: part of the message with which it has to fail. */
    const char *fails_with;
    /* Litmus tests: how many executions there are; 0: not stated. */
    uint64_t executions;
};

struct exploration {
    uint64_t executions; /* complete ones */
    uint64_t discarded;  /* that led nowhere */
    bool failed, bounded;
};

/* One of 0 to count-1: every one is explored. */
unsigned model_choose(unsigned count);
/* Names the memory for traces; in setup. */
void model_name(const void *memory, size_t size, const char *name);
#define MODEL_NAME(object) model_name(&(object), sizeof(object), #object)
/* The memory is gone: whoever touches it from now on is wrong. */
void model_end(const void *memory, size_t size);
/* It may be used again. */
void model_begin(const void *memory, size_t size);
/* Accesses to this atomic are not explored: it is a hint that nothing depends on. In setup. */
void model_hint(const void *atomic);
/* Zeroed memory that lives until the end of the run. */
void *model_alloc(size_t size);
/* Gives up this run: it shows nothing that others do not. */
noreturn_fn void model_discard(void);
/* Eventfds, MODEL_FD and up, count how often they were written to. Waits for more than `seen`. */
enum { MODEL_FD = 100000 };
uint64_t model_fd_wait(int fd, uint64_t seen);
/* The same for a word of the scenario's state. */
uint64_t model_wait_more(const void *word, uint64_t seen);
/* Waits until it is not 0, then makes it 0, in one step with acquire and release order. `is_timed`:
 * waiting for ever is no failure, since a timer would end it. */
uint64_t model_take(void *word, bool is_timed);
/* Counts what the thread has begun and must not leave undone when it ends. */
void model_owe(int count);
/* What setup and the threads are called with. */
void *model_state(void);
/* Of the thread that calls; from 0. */
unsigned model_self(void);

noreturn_fn cold_fn printf_like(1, 2) void fail(const char *format, ...);

#define MODEL_CHECK(condition)                                           \
    do {                                                                 \
        if (!(condition))                                                \
            fail("%s:%d: not true: %s", __FILE__, __LINE__, #condition); \
    } while (0)
