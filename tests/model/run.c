/* One run of a scenario: first along the graph, then on to an end. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "explore.h"
#include "kernel.h"
#include "location.h"
#include "race.h"

struct explorer explorer;

enum { ROUND_DIFFERS = SPIN_READS + 1 };
/* What longjmp says to the scheduler. */
enum { BACK_SWITCHED = 1, BACK_FAILED, BACK_DISCARDED };

static struct thread *current(void)
{
    return &explorer.threads[explorer.current];
}

/* ---- coroutines ---- */

static ucontext_t starter;

static void switch_out(void)
{
    if (!_setjmp(current()->at))
        _longjmp(explorer.scheduler, BACK_SWITCHED);
}

static void thread_main(int number)
{
    struct thread *thread = &explorer.threads[number];

    /* Each run starts again from here: this frame is never left. */
    if (!_setjmp(thread->start))
        setcontext(&starter);
    thread->main(race_arena(NULL));
    if (current()->owed)
        fail("%s has ended without finishing a wake-up that it began", current()->name);
    current()->status = THREAD_ENDED;
    _longjmp(explorer.scheduler, BACK_SWITCHED);
}

void run_init(void)
{
    for (volatile unsigned i = 0; i < explorer.thread_count; i++) {
        ucontext_t context;
        volatile bool is_made = false;

        getcontext(&starter);
        if (is_made)
            continue;
        is_made = true;
        getcontext(&context);
        context.uc_stack.ss_sp = explorer.threads[i].stack;
        context.uc_stack.ss_size = RACE_STACK_SIZE;
        context.uc_link = NULL;
        makecontext(&context, (void (*)(void))thread_main, 1, (int)i);
        setcontext(&context);
    }
}

noreturn_fn static void resume(int number)
{
    struct thread *thread = &explorer.threads[number];

    explorer.current = number;
    if (thread->wants)
        _longjmp(thread->at, 1);
    thread->wants = true;
    _longjmp(thread->start, 1);
}

noreturn_fn void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(explorer.failure, sizeof(explorer.failure), format, args);
    va_end(args);
    _longjmp(explorer.scheduler, BACK_FAILED);
}

void model_owe(int count)
{
    current()->owed += count;
}

void run_discard(void)
{
    _longjmp(explorer.scheduler, BACK_DISCARDED);
}

/* ---- spinning ---- */

void model_relax(void);

/* The round that ends here read, in vain: another is worth while only when it reads something else.
 */
void model_relax(void)
{
    struct thread *thread = current();

    if (explorer.current < 0)
        return;
    thread->last_round = thread->round;
    thread->round.count = 0;
    thread->round_same = 0;
}

static void note_round(struct thread *thread, unsigned number)
{
    const struct step *steps = explorer.graph.steps, *step = &steps[number];
    struct spin *round = &thread->round;
    bool is_look = step->kind == EVENT_CHOICE || (step->kind == EVENT_READ && !step->exclusive);

    if (!is_look || round->count == SPIN_READS) {
        /* It did something, so that a round begins here. */
        round->count = thread->last_round.count = 0;
        thread->round_same = 0;
        return;
    }
    if (thread->round_same < thread->last_round.count) {
        const struct step *last = &steps[thread->last_round.events[thread->round_same]];

        if (last->location == step->location && last->source == step->source)
            thread->round_same++;
        else
            thread->round_same = ROUND_DIFFERS;
    }
    round->events[round->count++] = (uint16_t)number;
}

static bool is_read(unsigned number)
{
    return explorer.graph.steps[number].kind == EVENT_READ;
}

/* The last read of a round that was so far like the one before must find something newer. */
static void note_spin(struct thread *thread, struct request *request)
{
    const struct spin *last = &thread->last_round;
    unsigned count = last->count;
    const struct step *step;

    request->spun_on = NO_LOCATION;
    while (count && !is_read(last->events[count - 1]))
        count--;
    if (request->kind != EVENT_READ || !count || thread->round_same != count - 1)
        return;
    step = &explorer.graph.steps[last->events[count - 1]];
    if (step->location != request->location)
        return;
    request->spun_on = step->location;
    request->spun_source = step->source;
}

