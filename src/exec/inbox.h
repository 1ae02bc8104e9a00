/*
 * How other threads reach an executor: a stack of posted tasks, and the protocol by which the
 * executor goes to sleep without losing a wake-up. Private to src/exec. All atomics of that
 * protocol are in inbox.c and the inline functions here, each with the site that it pairs with.
 *
 *     PROCESSING  the executor looks at the inbox by itself: nobody has to wake it
 *     WAITING     it sleeps or is about to: whoever posts must wake it
 *     WOKEN       somebody has taken that duty: the others need not
 */
#pragma once
#include <stdbool.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "exec/task.h"

enum inbox_state { INBOX_PROCESSING, INBOX_WAITING, INBOX_WOKEN };

struct inbox {
    _Atomic(struct task *) head; /* newest first */
    atomic_uint state;           /* enum inbox_state */
    atomic_bool stop;            /* executor_stop was called */
    atomic_int poster_cpu;       /* of the last thread that posted; -1: unknown */
    atomic_int owner_cpu;        /* of the executor's thread; -1: unknown */
    int wake_fd;                 /* eventfd */
};

void inbox_init(struct inbox *inbox, int wake_fd);

/* Any thread. Hands `task` to the executor, unless it is in the inbox already, and wakes the
 * executor if need be. */
void inbox_post(struct inbox *inbox, struct task *task);
/* The same in two steps: what inbox_push touches of `task` is over before the system call that
 * inbox_alert may need. Not alerting after a push that was true loses a wake-up. */
must_check bool inbox_push(struct inbox *inbox, struct task *task);
void inbox_alert(struct inbox *inbox);
/* Any thread; async-signal-safe. Sets `stop` and wakes the executor if need be. */
void inbox_post_stop(struct inbox *inbox);

/* The rest: executor thread. */

/* Takes everything posted so far, oldest first, for inbox_chain_pop; NULL when there is nothing. */
struct task *inbox_drain(struct inbox *inbox);
/* The next task of the chain; from here on it can be posted again. NULL at the end. */
struct task *inbox_chain_pop(struct task **chain);

/*
 * Announces that the executor is going to sleep. False: something was posted meanwhile, do not
 * sleep. True: whoever posts from now on writes to wake_fd; sleep, then call inbox_finish_wait.
 */
must_check bool inbox_prepare_wait(struct inbox *inbox);
void inbox_finish_wait(struct inbox *inbox);

/* A hint for polling: no order is implied, inbox_drain does the acquire. */
static inline bool inbox_is_empty(const struct inbox *inbox)
{
    return !atomic_load_explicit(&inbox->head, memory_order_relaxed) &&
           !atomic_load_explicit(&inbox->stop, memory_order_relaxed);
}

/* Takes the request to stop, if there is one. */
static inline bool inbox_take_stop(struct inbox *inbox)
{
    /* The acquire pairs with the release in inbox_post_stop: what the stopper wrote is visible. */
    return atomic_load_explicit(&inbox->stop, memory_order_relaxed) &&
           atomic_exchange_explicit(&inbox->stop, false, memory_order_acquire);
}
