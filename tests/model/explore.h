/*
 * The explorer's insides. One scenario is explored at a time, by one thread of this process, whose
 * model threads are coroutines; so its state is one static object.
 *
 *     explore.c   the search: takes a graph from the stack of work, runs the scenario along it and
 *                 on to an end, while what else could have happened is put on the stack
 *     run.c       one run: coroutines, and who goes next
 *     extend.c    the next step of a thread: everything that the memory model allows for it
 *     revisit.c   a new write: which earlier reads could have read it
 *     graph.c     what the memory model says of a graph; order.c: of its seq_cst events
 *     race.c      accesses that are not atomic: unordered ones, and those after the end of a frame
 *     access.c    what the compiler calls for each access (-fsanitize=thread), and what stands in
 *                 for the kernel
 *     report.c    a failing run as a trace and as a seed
 *
 * The search is that of Kokologiannakis et al., "Truly stateless, optimal dynamic partial order
 * reduction" (POPL 2022): every graph that the memory model allows is met exactly once.
 */
#pragma once
#include <setjmp.h>
#include <stddef.h>

#include "failure.h"
#include "graph.h"
#include "model.h"
#include "search.h"

enum {
    SPIN_READS = 8, /* of one round of a loop that spins */
};

/* What a thread wants to do next. */
struct request {
    uint8_t kind; /* enum event_kind */
    uint8_t order;
    uint8_t order_on_failure; /* of a compare-and-swap */
    bool is_exclusive;        /* the first or second half of a read-modify-write */
    bool is_compare;          /* the first half, and exclusive only when it reads `expected` */
    bool is_timed;            /* a wait that ends by itself in another run */
    uint16_t location;
    uint16_t choices;
    uint16_t spun_on; /* location read in vain before; NO_LOCATION: none. The new one is newer */
    uint16_t spun_source;
    uint64_t value; /* to write, or for `is_ready` */
    uint64_t expected;
    bool (*is_ready)(uint64_t read, uint64_t value); /* optional: waits until it is true */
    const void *pc;
};

enum thread_status { THREAD_RUNNING, THREAD_ENDED };

/* Reads of one round of a loop. */
struct spin {
    unsigned count;
    uint16_t events[SPIN_READS];
};

struct thread {
    const char *name;
    void (*main)(void *state);
    jmp_buf start; /* where each run begins */
    jmp_buf at;
    char *stack;
    enum thread_status status;
    unsigned done; /* steps in this run */
    bool wants;    /* `request` is what it wants next */
    struct request request;
    struct clock before, cause;
    struct clock released; /* at its last release fence */
    bool has_released;
    struct clock acquirable; /* by its next acquire fence */
    uint16_t exclusive_read;
    struct spin round, last_round;
    unsigned round_same; /* reads of this round that are as in the last; SPIN_NONE: it differs */
    int owed;
};

struct explorer {
    const struct scenario *scenario;
    unsigned thread_count;
    struct thread threads[GRAPH_THREADS];
    struct graph graph;
    struct request requests[GRAPH_EVENTS]; /* that led to each event of the run */
    unsigned run;                          /* number of this one */
    int current;                           /* the thread that runs; -1: none, set-up or the end */
    int chosen; /* the thread that may add a step; -1: the graph is followed */
    jmp_buf scheduler;
    const struct seed *seed; /* what to do, and nothing else; NULL: everything */
    unsigned seed_used;
    char failure[512];
    uint16_t trace[GRAPH_EVENTS]; /* steps in the order of this run */
    unsigned trace_count;
    struct work *work;
    struct exploration result;
};

extern struct explorer explorer;

/* run.c */
enum outcome { OUTCOME_COMPLETE, OUTCOME_DISCARDED, OUTCOME_FAILED };
void run_init(void);
enum outcome run(void);
/* The current thread does one step. Returns the number of its event. */
unsigned run_step(const struct request *request);
noreturn_fn void run_discard(void);
/* Notes what an event of the graph does to its thread, and its facts. */
void run_apply(unsigned number, const struct request *request);

/* extend.c: adds the next step of a thread. False: it has to wait. */
bool extend(struct thread *thread, const struct request *request);
bool can_extend(struct thread *thread, const struct request *request);
/* What kind of read this is when it finds `value`. */
void read_kind(const struct request *request, uint64_t value, struct step *step);
/* Happens-before of a read by `thread` from `source`. */
void clock_of_read(struct clock *clock, const struct step *step, unsigned source);
uint64_t source_value(unsigned location, unsigned source);

/* revisit.c: which reads could have read this write, the last event, instead? */
void revisit(unsigned write);

/* explore.c: something else that could have happened. */
void work_push(const struct step *steps, unsigned count);

/* access.c */
void access_begin_run(void);

/* race.c */
void race_init(void);
void race_begin_run(void);
void *race_arena(size_t *size);