/* Whether it waits although there is news of what it read: others runs show what happens then. */
static bool is_behind(const struct thread *thread)
{
    const struct graph *graph = &explorer.graph;

    if (thread->request.is_timed)
        return true;
    if (thread->request.spun_on == NO_LOCATION)
        return false;
    for (unsigned i = 0; i < thread->last_round.count; i++) {
        const struct step *step = &graph->steps[thread->last_round.events[i]];

        if (step->kind == EVENT_READ && graph_rank_of_source(graph, step->source) <
                                            graph->locations[step->location].write_count)
            return true;
    }
    return false;
}

/* ---- steps ---- */

static void apply_read(struct thread *thread, unsigned number)
{
    struct step *step = &explorer.graph.steps[number];
    struct fact *fact = &explorer.graph.facts[number];

    fact->value = source_value(step->location, step->source);
    read_kind(&explorer.requests[number], fact->value, step);
    if (step->exclusive)
        thread->exclusive_read = (uint16_t)number;
    if (step->source != EVENT_INITIAL) {
        const struct fact *source = &explorer.graph.facts[step->source];

        clock_join(&thread->cause, &source->cause);
        if (source->has_message)
            clock_join(order_acquires(step->order) ? &thread->before : &thread->acquirable,
                       &source->message);
    }
    fact->has_message = false;
}

static void apply_write(const struct thread *thread, unsigned number)
{
    struct graph *graph = &explorer.graph;
    const struct step *step = &graph->steps[number];
    struct fact *fact = &graph->facts[number];

    fact->value = explorer.requests[number].value;
    fact->has_message = true;
    if (order_releases(step->order))
        fact->message = thread->before;
    else if (thread->has_released)
        fact->message = thread->released;
    else
        fact->has_message = false;
    /* A read-modify-write goes on with the release sequence that it reads from. */
    if (step->exclusive) {
        unsigned source = graph->steps[thread->exclusive_read].source;

        if (source != EVENT_INITIAL && graph->facts[source].has_message) {
            if (fact->has_message)
                clock_join(&fact->message, &graph->facts[source].message);
            else
                fact->message = graph->facts[source].message;
            fact->has_message = true;
        }
    }
    location_written(number);
}

static void apply_fence(struct thread *thread, const struct step *step)
{
    if (order_acquires(step->order))
        clock_join(&thread->before, &thread->acquirable);
    if (order_releases(step->order)) {
        thread->released = thread->before;
        thread->has_released = true;
    }
}

void run_apply(unsigned number, const struct request *request)
{
    struct graph *graph = &explorer.graph;
    const struct step *step = &graph->steps[number];
    struct fact *fact = &graph->facts[number];
    struct thread *thread = &explorer.threads[step->thread];

    explorer.requests[number] = *request;
    thread->before.at[step->thread] = thread->cause.at[step->thread] = step->index;
    switch (step->kind) {
    case EVENT_READ:
        apply_read(thread, number);
        break;
    case EVENT_WRITE:
        apply_write(thread, number);
        break;
    case EVENT_FENCE:
        apply_fence(thread, step);
        break;
    default:
        break;
    }
    fact->before = thread->before;
    fact->cause = thread->cause;
    fact->pc = request->pc;
    fact->is_done = true;
    thread->done++;
    note_round(thread, number);
    explorer.trace[explorer.trace_count++] = (uint16_t)number;
}

/* Follows the graph; false: not yet, what it reads has not been written in this run. */
static bool follow(struct thread *thread, unsigned number)
{
    struct step *step = &explorer.graph.steps[number];

    if (step->kind == EVENT_READ && step->source != EVENT_INITIAL &&
        !explorer.graph.facts[step->source].is_done)
        return false;
    REQUIRE(step->kind == thread->request.kind && step->location == thread->request.location,
            "a scenario that is not deterministic, or a seed of another version");
    run_apply(number, &thread->request);
    return true;
}

unsigned run_step(const struct request *request)
{
    struct thread *thread = current();
    const uint16_t *numbers = explorer.graph.threads[explorer.current];

    thread->request = *request;
    note_spin(thread, &thread->request);
    for (;;) {
        if (thread->done < explorer.graph.lengths[explorer.current]) {
            if (follow(thread, numbers[thread->done]))
                break;
        } else if (explorer.chosen == explorer.current) {
            if (extend(thread, &thread->request))
                break;
        }
        switch_out();
    }
    return numbers[thread->done - 1];
}

