/*
 * Revisits: a write that was just added may be what an earlier read reads. The graph in which it
 * does is made of what was there before the read and what led to the write; what came after the
 * read is dropped, and found again from there. So that each graph is met once, this is done only
 * when everything that is dropped was the newest possible: other versions of it do not count.
 */
#include <string.h>

#include "explore.h"

struct plan {
    const struct graph *graph;
    unsigned write;
    unsigned read;
    uint16_t numbers[GRAPH_EVENTS]; /* new ones; NOT_KEPT */
    struct step steps[GRAPH_EVENTS];
    unsigned count;
    struct clock read_before; /* of the read, when it reads the write */
};

enum { NOT_KEPT = 0xfffe };

static bool leads_to(const struct graph *graph, unsigned event, unsigned write)
{
    const struct step *step = &graph->steps[event];

    return step->index <= graph->facts[write].cause.at[step->thread];
}

static void keep(struct plan *plan, unsigned event)
{
    plan->numbers[event] = (uint16_t)plan->count;
    plan->steps[plan->count++] = plan->graph->steps[event];
}

/* The steps that stay, without a rank for the write. */
static void make_plan(struct plan *plan)
{
    const struct graph *graph = plan->graph;

    plan->count = 0;
    for (unsigned i = 0; i < graph->count; i++) {
        if (i <= plan->read || leads_to(graph, i, plan->write))
            keep(plan, i);
        else
            plan->numbers[i] = NOT_KEPT;
    }
    for (unsigned i = 0; i < plan->count; i++) {
        struct step *step = &plan->steps[i];

        if (step->kind == EVENT_READ && step->source != EVENT_INITIAL)
            step->source = plan->numbers[step->source];
    }
    plan->steps[plan->numbers[plan->read]].source = plan->numbers[plan->write];
}

/* Gives the writes that stay their ranks, with the write placed behind the one of rank `after`. */
static void place(struct plan *plan, unsigned after)
{
    const struct graph *graph = plan->graph;

    for (unsigned i = 0; i < graph->location_count; i++) {
        const struct location_events *location = &graph->locations[i];
        const bool is_here = i == graph->steps[plan->write].location;
        uint16_t rank = 0;

        for (unsigned old = 0; old <= location->write_count; old++) {
            unsigned event = location->writes[old];

            if (old && event != plan->write && plan->numbers[event] != NOT_KEPT)
                plan->steps[plan->numbers[event]].rank = ++rank;
            if (is_here && old == after)
                plan->steps[plan->numbers[plan->write]].rank = ++rank;
        }
    }
}

static bool is_ordered(const struct plan *plan)
{
    static struct graph other;
    const struct graph *graph = plan->graph;

    if (!graph->fence_count && graph->steps[plan->write].order != __ATOMIC_SEQ_CST &&
        plan->steps[plan->numbers[plan->read]].order != __ATOMIC_SEQ_CST)
        return true;
    graph_load(&other, plan->steps, plan->count);
    for (unsigned i = 0; i < graph->count; i++)
        if (plan->numbers[i] != NOT_KEPT)
            other.facts[plan->numbers[i]].before = graph->facts[i].before;
    other.facts[plan->numbers[plan->read]].before = plan->read_before;
    return graph_is_ordered(&other);
}

/* The lowest rank behind which the write may be, for it and for the read. */
static unsigned floor_of(const struct plan *plan)
{
    const struct graph *graph = plan->graph;
    const struct location_events *location = &graph->locations[graph->steps[plan->write].location];
    const struct clock *write_before = &graph->facts[plan->write].before;
    unsigned floor = 0;

    for (unsigned i = 0; i < location->count; i++) {
        unsigned event = location->events[i];
        const struct step *step = &graph->steps[event];

        if (event == plan->write || event == plan->read || plan->numbers[event] == NOT_KEPT)
            continue;
        if ((step->index <= plan->read_before.at[step->thread] ||
             step->index <= write_before->at[step->thread]) &&
            graph_rank(graph, event) > floor)
            floor = graph_rank(graph, event);
    }
    return floor;
}

/* Another read-modify-write that stays reads the write of this rank. */
static bool is_taken(const struct plan *plan, unsigned rank)
{
    int other = graph_exclusive_after(plan->graph, plan->graph->steps[plan->write].location, rank);

    if (other == (int)plan->write)
        other =
            graph_exclusive_after(plan->graph, plan->graph->steps[plan->write].location, rank + 1);
    else if (other < 0)
        return false;
    if (other < 0 || plan->numbers[other] == NOT_KEPT)
        return false;
    /* Behind the write itself it stays only if it reads the same as the write does. */
    return true;
}

static bool read_accepts(const struct plan *plan, unsigned after)
{
    const struct request *request = &explorer.requests[plan->read];
    uint64_t value = plan->graph->facts[plan->write].value;

    if (request->is_ready && !request->is_ready(value, request->value))
        return false;
    return request->spun_on == NO_LOCATION ||
           after >= graph_rank_of_source(plan->graph, request->spun_source);
}

static void try_place(struct plan *plan, unsigned after)
{
    const struct graph *graph = plan->graph;
    unsigned before = graph->locations[graph->steps[plan->write].location].writes[after];

    if (before == plan->write || (before != EVENT_INITIAL && plan->numbers[before] == NOT_KEPT))
        return;
    if (is_taken(plan, after) || !read_accepts(plan, after))
        return;
    place(plan, after);
    if (is_ordered(plan))
        work_push(plan->steps, plan->count);
}

static void visit_again(unsigned write, unsigned read)
{
    static struct plan plan;
    const struct graph *graph = &explorer.graph;
    const struct fact *fact = &graph->facts[write];
    const struct step *step = &graph->steps[read];
    struct step *again;
    unsigned floor;

    plan.graph = graph;
    plan.write = write;
    plan.read = read;
    make_plan(&plan);
    again = &plan.steps[plan.numbers[read]];
    read_kind(&explorer.requests[read], fact->value, again);
    memset(&plan.read_before, 0, sizeof(plan.read_before));
    if (step->index > 1)
        plan.read_before = graph->facts[graph->threads[step->thread][step->index - 2U]].before;
    plan.read_before.at[step->thread] = step->index;
    clock_of_read(&plan.read_before, again, write);
    floor = floor_of(&plan);
    if (graph->steps[write].exclusive) {
        unsigned after = graph->steps[write].rank - 1U;

        if (after >= floor)
            try_place(&plan, after);
        return;
    }
    for (unsigned after = floor; after <= graph->locations[step->location].write_count; after++)
        try_place(&plan, after);
}

void revisit(unsigned write)
{
    const struct graph *graph = &explorer.graph;
    static uint16_t newest[GRAPH_LOCATIONS];

    memset(newest, 0, graph->location_count * sizeof(newest[0]));
    for (unsigned i = 0; i < write; i++) {
        const struct step *step = &graph->steps[i];

        if (step->kind == EVENT_WRITE && leads_to(graph, i, write) &&
            step->rank > newest[step->location])
            newest[step->location] = step->rank;
    }
    for (unsigned i = write; i-- > 0;) {
        const struct step *step = &graph->steps[i];

        if (leads_to(graph, i, write))
            continue;
        if (graph->facts[i].is_late)
            return;
        if (step->location != NO_LOCATION && step->kind != EVENT_FENCE &&
            graph_rank(graph, i) < newest[step->location])
            return;
        if (step->kind == EVENT_READ && step->location == graph->steps[write].location)
            visit_again(write, i);
    }
}
