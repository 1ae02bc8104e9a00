/*
 * An execution graph of the C11 memory model: the atomic steps of all threads, which write each
 * read reads from, and the order of the writes to each location. A graph stands for all schedules
 * that differ in nothing else, which is what makes exploring every one of them affordable.
 *
 * Rules are those of RC11 (Lahav et al., "Repairing sequential consistency in C/C++11", 2017), with
 * release sequences as in C++20: coherence, atomicity, order of seq_cst, and no value out of thin
 * air, which excludes load buffering.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum {
    GRAPH_THREADS = 6,
    GRAPH_EVENTS = 512,
    GRAPH_THREAD_EVENTS = 256,
    GRAPH_LOCATIONS = 160,
    GRAPH_LOCATION_EVENTS = 256,
    GRAPH_ORDERED = 128, /* seq_cst accesses and fences */
};
/* What a read reads from, when nobody has written: the initial value, rank 0. */
#define EVENT_INITIAL 0xffffU
#define NO_LOCATION   0xffffU

enum event_kind { EVENT_READ, EVENT_WRITE, EVENT_FENCE, EVENT_CHOICE };

/* How many events of each thread come before. */
struct clock {
    uint16_t at[GRAPH_THREADS];
};

/* What identifies an event, as kept for later and in seeds. Events are numbered as added. */
struct step {
    uint8_t thread;
    uint8_t kind;
    uint8_t order;  /* __ATOMIC_... */
    bool exclusive; /* one half of a read-modify-write */
    uint16_t index; /* in its thread, from 1 */
    uint16_t location;
    uint16_t source; /* of a read: the write; of a choice: what was chosen */
    uint16_t rank;   /* of a write: its place in the location's order, from 1 */
};

/* What follows from it, found again in each run. */
struct fact {
    bool is_done;     /* in this run */
    bool is_late;     /* not the newest possible when it was added: see revisit.c */
    bool has_message; /* an acquire that reads it is synchronised with `message` */
    uint64_t value;   /* read or written */
    struct clock before, cause, message; /* happens-before; program order and reads-from */
    const void *pc;
};

struct location_events {
    uint16_t count;
    uint16_t write_count;
    uint16_t events[GRAPH_LOCATION_EVENTS]; /* in no order */
    uint16_t writes[GRAPH_LOCATION_EVENTS]; /* by rank; [0] is the initial value */
    uint16_t rank_max_seen;                 /* while loading */
};

struct graph {
    unsigned count;
    unsigned fence_count;
    unsigned location_count; /* highest used + 1 */
    uint16_t lengths[GRAPH_THREADS];
    uint16_t threads[GRAPH_THREADS][GRAPH_THREAD_EVENTS];
    struct step steps[GRAPH_EVENTS];
    struct fact facts[GRAPH_EVENTS];
    struct location_events locations[GRAPH_LOCATIONS];
};

void graph_clear(struct graph *graph);
/* Replaces the graph by `count` steps, whose facts are unknown except is_late. */
void graph_load(struct graph *graph, const struct step *steps, unsigned count);
/* Adds an event at the end of its thread; a write at its rank, moving later ones up. */
unsigned graph_add(struct graph *graph, struct step step);
/* Takes the last one off again. */
void graph_drop_last(struct graph *graph);

static inline uint16_t graph_rank_of_source(const struct graph *graph, unsigned source)
{
    return source == EVENT_INITIAL ? 0 : graph->steps[source].rank;
}

/* The rank of the write that is, or is read by, this event. */
static inline uint16_t graph_rank(const struct graph *graph, unsigned event)
{
    const struct step *step = &graph->steps[event];

    return step->kind == EVENT_WRITE ? step->rank : graph_rank_of_source(graph, step->source);
}

/* The lowest rank that an access with `before` may read, or be placed after. */
uint16_t graph_floor(const struct graph *graph, unsigned location, const struct clock *before);
/* The exclusive read that reads the write of this rank and has been followed by its write, as the
 * number of that write; -1: none. */
int graph_exclusive_after(const struct graph *graph, unsigned location, unsigned rank);

/* True unless the seq_cst events contradict each other (acyclic psc). Facts must be known. */
bool graph_is_ordered(const struct graph *graph);

static inline void clock_join(struct clock *clock, const struct clock *other)
{
    for (int i = 0; i < GRAPH_THREADS; i++)
        if (other->at[i] > clock->at[i])
            clock->at[i] = other->at[i];
}

static inline bool order_acquires(int order)
{
    return order == __ATOMIC_ACQUIRE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST ||
           order == __ATOMIC_CONSUME;
}

static inline bool order_releases(int order)
{
    return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}
