#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore.h"
#include "location.h"
#include "search.h"

/* A graph to run along and beyond. The stack of them is the depth-first search. */
struct work {
    struct work *below;
    unsigned count;
    struct step steps[];
};

void work_push(const struct step *steps, unsigned count)
{
    struct work *work = malloc(sizeof(*work) + count * sizeof(*steps));

    REQUIRE(work, "no memory");
    work->below = explorer.work;
    work->count = count;
    if (count)
        memcpy(work->steps, steps, count * sizeof(*steps));
    explorer.work = work;
}

static void work_pop(void)
{
    struct work *work = explorer.work;

    explorer.work = work->below;
    graph_load(&explorer.graph, work->steps, work->count);
    free(work);
}

void give_up(const char *why)
{
    fprintf(stderr, "model: %s: %s\n", explorer.scenario ? explorer.scenario->name : "no scenario",
            why);
    exit(3);
}

static void begin(const struct scenario *scenario)
{
    while (explorer.work)
        work_pop();
    explorer.scenario = scenario;
    explorer.result = (struct exploration){0};
    explorer.thread_count = 0;
    while (explorer.thread_count < MODEL_THREADS_MAX &&
           scenario->threads[explorer.thread_count].main) {
        struct thread *thread = &explorer.threads[explorer.thread_count];

        thread->name = scenario->threads[explorer.thread_count].name;
        thread->main = scenario->threads[explorer.thread_count].main;
        explorer.thread_count++;
    }
    race_init();
    locations_forget();
    graph_clear(&explorer.graph);
    run_init();
}

struct exploration explore(const struct scenario *scenario, uint64_t limit)
{
    begin(scenario);
    explorer.seed = NULL;
    work_push(NULL, 0);
    while (explorer.work) {
        work_pop();
        switch (run()) {
        case OUTCOME_COMPLETE:
            explorer.result.executions++;
            break;
        case OUTCOME_DISCARDED:
            explorer.result.discarded++;
            break;
        case OUTCOME_FAILED:
            explorer.result.failed = true;
            return explorer.result;
        }
        if (explorer.result.executions + explorer.result.discarded >= limit) {
            explorer.result.bounded = explorer.work;
            break;
        }
    }
    return explorer.result;
}

bool explore_replay(const struct scenario *scenario, const struct seed *seed)
{
    begin(scenario);
    explorer.seed = seed;
    return run() != OUTCOME_FAILED;
}

void *model_state(void)
{
    return race_arena(NULL);
}

unsigned model_self(void)
{
    return (unsigned)explorer.current;
}

void model_discard(void)
{
    run_discard();
}
