/* The next step of a thread: takes the newest that is possible, and puts the rest on the stack. */
#include "explore.h"
#include "location.h"

static struct graph *graph(void)
{
    return &explorer.graph;
}

uint64_t source_value(unsigned location, unsigned source)
{
    return source == EVENT_INITIAL ? location_initial(location) : graph()->facts[source].value;
}

void read_kind(const struct request *request, uint64_t value, struct step *step)
{
    step->exclusive = request->is_exclusive;
    step->order = request->order;
    if (!request->is_compare)
        return;
    step->exclusive = value == request->expected;
    if (!step->exclusive)
        step->order = request->order_on_failure;
}

void clock_of_read(struct clock *clock, const struct step *step, unsigned source)
{
    const struct fact *fact = source == EVENT_INITIAL ? NULL : &graph()->facts[source];

    if (fact && fact->has_message && order_acquires(step->order))
        clock_join(clock, &fact->message);
}

static unsigned thread_number(const struct thread *thread)
{
    return (unsigned)(thread - explorer.threads);
}

static void push_with(struct step step)
{
    graph_add(graph(), step);
    work_push(graph()->steps, graph()->count);
    graph_drop_last(graph());
}

/* Whether the graph is still in order with an event that is not the newest possible. */
static bool is_ordered_with(const struct thread *thread, struct step step, unsigned source)
{
    unsigned number;
    bool ordered;

    if (step.order != __ATOMIC_SEQ_CST && !graph()->fence_count)
        return true;
    number = graph_add(graph(), step);
    graph()->facts[number].before = thread->before;
    graph()->facts[number].before.at[step.thread] = graph()->steps[number].index;
    if (step.kind == EVENT_READ)
        clock_of_read(&graph()->facts[number].before, &step, source);
    ordered = graph_is_ordered(graph());
    graph_drop_last(graph());
    return ordered;
}

/* Another read-modify-write has read the same, and that led to this one. */
static bool is_taken_for_good(const struct thread *thread, unsigned location, unsigned rank)
{
    int other = graph_exclusive_after(graph(), location, rank);

    return other >= 0 &&
           graph()->steps[other].index <= thread->cause.at[graph()->steps[other].thread];
}

static bool may_read(const struct thread *thread, const struct request *request, unsigned rank,
                     struct step *step)
{
    const struct location_events *location = &graph()->locations[request->location];
    unsigned source = location->writes[rank];
    uint64_t value = source_value(request->location, source);
    struct clock before = thread->before;

    if (request->is_ready && !request->is_ready(value, request->value))
        return false;
    if (request->spun_on != NO_LOCATION &&
        rank <= graph_rank_of_source(graph(), request->spun_source))
        return false;
    step->source = (uint16_t)source;
    read_kind(request, value, step);
    if (step->exclusive && is_taken_for_good(thread, request->location, rank))
        return false;
    clock_of_read(&before, step, source);
    if (graph_floor(graph(), request->location, &before) > rank)
        return false;
    return rank == location->write_count || is_ordered_with(thread, *step, source);
}

static struct step step_of(const struct thread *thread, const struct request *request)
{
    return (struct step){
        .thread = (uint8_t)thread_number(thread),
        .kind = request->kind,
        .order = request->order,
        .location = request->location,
        .exclusive = request->is_exclusive,
    };
}

static bool extend_read(struct thread *thread, const struct request *request)
{
    const struct location_events *location = &graph()->locations[request->location];
    unsigned floor = graph_floor(graph(), request->location, &thread->before);
    struct step step = step_of(thread, request), newest = step;
    bool found = false;

    for (unsigned rank = location->write_count + 1; rank-- > floor;) {
        if (!may_read(thread, request, rank, &step))
            continue;
        if (found) {
            push_with(step);
        } else {
            newest = step;
            found = true;
        }
    }
    if (found)
        run_apply(graph_add(graph(), newest), request);
    return found;
}

static void extend_exclusive_write(struct thread *thread, const struct request *request)
{
    struct step step = step_of(thread, request);
    unsigned read = thread->exclusive_read;
    unsigned rank = graph_rank(graph(), read);
    int other = graph_exclusive_after(graph(), request->location, rank);

    if (graph_floor(graph(), request->location, &thread->before) > rank)
        run_discard();
    step.rank = (uint16_t)(rank + 1);
    if (rank < graph()->locations[request->location].write_count &&
        !is_ordered_with(thread, step, 0))
        run_discard();
    run_apply(graph_add(graph(), step), request);
    revisit(graph()->count - 1);
    /* Two that read the same are not possible, but without the other one it was. */
    if (other >= 0)
        run_discard();
}

static void extend_write(struct thread *thread, const struct request *request)
{
    const struct location_events *location = &graph()->locations[request->location];
    unsigned floor = graph_floor(graph(), request->location, &thread->before);
    struct step step = step_of(thread, request);

    for (unsigned rank = floor; rank < location->write_count; rank++) {
        if (graph_exclusive_after(graph(), request->location, rank) >= 0)
            continue;
        step.rank = (uint16_t)(rank + 1);
        if (is_ordered_with(thread, step, 0))
            push_with(step);
    }
    step.rank = (uint16_t)(location->write_count + 1);
    run_apply(graph_add(graph(), step), request);
    revisit(graph()->count - 1);
}

static void extend_choice(struct thread *thread, const struct request *request)
{
    struct step step = step_of(thread, request);

    for (unsigned choice = request->choices; choice-- > 1;) {
        step.source = (uint16_t)choice;
        push_with(step);
    }
    step.source = 0;
    run_apply(graph_add(graph(), step), request);
}

bool can_extend(struct thread *thread, const struct request *request)
{
    const struct location_events *location;
    struct step step;

    if (request->kind != EVENT_READ || (!request->is_ready && request->spun_on == NO_LOCATION))
        return true;
    location = &graph()->locations[request->location];
    step = step_of(thread, request);
    for (unsigned rank = location->write_count + 1; rank-- > 0;)
        if (may_read(thread, request, rank, &step))
            return true;
    return false;
}

/* A write may be what another thread waits for. */
static void let_others_look(unsigned number)
{
    for (unsigned i = 0; i < number; i++)
        if (explorer.threads[i].status != THREAD_ENDED)
            explorer.chosen = -1;
}

/* As a seed says: the number is how many writes are newer. */
static void extend_by_seed(struct thread *thread, const struct request *request, unsigned number)
{
    struct step step = step_of(thread, request);

    if (request->kind == EVENT_CHOICE) {
        step.source = (uint16_t)number;
    } else if (request->kind != EVENT_FENCE) {
        const struct location_events *location = &graph()->locations[request->location];

        REQUIRE(number <= location->write_count, "a seed of another version");
        step.rank = (uint16_t)(location->write_count + 1 - number);
        step.source = location->writes[location->write_count - number];
    }
    run_apply(graph_add(graph(), step), request);
    explorer.chosen = -1;
}

bool extend(struct thread *thread, const struct request *request)
{
    if (explorer.seed) {
        extend_by_seed(thread, request, explorer.seed->steps[explorer.seed_used++].number);
        return true;
    }
    switch (request->kind) {
    case EVENT_READ:
        return extend_read(thread, request);
    case EVENT_WRITE:
        if (request->is_exclusive)
            extend_exclusive_write(thread, request);
        else
            extend_write(thread, request);
        let_others_look(thread_number(thread));
        return true;
    case EVENT_CHOICE:
        extend_choice(thread, request);
        return true;
    default:
        run_apply(graph_add(graph(), step_of(thread, request)), request);
        return true;
    }
}
