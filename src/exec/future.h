/*
 * What a task can await, as far as the combinators (join.h, race.h, timeout.h, job.h) need to know
 * it: two words that refer to a future of any kind. Nothing is stored in the future for it.
 *
 *     struct future both[] = {op_future(&frame->op), timer_future(&frame->timer)};
 *
 * A kind of future NAME is a struct in the frame of the task that awaits it, with
 *
 *     NAME_start(&f, task, ...)    (or a better verb) begins, and never fails: errors are results
 *     NAME_poll(&f) -> bool        or NAME_is_done(&f), where polling only looks
 *     NAME_cancel(&f)
 *     NAME_future(&f)              this reference; the frame neither moves nor goes meanwhile
 *
 * and keeps these rules, on which the combinators rely:
 *  1. After start the task is woken whenever poll may have become true, or should be called to make
 *     progress. Every poll of the task polls every future that it waits for: a wake-up does not say
 *     for whom it was.
 *  2. Once poll is true the future is finished: poll stays true, and the frame may go.
 *  3. Cancel is a request. Afterwards poll is true at once, or the task is woken when it is; until
 *     then the future goes on like any other, since the kernel or another thread may still hold it.
 *     Cancelling a finished future is a no-op, and so is cancelling again.
 *  4. What a future takes (a lock, an item) it takes inside poll and nowhere else: one that was
 *     cancelled before its poll was true has taken nothing. Only what the kernel or another thread
 *     did meanwhile is done: then the future's own result says so.
 * Executor thread only.
 */
#pragma once
#include <stdbool.h>

struct future_type {
    /* True: finished. */
    bool (*poll)(void *self);
    void (*cancel)(void *self);
};

struct future {
    const struct future_type *type;
    void *self;
};

static inline bool future_poll(struct future future)
{
    return future.type->poll(future.self);
}

static inline void future_cancel(struct future future)
{
    future.type->cancel(future.self);
}

/* For the source of a kind of future: defines NAME_future by NAME_poll and NAME_cancel. */
#define DEFINE_FUTURE(name)                                                            \
    static bool name##_poll_self(void *self)                                           \
    {                                                                                  \
        return name##_poll(self);                                                      \
    }                                                                                  \
    static void name##_cancel_self(void *self)                                         \
    {                                                                                  \
        name##_cancel(self);                                                           \
    }                                                                                  \
    struct future name##_future(struct name *name)                                     \
    {                                                                                  \
        static const struct future_type type = {name##_poll_self, name##_cancel_self}; \
                                                                                       \
        return (struct future){&type, name};                                           \
    }                                                                                  \
    _Static_assert(1, "")
