/*
 * Watches: work that nobody announces while the executor is awake.
 *
 * A notification from a guest costs it an exit. So a queue that was kicked asks for no further
 * kicks and puts a watch on the executor instead: the executor looks (`has_work`) once a turn and
 * all the while it polls, and before it sleeps it takes the watch off and says so (`rearm`): the
 * queue asks for kicks again, and looks a last time.
 *
 *     pump task:  notifications off; watch_start(); serve the queue until it is empty; pending
 *     has_work:   avail index moved? wake the pump task, return true
 *     rearm:      notifications on; FULL FENCE; avail index moved? wake the pump task, return true
 *
 * Without the fence a kick is lost: the guest's store of the index and its load of the flag pair
 * with our store of the flag and our load of the index. All functions: executor thread only.
 */
#pragma once
#include <stdbool.h>

#include "base/list.h"

struct executor;
struct watch;

struct watch_type {
    /* Called often: a load or two, no system call. Wakes the task that will do the work, which need
     * not start the watch again. */
    bool (*has_work)(struct watch *watch);
    /* The watch is off the executor: restores the announcements, then looks again as has_work. */
    bool (*rearm)(struct watch *watch);
};

/* Embedded; zeroed is off. */
struct watch {
    const struct watch_type *type; /* private */
    struct list link;              /* private */
};

/* A no-op when it is on already. The owner stops it before its memory goes. */
void watch_start(struct watch *watch, struct executor *executor, const struct watch_type *type);
/* Does not call rearm. A no-op when it is off. */
void watch_stop(struct watch *watch);
bool watch_is_on(const struct watch *watch);
