/*
 * Small random programs without branches. What RC11 allows of each is counted in two ways: by the
 * explorer, and here by the definition: every choice of what each read reads and of the order of
 * writes is tried, and its relations, as matrices, are held against the axioms. The counts are
 * equal only if the explorer finds everything, and everything once.
 */
#include "self.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "search.h"

enum {
    THREADS = 3,
    THREAD_OPS = 3,
    PLACES = 2,
    EVENTS = THREADS * THREAD_OPS * 2 + PLACES, /* a read-modify-write is two */
    WRITES = EVENTS,
};

enum op_kind { OP_LOAD, OP_STORE, OP_ADD, OP_FENCE, OP_KINDS };

struct op {
    uint8_t kind, order, place;
};

struct program {
    unsigned counts[THREADS];
    struct op ops[THREADS][THREAD_OPS];
};

static struct program program;

/* ---- by the explorer ---- */

static void do_op(atomic_uint *places, const struct op *op)
{
    atomic_uint *place = &places[op->place];

    switch (op->kind) {
    case OP_LOAD:
        (void)atomic_load_explicit(place, op->order);
        break;
    case OP_STORE:
        atomic_store_explicit(place, 1, op->order);
        break;
    case OP_ADD:
        (void)atomic_fetch_add_explicit(place, 1, op->order);
        break;
    default:
        atomic_thread_fence(op->order);
    }
}

static void run_ops(void *places, unsigned thread)
{
    for (unsigned i = 0; i < program.counts[thread]; i++)
        do_op(places, &program.ops[thread][i]);
}

static void first(void *places)
{
    run_ops(places, 0);
}

static void second(void *places)
{
    run_ops(places, 1);
}

static void third(void *places)
{
    run_ops(places, 2);
}

static const struct scenario random_scenario = {
    .name = "self",
    .state_size = PLACES * sizeof(atomic_uint),
    .threads = {{"one", first}, {"two", second}, {"three", third}},
};

/* ---- by definition ---- */

/* Bit j of row i: i is before j. */
typedef uint32_t relation[EVENTS];

_Static_assert(EVENTS <= 32, "a row is one word");

struct candidate {
    unsigned count;
    struct node {
        bool reads, writes, is_fence, is_exclusive;
        int thread; /* -1: the initial writes */
        uint8_t order, place;
    } nodes[EVENTS];
    relation po, rf, mo, rmw;
    unsigned reads[EVENTS], read_count;
    unsigned writes[PLACES][WRITES], write_counts[PLACES];
    uint64_t found;
};

static void clear(relation r)
{
    memset(r, 0, sizeof(relation));
}

static void copy(relation to, const relation from)
{
    memcpy(to, from, sizeof(relation));
}

static void unite(relation r, const relation other)
{
    for (unsigned i = 0; i < EVENTS; i++)
        r[i] |= other[i];
}

static bool has(const relation r, unsigned i, unsigned j)
{
    return r[i] >> j & 1;
}

/* out = a; b */
static void compose(relation out, const relation a, const relation b)
{
    relation result;

    clear(result);
    for (unsigned i = 0; i < EVENTS; i++)
        for (unsigned j = 0; j < EVENTS; j++)
            if (has(a, i, j))
                result[i] |= b[j];
    copy(out, result);
}

static void close_transitively(relation r)
{
    for (unsigned k = 0; k < EVENTS; k++)
        for (unsigned i = 0; i < EVENTS; i++)
            if (has(r, i, k))
                r[i] |= r[k];
}

static bool is_irreflexive(const relation r)
{
    for (unsigned i = 0; i < EVENTS; i++)
        if (has(r, i, i))
            return false;
    return true;
}

/* Those pairs of which both ends satisfy what the masks say. */
static void restrict_to(relation r, uint32_t from, uint32_t to)
{
    for (unsigned i = 0; i < EVENTS; i++)
        r[i] = from >> i & 1 ? r[i] & to : 0;
}

static void identity(relation r, uint32_t on)
{
    clear(r);
    for (unsigned i = 0; i < EVENTS; i++)
        r[i] = on & 1U << i;
}

static bool acquires(const struct node *node)
{
    return node->order == __ATOMIC_ACQUIRE || node->order == __ATOMIC_ACQ_REL ||
           node->order == __ATOMIC_SEQ_CST;
}

static bool releases(const struct node *node)
{
    return node->order == __ATOMIC_RELEASE || node->order == __ATOMIC_ACQ_REL ||
           node->order == __ATOMIC_SEQ_CST;
}

struct sets {
    uint32_t all, reads, writes, fences, acquire, release, ordered;
};

static struct sets sets_of(const struct candidate *candidate)
{
    struct sets sets = {0};

    for (unsigned i = 0; i < candidate->count; i++) {
        const struct node *node = &candidate->nodes[i];
        uint32_t bit = 1U << i;

        sets.all |= bit;
        sets.reads |= node->reads ? bit : 0;
        sets.writes |= node->writes ? bit : 0;
        sets.fences |= node->is_fence ? bit : 0;
        sets.acquire |= acquires(node) ? bit : 0;
        sets.release |= releases(node) ? bit : 0;
        sets.ordered |= node->order == __ATOMIC_SEQ_CST ? bit : 0;
    }
    return sets;
}

