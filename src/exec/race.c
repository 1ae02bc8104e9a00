#include "exec/race.h"

#include <errno.h>

#include "base/check.h"

enum { UNDECIDED = -EINPROGRESS };

void race_start(struct race *race, const struct future *futures, uint32_t count)
{
    CHECK_CMP(count, >, 0U);
    *race = (struct race){.futures = futures, .count = count, .winner = UNDECIDED};
}

/* `winner` is finished, so that a cancel does nothing to it. */
static void decide(struct race *race, int winner)
{
    race->winner = winner;
    for (uint32_t i = 0; i < race->count; i++)
        future_cancel(race->futures[i]);
}

bool race_poll(struct race *race)
{
    bool finished = true;

    /* Nobody is polled between the winner's poll and the cancels: a loser takes nothing. */
    for (uint32_t i = 0; i < race->count && race->winner == UNDECIDED; i++)
        if (future_poll(race->futures[i]))
            decide(race, (int)i);
    if (race->winner == UNDECIDED)
        return false;
    for (uint32_t i = 0; i < race->count; i++)
        finished &= future_poll(race->futures[i]);
    return finished;
}

void race_cancel(struct race *race)
{
    if (race->winner == UNDECIDED)
        decide(race, -ECANCELED);
}

int race_winner(const struct race *race)
{
    CHECK_CMP(race->winner, !=, UNDECIDED);
    return race->winner;
}

DEFINE_FUTURE(race);
