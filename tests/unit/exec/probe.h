/* A future that finishes when a test says so, and counts what is done to it. */
#pragma once
#include "exec/future.h"

struct probe {
    bool finished;
    bool lingers; /* after a cancel, as an operation in the kernel does */
    unsigned polls;
    unsigned cancels; /* while it was not finished */
};

static inline bool probe_poll(void *self)
{
    struct probe *probe = self;

    probe->polls++;
    return probe->finished;
}

static inline void probe_cancel(void *self)
{
    struct probe *probe = self;

    if (probe->finished)
        return;
    probe->cancels++;
    probe->finished = !probe->lingers;
}

static inline struct future probe_future(struct probe *probe)
{
    static const struct future_type type = {probe_poll, probe_cancel};

    return (struct future){&type, probe};
}