/* hb = (po | sw)+, sw = [rel]; ([F]; po)?; [W]; (rf; rmw)*; rf; [R]; (po; [F])?; [acq] */
static void make_hb(relation hb, const struct candidate *candidate, const struct sets *sets)
{
    relation step, sequence, before, after, fences, sw;

    compose(step, candidate->rf, candidate->rmw);
    close_transitively(step);
    identity(sequence, sets->all);
    unite(sequence, step);
    compose(sequence, sequence, candidate->rf);
    restrict_to(sequence, sets->writes, sets->reads);

    copy(before, candidate->po);
    restrict_to(before, sets->fences, sets->writes);
    identity(fences, sets->all);
    unite(before, fences);
    restrict_to(before, sets->release, sets->all);
    copy(after, candidate->po);
    restrict_to(after, sets->reads, sets->fences);
    unite(after, fences);
    restrict_to(after, sets->all, sets->acquire);
    compose(sw, before, sequence);
    compose(sw, sw, after);
    copy(hb, candidate->po);
    unite(hb, sw);
    close_transitively(hb);
}

static void make_fr(relation fr, const struct candidate *candidate)
{
    clear(fr);
    for (unsigned w = 0; w < candidate->count; w++)
        for (unsigned r = 0; r < candidate->count; r++)
            if (has(candidate->rf, w, r))
                fr[r] |= candidate->mo[w];
}

static bool same_place(const struct candidate *candidate, unsigned i, unsigned j)
{
    const struct node *a = &candidate->nodes[i], *b = &candidate->nodes[j];

    return !a->is_fence && !b->is_fence && a->place == b->place;
}

static void only_place(relation r, const struct candidate *candidate, bool same)
{
    for (unsigned i = 0; i < candidate->count; i++)
        for (unsigned j = 0; j < candidate->count; j++)
            if (same_place(candidate, i, j) != same)
                r[i] &= ~(1U << j);
}

static bool is_psc_acyclic(const struct candidate *candidate, const struct sets *sets,
                           const relation hb, const relation fr, const relation eco)
{
    const uint32_t accesses = sets->ordered & ~sets->fences;
    const uint32_t fences = sets->ordered & sets->fences;
    relation scb, part, around, from, to, maybe, psc;

    copy(scb, candidate->po);
    copy(around, candidate->po);
    only_place(around, candidate, false);
    compose(part, around, hb);
    compose(part, part, around);
    unite(scb, part);
    copy(part, hb);
    only_place(part, candidate, true);
    unite(scb, part);
    unite(scb, candidate->mo);
    unite(scb, fr);

    identity(maybe, sets->all);
    unite(maybe, hb);
    copy(from, maybe);
    restrict_to(from, fences, sets->all);
    identity(part, accesses);
    unite(from, part);
    copy(to, maybe);
    restrict_to(to, sets->all, fences);
    unite(to, part);
    compose(psc, from, scb);
    compose(psc, psc, to);

    compose(part, hb, eco);
    compose(part, part, hb);
    unite(part, hb);
    restrict_to(part, fences, fences);
    unite(psc, part);
    close_transitively(psc);
    return is_irreflexive(psc);
}

static bool is_allowed(const struct candidate *candidate)
{
    const struct sets sets = sets_of(candidate);
    relation cause, hb, fr, eco, check;

    copy(cause, candidate->po);
    unite(cause, candidate->rf);
    close_transitively(cause);
    if (!is_irreflexive(cause))
        return false;
    make_hb(hb, candidate, &sets);
    make_fr(fr, candidate);
    /* Atomicity: nothing between what a read-modify-write reads and what it writes. */
    compose(check, fr, candidate->mo);
    for (unsigned i = 0; i < candidate->count; i++)
        if (check[i] & candidate->rmw[i])
            return false;
    copy(eco, candidate->rf);
    unite(eco, candidate->mo);
    unite(eco, fr);
    close_transitively(eco);
    compose(check, hb, eco);
    return is_irreflexive(hb) && is_irreflexive(eco) && is_irreflexive(check) &&
           is_psc_acyclic(candidate, &sets, hb, fr, eco);
}

static void try_reads(struct candidate *candidate, unsigned position)
{
    const struct node *node;
    unsigned read;

    if (position == candidate->read_count) {
        candidate->found += is_allowed(candidate);
        return;
    }
    read = candidate->reads[position];
    node = &candidate->nodes[read];
    for (unsigned i = 0; i < candidate->write_counts[node->place]; i++) {
        unsigned write = candidate->writes[node->place][i];

        candidate->rf[write] |= 1U << read;
        try_reads(candidate, position + 1);
        candidate->rf[write] &= ~(1U << read);
    }
}

