/* The search, for main.c and for tests of the explorer itself. */
#pragma once
#include "graph.h"
#include "model.h"

struct seed {
    unsigned count;
    struct seed_step {
        uint8_t thread;
        uint16_t number;
    } steps[GRAPH_EVENTS];
};

/* Explores a scenario to the end, to its first failure, or for `limit` runs. */
struct exploration explore(const struct scenario *scenario, uint64_t limit);
/* One run as the seed says. False: it failed, as it should. */
bool explore_replay(const struct scenario *scenario, const struct seed *seed);

/* report.c. Of the last run: what went wrong, and every step in order. */
const char *failure_text(void);
void report_failure(void);
/* The same as a string that replays. In static memory. */
const char *seed_write(void);
/* False: not a seed. */
must_check bool seed_read(const char *text, struct seed *seed);