/* ---- who goes next ---- */

/* Depends on the graph alone, as the search wants it. */
static int choose_next(void)
{
    int next = -1;

    if (explorer.seed)
        return explorer.seed_used < explorer.seed->count
                   ? explorer.seed->steps[explorer.seed_used].thread
                   : -1;

    for (int i = 0; i < (int)explorer.thread_count; i++) {
        struct thread *thread = &explorer.threads[i];

        if (thread->status == THREAD_ENDED)
            continue;
        if (thread->request.kind == EVENT_WRITE && thread->request.is_exclusive)
            return i;
        if (next < 0 && can_extend(thread, &thread->request))
            next = i;
    }
    return next;
}

/* Runs every thread to the end of its part of the graph. */
static int choose_follower(void)
{
    static int last;

    for (unsigned n = 0; n < explorer.thread_count; n++) {
        int i = (last + 1 + (int)n) % (int)explorer.thread_count;
        const struct thread *thread = &explorer.threads[i];
        unsigned number, source;

        if (thread->status == THREAD_ENDED)
            continue;
        if (!thread->wants)
            return last = i;
        if (thread->done == explorer.graph.lengths[i])
            continue;
        number = explorer.graph.threads[i][thread->done];
        source = explorer.graph.steps[number].source;
        if (explorer.graph.steps[number].kind != EVENT_READ || source == EVENT_INITIAL ||
            explorer.graph.facts[source].is_done)
            return last = i;
    }
    return -1;
}

static void thread_begin(struct thread *thread)
{
    thread->status = THREAD_RUNNING;
    thread->done = 0;
    thread->wants = false;
    thread->request = (struct request){.kind = EVENT_CHOICE};
    thread->before = thread->cause = thread->released = thread->acquirable = (struct clock){{0}};
    thread->has_released = false;
    thread->round.count = thread->last_round.count = 0;
    thread->round_same = 0;
    thread->owed = 0;
}

static enum outcome finish(void)
{
    bool behind = false, stuck = false;
    char who[256] = "";

    for (unsigned i = 0; i < explorer.thread_count; i++) {
        const struct thread *thread = &explorer.threads[i];

        if (thread->status == THREAD_ENDED)
            continue;
        stuck = true;
        behind |= is_behind(thread);
        snprintf(who + strlen(who), sizeof(who) - strlen(who), " %s", thread->name);
    }
    if (behind)
        return OUTCOME_DISCARDED;
    if (stuck)
        fail("deadlock or lost wake-up: for ever asleep:%s", who);
    explorer.current = -1;
    locations_settle();
    if (explorer.scenario->finish)
        explorer.scenario->finish(race_arena(NULL));
    return OUTCOME_COMPLETE;
}

enum outcome run(void)
{
    static volatile int next;

    explorer.run++;
    explorer.current = explorer.chosen = -1;
    explorer.trace_count = explorer.seed_used = 0;
    race_begin_run();
    locations_begin_run();
    access_begin_run();
    kernel_begin_run();
    for (unsigned i = 0; i < explorer.thread_count; i++)
        thread_begin(&explorer.threads[i]);
    switch (_setjmp(explorer.scheduler)) {
    case 0:
        if (explorer.scenario->setup)
            explorer.scenario->setup(race_arena(NULL));
        break;
    case BACK_FAILED:
        return OUTCOME_FAILED;
    case BACK_DISCARDED:
        return OUTCOME_DISCARDED;
    default:
        break;
    }
    next = choose_follower();
    if (next < 0) {
        for (unsigned i = 0; i < explorer.thread_count; i++)
            REQUIRE(explorer.threads[i].done == explorer.graph.lengths[i], "a graph with a cycle");
        next = explorer.chosen = choose_next();
    }
    if (next < 0)
        return finish();
    REQUIRE(next < (int)explorer.thread_count && explorer.threads[next].status != THREAD_ENDED,
            "a seed of another version");
    resume(next);
}