/* All orders of the writes of each place, behind the initial one, by exchanging. */
static void try_writes(struct candidate *candidate, unsigned place, unsigned position)
{
    unsigned *writes = candidate->writes[place];
    unsigned count = candidate->write_counts[place];

    if (place == PLACES) {
        clear(candidate->mo);
        for (unsigned p = 0; p < PLACES; p++)
            for (unsigned i = 0; i < candidate->write_counts[p]; i++)
                for (unsigned j = i + 1; j < candidate->write_counts[p]; j++)
                    candidate->mo[candidate->writes[p][i]] |= 1U << candidate->writes[p][j];
        try_reads(candidate, 0);
        return;
    }
    if (position >= count) {
        try_writes(candidate, place + 1, 1);
        return;
    }
    for (unsigned i = position; i < count; i++) {
        unsigned taken = writes[i];

        writes[i] = writes[position];
        writes[position] = taken;
        try_writes(candidate, place, position + 1);
        writes[position] = writes[i];
        writes[i] = taken;
    }
}

static unsigned add_node(struct candidate *candidate, struct node node)
{
    unsigned number = candidate->count++;

    if (node.reads)
        candidate->reads[candidate->read_count++] = number;
    if (node.writes)
        candidate->writes[node.place][candidate->write_counts[node.place]++] = number;
    for (unsigned i = 0; i < number; i++)
        if (candidate->nodes[i].thread < 0 || candidate->nodes[i].thread == node.thread)
            candidate->po[i] |= (node.thread >= 0 ? 1U : 0U) << number;
    candidate->nodes[number] = node;
    return number;
}

static uint64_t count_by_definition(void)
{
    static struct candidate candidate;

    memset(&candidate, 0, sizeof(candidate));
    for (uint8_t place = 0; place < PLACES; place++)
        add_node(&candidate, (struct node){.writes = true, .thread = -1, .place = place});
    for (int thread = 0; thread < THREADS; thread++)
        for (unsigned i = 0; i < program.counts[thread]; i++) {
            const struct op *op = &program.ops[thread][i];
            struct node node = {.thread = thread, .order = op->order, .place = op->place};
            unsigned read;

            if (op->kind == OP_LOAD || op->kind == OP_ADD) {
                node.reads = true;
                read = add_node(&candidate, node);
                node.reads = false;
                if (op->kind == OP_ADD) {
                    node.writes = true;
                    candidate.rmw[read] = 1U << add_node(&candidate, node);
                }
            } else {
                node.writes = op->kind == OP_STORE;
                node.is_fence = op->kind == OP_FENCE;
                add_node(&candidate, node);
            }
        }
    try_writes(&candidate, 0, 1);
    return candidate.found;
}

/* ---- random programs ---- */

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*state >> 33);
}

static struct op random_op(uint64_t *state)
{
    static const uint8_t orders[OP_KINDS][4] = {
        [OP_LOAD] = {__ATOMIC_RELAXED, __ATOMIC_ACQUIRE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST},
        [OP_STORE] = {__ATOMIC_RELAXED, __ATOMIC_RELEASE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST},
        [OP_ADD] = {__ATOMIC_RELAXED, __ATOMIC_ACQ_REL, __ATOMIC_RELEASE, __ATOMIC_SEQ_CST},
        [OP_FENCE] = {__ATOMIC_ACQUIRE, __ATOMIC_RELEASE, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST},
    };
    static const uint8_t kinds[] = {OP_LOAD,  OP_LOAD, OP_LOAD, OP_STORE,
                                    OP_STORE, OP_ADD,  OP_FENCE};
    struct op op = {.kind = kinds[next_random(state) % sizeof(kinds)]};

    op.order = orders[op.kind][next_random(state) % 4];
    op.place = (uint8_t)(next_random(state) % PLACES);
    return op;
}

static void make_program(unsigned number)
{
    uint64_t state = number;

    for (unsigned thread = 0; thread < THREADS; thread++) {
        program.counts[thread] = 1 + next_random(&state) % THREAD_OPS;
        for (unsigned i = 0; i < program.counts[thread]; i++)
            program.ops[thread][i] = random_op(&state);
    }
}

static void print_program(void)
{
    static const char *const names[OP_KINDS] = {"load", "store", "add", "fence"};

    for (unsigned thread = 0; thread < THREADS; thread++) {
        printf("    thread %u:", thread);
        for (unsigned i = 0; i < program.counts[thread]; i++) {
            const struct op *op = &program.ops[thread][i];

            printf(" %s(%c, order %u);", names[op->kind], 'x' + op->place, op->order);
        }
        printf("\n");
    }
}

bool self_check(unsigned count)
{
    unsigned long long total = 0;

    for (unsigned i = 0; i < count; i++) {
        struct exploration result;
        uint64_t defined;

        make_program(i);
        result = explore(&random_scenario, UINT64_MAX);
        defined = count_by_definition();
        total += defined;
        if (result.executions == defined && !result.failed)
            continue;
        printf("self: program %u has %llu executions, %llu were explored\n", i,
               (unsigned long long)defined, (unsigned long long)result.executions);
        print_program();
        return false;
    }
    printf("self: %u random programs have the %llu executions that their definition allows\n",
           count, total);
    return true;
}
