#include "race.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "explore.h"
#include "location.h"

_Static_assert(GRAPH_THREADS == 6, "the arena has a stack for each");

/* Below this are a null pointer and its members. */
enum { NULL_SIZE = 4096 };

/* What was done to one byte in this run. Clocks count the thread's steps, from 1; 0: never. */
struct cell {
    uint32_t run;
    uint8_t threads; /* a bit for each that accessed it */
    bool has_ended;  /* its frame has */
    uint8_t ended_by;
    uint8_t writer;
    uint16_t written;
    uint16_t read[GRAPH_THREADS];
    uint16_t atomic_read[GRAPH_THREADS];
    uint16_t atomic_written[GRAPH_THREADS];
};

static char *arena;
static struct cell *cells;
static size_t state_used;
/* Per stack: the bytes that were accessed since the frame that they are in began. */
static long touched_low[GRAPH_THREADS], touched_high[GRAPH_THREADS];
/* Likewise: those whose frame has ended. */
static long ended_low[GRAPH_THREADS], ended_high[GRAPH_THREADS];

static void *map(void *at, size_t size)
{
    void *memory =
        mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    REQUIRE(memory != MAP_FAILED, "no memory");
    return memory;
}

void race_init(void)
{
    if (arena)
        return;
    /* The same in each run of the program, for traces. */
    arena = map((void *)0x100000000, RACE_ARENA_SIZE);
    cells = map(NULL, RACE_ARENA_SIZE * sizeof(*cells));
    for (unsigned i = 0; i < GRAPH_THREADS; i++)
        explorer.threads[i].stack = arena + RACE_STATE_SIZE + (size_t)i * RACE_STACK_SIZE;
}

void *race_arena(size_t *size)
{
    if (size)
        *size = state_used;
    return arena;
}

void race_begin_run(void)
{
    size_t used = state_used;

    state_used = (explorer.scenario->state_size + 127) / 128 * 128;
    memset(arena, 0, used > state_used ? used : state_used);
    for (unsigned i = 0; i < GRAPH_THREADS; i++) {
        touched_low[i] = ended_low[i] = RACE_ARENA_SIZE;
        touched_high[i] = ended_high[i] = -1;
    }
}

void *model_alloc(size_t size)
{
    void *memory = arena + state_used;

    state_used += (size + 127) / 128 * 128;
    REQUIRE(state_used <= RACE_STATE_SIZE, "a scenario of too much memory");
    return memory;
}

long race_offset(const void *address)
{
    uintptr_t offset = (uintptr_t)address - (uintptr_t)arena;

    return offset < RACE_ARENA_SIZE ? (long)offset : -1;
}

static inline struct cell *cell_at(long offset)
{
    struct cell *cell = &cells[offset];

    if (cell->run != explorer.run) {
        memset(cell, 0, sizeof(*cell));
        cell->run = explorer.run;
    }
    return cell;
}

static struct thread *current(void)
{
    return &explorer.threads[explorer.current];
}

static inline bool is_unordered(unsigned thread, unsigned clock)
{
    return clock > current()->before.at[thread] && (int)thread != explorer.current;
}

static void describe(long offset, char *text, size_t size)
{
    memory_describe(arena + offset, text, size);
}

static void race(long offset, unsigned other, const char *what)
{
    char where[96];

    describe(offset, where, sizeof(where));
    fail("data race: %s by %s and %s", what, explorer.threads[other].name, current()->name);
}

static void check_ended(const struct cell *cell, long offset)
{
    char where[96];

    describe(offset, where, sizeof(where));
    fail("use after the end: %s touches %s, which %s has left", current()->name, where,
         explorer.threads[cell->ended_by].name);
}

static void note_stack(long offset, size_t size)
{
    unsigned stack;

    if (offset < RACE_STATE_SIZE || offset >= RACE_KERNEL_OFFSET)
        return;
    stack = (unsigned)((offset - RACE_STATE_SIZE) / RACE_STACK_SIZE);
    if (offset < touched_low[stack])
        touched_low[stack] = offset;
    if (offset + (long)size > touched_high[stack])
        touched_high[stack] = offset + (long)size;
}

