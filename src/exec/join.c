#include "exec/join.h"

void join_start(struct join *join, const struct future *futures, uint32_t count)
{
    *join = (struct join){.futures = futures, .count = count};
}

bool join_poll(struct join *join)
{
    bool finished = true;

    /* All, not up to the first: one that was woken may hold up others until it is polled. */
    for (uint32_t i = 0; i < join->count; i++)
        finished &= future_poll(join->futures[i]);
    return finished;
}

void join_cancel(struct join *join)
{
    for (uint32_t i = 0; i < join->count; i++)
        future_cancel(join->futures[i]);
}

DEFINE_FUTURE(join);
