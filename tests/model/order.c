/*
 * The order of seq_cst: graph_is_ordered. RC11 wants the relation psc to be acyclic, where
 *
 *     scb = po | po-other-location; hb; po-other-location | hb-same-location | mo | fr
 *     psc = ([Esc] | [Fsc]; hb?); scb; ([Esc] | hb?; [Fsc])
 *           | [Fsc]; (hb | hb; eco; hb); [Fsc]
 *
 * Without fences only the seq_cst accesses themselves count, and it is enough to look at pairs.
 */
#include <string.h>

#include "failure.h"
#include "graph.h"

struct ordered {
    const struct graph *graph;
    unsigned count;
    uint16_t events[GRAPH_ORDERED];
    uint64_t after[GRAPH_ORDERED][GRAPH_ORDERED / 64];
};

static bool is_access(const struct step *step)
{
    return step->kind == EVENT_READ || step->kind == EVENT_WRITE;
}

static bool happens_before(const struct graph *graph, unsigned a, unsigned b)
{
    const struct step *step = &graph->steps[a];

    return a != b && step->index <= graph->facts[b].before.at[step->thread];
}

static bool is_program_order(const struct graph *graph, unsigned a, unsigned b)
{
    return graph->steps[a].thread == graph->steps[b].thread &&
           graph->steps[a].index < graph->steps[b].index;
}

static bool is_elsewhere(const struct step *step, const struct step *other)
{
    return step->location == NO_LOCATION || step->location != other->location;
}

/* Of mo and fr. */
static bool is_overtaken(const struct graph *graph, unsigned a, unsigned b)
{
    const struct step *first = &graph->steps[a], *second = &graph->steps[b];

    return is_access(first) && second->kind == EVENT_WRITE && first->location == second->location &&
           a != b && graph_rank(graph, a) < second->rank;
}

/* po-other-location; hb; po-other-location. */
static bool is_hb_around(const struct graph *graph, unsigned a, unsigned b)
{
    const struct step *first = &graph->steps[a], *last = &graph->steps[b];
    unsigned from = first->index, to = last->index;
    unsigned before_last;

    /* Indexes count from 1, arrays from 0. */
    while (from < graph->lengths[first->thread] &&
           !is_elsewhere(first, &graph->steps[graph->threads[first->thread][from]]))
        from++;
    if (from >= graph->lengths[first->thread])
        return false;
    while (to > 1 && !is_elsewhere(last, &graph->steps[graph->threads[last->thread][to - 2]]))
        to--;
    if (to <= 1)
        return false;
    before_last = graph->threads[last->thread][to - 2];
    return from + 1 <= graph->facts[before_last].before.at[first->thread];
}

static bool is_scb(const struct graph *graph, unsigned a, unsigned b)
{
    const struct step *first = &graph->steps[a], *second = &graph->steps[b];

    if (a == b)
        return false;
    if (is_program_order(graph, a, b) || is_overtaken(graph, a, b))
        return true;
    if (is_access(first) && first->location == second->location && happens_before(graph, a, b))
        return true;
    return is_hb_around(graph, a, b);
}

/* (rf | mo | fr)+ */
static bool is_eco(const struct graph *graph, unsigned a, unsigned b)
{
    const struct step *first = &graph->steps[a], *second = &graph->steps[b];

    if (a == b || !is_access(first) || !is_access(second) || first->location != second->location)
        return false;
    if (first->kind == EVENT_WRITE && second->kind == EVENT_READ)
        return first->rank <= graph_rank(graph, b);
    return graph_rank(graph, a) < graph_rank(graph, b);
}

static bool is_fence(const struct graph *graph, unsigned event)
{
    return graph->steps[event].kind == EVENT_FENCE;
}

/* Whether psc orders a before b; an end that is a fence stands for what hb connects it with. */
static bool is_psc(const struct graph *graph, unsigned a, unsigned b)
{
    const bool from_fence = is_fence(graph, a), to_fence = is_fence(graph, b);

    if (is_scb(graph, a, b))
        return true;
    if (!from_fence && !to_fence)
        return false;
    if (from_fence && to_fence && happens_before(graph, a, b))
        return true;
    for (unsigned i = 0; i < graph->count; i++) {
        if (!(i == a || (from_fence && happens_before(graph, a, i))))
            continue;
        for (unsigned j = 0; j < graph->count; j++) {
            if (!(j == b || (to_fence && happens_before(graph, j, b))))
                continue;
            if (is_scb(graph, i, j) || (from_fence && to_fence && is_eco(graph, i, j)))
                return true;
        }
    }
    return false;
}

static void collect(struct ordered *ordered, const struct graph *graph)
{
    ordered->graph = graph;
    ordered->count = 0;
    for (unsigned i = 0; i < graph->count; i++) {
        if (graph->steps[i].order != __ATOMIC_SEQ_CST || graph->steps[i].kind == EVENT_CHOICE)
            continue;
        REQUIRE(ordered->count < GRAPH_ORDERED, "too many seq_cst steps");
        ordered->events[ordered->count++] = (uint16_t)i;
    }
}

/* Takes away what nothing precedes until nothing is left, or a cycle. */
static bool is_acyclic(const struct ordered *ordered)
{
    uint16_t precede[GRAPH_ORDERED] = {0}, free[GRAPH_ORDERED];
    unsigned free_count = 0, gone = 0;

    for (unsigned i = 0; i < ordered->count; i++)
        for (unsigned j = 0; j < ordered->count; j++)
            precede[j] += ordered->after[i][j / 64] >> (j % 64) & 1;
    for (unsigned i = 0; i < ordered->count; i++)
        if (!precede[i])
            free[free_count++] = (uint16_t)i;
    while (gone < free_count) {
        unsigned i = free[gone++];

        for (unsigned j = 0; j < ordered->count; j++)
            if ((ordered->after[i][j / 64] >> (j % 64) & 1) && --precede[j] == 0)
                free[free_count++] = (uint16_t)j;
    }
    return gone == ordered->count;
}

bool graph_is_ordered(const struct graph *graph)
{
    static struct ordered ordered;

    collect(&ordered, graph);
    memset(ordered.after, 0, ordered.count * sizeof(ordered.after[0]));
    for (unsigned i = 0; i < ordered.count; i++)
        for (unsigned j = 0; j < ordered.count; j++)
            if (i != j && is_psc(graph, ordered.events[i], ordered.events[j]))
                ordered.after[i][j / 64] |= 1ULL << (j % 64);
    return is_acyclic(&ordered);
}