static void check_others(const struct cell *cell, long offset, bool is_write)
{
    if (cell->written && is_unordered(cell->writer, cell->written))
        race(offset, cell->writer, is_write ? "two writes" : "a write and a read");
    for (unsigned i = 0; i < explorer.thread_count; i++) {
        if (is_unordered(i, cell->atomic_written[i]))
            race(offset, i, "an atomic write and an access");
        if (is_write && is_unordered(i, cell->read[i]))
            race(offset, i, "a read and a write");
        if (is_write && is_unordered(i, cell->atomic_read[i]))
            race(offset, i, "an atomic read and a write");
    }
}

static inline void check_byte(struct cell *cell, long offset, bool is_write)
{
    const uint8_t self = (uint8_t)(1U << explorer.current);

    if (unlikely(cell->has_ended))
        check_ended(cell, offset);
    if (cell->threads & ~self)
        check_others(cell, offset, is_write);
    cell->threads |= self;
}

void race_access(const void *address, size_t size, bool is_write, const void *pc)
{
    long offset = race_offset(address);
    uint16_t clock;

    (void)pc;
    if (explorer.current < 0)
        return;
    if (unlikely((uintptr_t)address < NULL_SIZE))
        fail("null pointer: %s follows one", current()->name);
    if (offset < 0)
        return;
    clock = (uint16_t)(current()->done + 1);
    note_stack(offset, size);
    for (size_t i = 0; i < size; i++, offset++) {
        struct cell *cell = cell_at(offset);

        check_byte(cell, offset, is_write);
        if (is_write) {
            cell->writer = (uint8_t)explorer.current;
            cell->written = clock;
        } else {
            cell->read[explorer.current] = clock;
        }
    }
}

void race_atomic(const void *address, size_t size, bool is_write, unsigned index, const void *pc)
{
    long offset = race_offset(address);
    struct cell *cell;

    (void)pc;
    if (explorer.current < 0 || offset < 0)
        return;
    note_stack(offset, size);
    cell = cell_at(offset);
    if (cell->has_ended)
        check_ended(cell, offset);
    cell->threads |= (uint8_t)(1U << explorer.current);
    if (cell->written && is_unordered(cell->writer, cell->written))
        race(offset, cell->writer, "a write and an atomic access");
    if (is_write) {
        for (unsigned i = 0; i < explorer.thread_count; i++)
            if (is_unordered(i, cell->read[i]))
                race(offset, i, "a read and an atomic write");
        cell->atomic_written[explorer.current] = (uint16_t)index;
    } else {
        cell->atomic_read[explorer.current] = (uint16_t)index;
    }
}

static void end(long low, long high)
{
    for (long offset = low; offset < high; offset++) {
        struct cell *cell = cell_at(offset);

        check_byte(cell, offset, true);
        cell->writer = (uint8_t)explorer.current;
        cell->written = (uint16_t)(current()->done + 1);
        cell->has_ended = true;
        cell->ended_by = (uint8_t)explorer.current;
    }
}

void model_end(const void *memory, size_t size)
{
    if (explorer.current >= 0)
        end(race_offset(memory), race_offset(memory) + (long)size);
}

void model_begin(const void *memory, size_t size)
{
    for (long offset = race_offset(memory), last = offset + (long)size; offset < last; offset++)
        cell_at(offset)->has_ended = false;
}

/* What it has of memory that has ended is in use again. */
void race_frame_begin(const void *low, const void *high)
{
    long from = race_offset(low), to = race_offset(high);

    if (explorer.current < 0 || from < 0 || to <= ended_low[explorer.current])
        return;
    if (from < ended_low[explorer.current])
        from = ended_low[explorer.current];
    if (to > ended_high[explorer.current])
        to = ended_high[explorer.current];
    for (long offset = from; offset < to; offset++)
        cell_at(offset)->has_ended = false;
}

static void note_ended(long from, long to)
{
    if (from < ended_low[explorer.current])
        ended_low[explorer.current] = from;
    if (to > ended_high[explorer.current])
        ended_high[explorer.current] = to;
}

void race_frame_end(const void *low, const void *high)
{
    long from = race_offset(low), to = race_offset(high);
    long *touched_from, *touched_to;

    if (explorer.current < 0 || from < 0 || to < 0)
        return;
    touched_from = &touched_low[explorer.current];
    touched_to = &touched_high[explorer.current];
    if (*touched_from >= to)
        return;
    if (from < *touched_from)
        from = *touched_from;
    end(from, to < *touched_to ? to : *touched_to);
    note_ended(from, to < *touched_to ? to : *touched_to);
    if (*touched_to <= to)
        *touched_to = -1, *touched_from = RACE_ARENA_SIZE;
    else
        *touched_from = to;
}
