#include "graph.h"

#include <string.h>

#include "failure.h"

static void clear_location(struct location_events *location)
{
    location->count = location->write_count = 0;
    location->rank_max_seen = 0;
    location->writes[0] = EVENT_INITIAL;
}

void graph_clear(struct graph *graph)
{
    for (unsigned i = 0; i < GRAPH_LOCATIONS; i++)
        clear_location(&graph->locations[i]);
    memset(graph->lengths, 0, sizeof(graph->lengths));
    graph->count = graph->fence_count = graph->location_count = 0;
}

static struct location_events *enter_location(struct graph *graph, unsigned location)
{
    REQUIRE(location < GRAPH_LOCATIONS, "a scenario of too many locations");
    if (location >= graph->location_count)
        graph->location_count = location + 1;
    return &graph->locations[location];
}

static void enter(struct graph *graph, unsigned number)
{
    const struct step *step = &graph->steps[number];
    struct location_events *location;

    REQUIRE(graph->lengths[step->thread] < GRAPH_THREAD_EVENTS, "a thread of too many steps");
    graph->threads[step->thread][graph->lengths[step->thread]++] = (uint16_t)number;
    graph->fence_count += step->kind == EVENT_FENCE && step->order == __ATOMIC_SEQ_CST;
    if (step->location == NO_LOCATION)
        return;
    location = enter_location(graph, step->location);
    REQUIRE(location->count < GRAPH_LOCATION_EVENTS - 1, "a location of too many steps");
    location->events[location->count++] = (uint16_t)number;
}

/* Whether an event is the newest possible, given those added before it. */
static bool is_late(struct graph *graph, unsigned number)
{
    const struct step *step = &graph->steps[number];
    struct location_events *location;
    uint16_t rank;

    if (step->kind == EVENT_CHOICE)
        return step->source != 0;
    if (step->kind == EVENT_FENCE)
        return false;
    location = &graph->locations[step->location];
    rank = graph_rank(graph, number);
    if (rank < location->rank_max_seen)
        return true;
    if (step->kind == EVENT_WRITE)
        location->rank_max_seen = rank;
    return false;
}

void graph_load(struct graph *graph, const struct step *steps, unsigned count)
{
    for (unsigned i = 0; i < graph->location_count; i++)
        clear_location(&graph->locations[i]);
    memset(graph->lengths, 0, sizeof(graph->lengths));
    graph->count = count;
    graph->fence_count = graph->location_count = 0;
    memcpy(graph->steps, steps, count * sizeof(*steps));
    for (unsigned i = 0; i < count; i++) {
        enter(graph, i);
        graph->facts[i].is_done = false;
        if (steps[i].kind == EVENT_WRITE) {
            struct location_events *location = &graph->locations[steps[i].location];

            location->writes[steps[i].rank] = (uint16_t)i;
            location->write_count++;
        }
    }
    for (unsigned i = 0; i < count; i++)
        graph->facts[i].is_late = is_late(graph, i);
    /* A write that an earlier event reads was what made that one be visited again. */
    for (unsigned i = 0; i < count; i++)
        if (steps[i].kind == EVENT_READ && steps[i].source != EVENT_INITIAL && steps[i].source > i)
            graph->facts[steps[i].source].is_late = true;
}

unsigned graph_add(struct graph *graph, struct step step)
{
    unsigned number = graph->count;

    REQUIRE(number < GRAPH_EVENTS, "an execution of too many steps");
    step.index = (uint16_t)(graph->lengths[step.thread] + 1);
    if (step.kind == EVENT_WRITE) {
        struct location_events *location = enter_location(graph, step.location);

        for (unsigned rank = location->write_count; rank >= step.rank; rank--) {
            location->writes[rank + 1] = location->writes[rank];
            graph->steps[location->writes[rank + 1]].rank = (uint16_t)(rank + 1);
        }
        location->writes[step.rank] = (uint16_t)number;
        location->write_count++;
        if (location->rank_max_seen >= step.rank)
            location->rank_max_seen++;
    }
    graph->steps[number] = step;
    graph->count++;
    enter(graph, number);
    graph->facts[number] = (struct fact){.is_late = is_late(graph, number)};
    return number;
}

void graph_drop_last(struct graph *graph)
{
    const struct step *step = &graph->steps[--graph->count];

    graph->lengths[step->thread]--;
    graph->fence_count -= step->kind == EVENT_FENCE && step->order == __ATOMIC_SEQ_CST;
    if (step->location == NO_LOCATION)
        return;
    graph->locations[step->location].count--;
    if (step->kind == EVENT_WRITE) {
        struct location_events *location = &graph->locations[step->location];

        for (unsigned rank = step->rank; rank < location->write_count; rank++) {
            location->writes[rank] = location->writes[rank + 1];
            graph->steps[location->writes[rank]].rank = (uint16_t)rank;
        }
        location->write_count--;
        location->rank_max_seen = location->write_count;
    }
}

uint16_t graph_floor(const struct graph *graph, unsigned location, const struct clock *before)
{
    const struct location_events *events = &graph->locations[location];
    uint16_t floor = 0;

    for (unsigned i = 0; i < events->count; i++) {
        const struct step *step = &graph->steps[events->events[i]];

        if (step->index <= before->at[step->thread]) {
            uint16_t rank = graph_rank(graph, events->events[i]);

            if (rank > floor)
                floor = rank;
        }
    }
    return floor;
}

int graph_exclusive_after(const struct graph *graph, unsigned location, unsigned rank)
{
    const struct location_events *events = &graph->locations[location];
    unsigned next;

    if (rank == events->write_count)
        return -1;
    next = events->writes[rank + 1];
    return graph->steps[next].exclusive ? (int)next : -1;
}
