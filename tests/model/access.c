/*
 * What the compiler calls for each access of production code (-fsanitize=thread), in place of the
 * runtime of ThreadSanitizer. Atomic ones become steps; the others are checked for races.
 */
#include <string.h>

#include "access.h"
#include "explore.h"
#include "location.h"
#include "race.h"

enum { FRAMES_MAX = 256 };

static const void *frames[GRAPH_THREADS][FRAMES_MAX];
static unsigned frame_counts[GRAPH_THREADS];

void access_begin_run(void)
{
    memset(frame_counts, 0, sizeof(frame_counts));
}

/* ---- atomic steps ---- */

static uint64_t memory_read(const void *address, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, address, size);
    return value;
}

static uint64_t mask(uint64_t value, unsigned size)
{
    return size == 8 ? value : value & ((1ULL << (8 * size)) - 1);
}

/* Outside of the arena, and before and after the threads, nothing is explored. */
static struct location *explored(const void *address, unsigned size)
{
    return explorer.current < 0 ? NULL : location_of(address, size);
}

static uint64_t step(const struct location *location, struct request request, bool is_write)
{
    unsigned number;

    request.location = location_number(location);
    number = run_step(&request);
    race_atomic(location->address, location->size, is_write, explorer.graph.steps[number].index,
                request.pc);
    return explorer.graph.facts[number].value;
}

static uint64_t atomic_load(const void *address, unsigned size, int order, const void *pc)
{
    struct location *location = explored(address, size);

    if (!location)
        return memory_read(address, size);
    return step(location, (struct request){.kind = EVENT_READ, .order = (uint8_t)order, .pc = pc},
                false);
}

static void atomic_store(void *address, unsigned size, uint64_t value, int order, const void *pc)
{
    struct location *location = explored(address, size);

    if (!location) {
        memcpy(address, &value, size);
        return;
    }
    step(location,
         (struct request){
             .kind = EVENT_WRITE, .order = (uint8_t)order, .value = mask(value, size), .pc = pc},
         true);
}

typedef uint64_t modify_fn(uint64_t old, uint64_t operand);

static uint64_t do_exchange(uint64_t old, uint64_t operand)
{
    (void)old;
    return operand;
}

static uint64_t do_add(uint64_t old, uint64_t operand)
{
    return old + operand;
}

static uint64_t do_sub(uint64_t old, uint64_t operand)
{
    return old - operand;
}

static uint64_t do_and(uint64_t old, uint64_t operand)
{
    return old & operand;
}

static uint64_t do_or(uint64_t old, uint64_t operand)
{
    return old | operand;
}

static uint64_t do_xor(uint64_t old, uint64_t operand)
{
    return old ^ operand;
}

static uint64_t do_nand(uint64_t old, uint64_t operand)
{
    return ~(old & operand);
}

static uint64_t atomic_modify(void *address, unsigned size, modify_fn *modify, uint64_t operand,
                              int order, const void *pc)
{
    struct location *location = explored(address, size);
    uint64_t old, new;

    if (!location) {
        old = memory_read(address, size);
        new = modify(old, operand);
        memcpy(address, &new, size);
        return old;
    }
    old = step(location,
               (struct request){
                   .kind = EVENT_READ, .order = (uint8_t)order, .is_exclusive = true, .pc = pc},
               false);
    step(location,
         (struct request){.kind = EVENT_WRITE,
                          .order = (uint8_t)order,
                          .is_exclusive = true,
                          .value = mask(modify(old, operand), size),
                          .pc = pc},
         true);
    return old;
}

/* A weak one does not fail for no reason: its callers try again, which would show nothing new. */
static bool atomic_compare(void *address, unsigned size, void *expected, uint64_t desired,
                           int order, int failure_order, const void *pc)
{
    struct location *location = explored(address, size);
    uint64_t wanted = memory_read(expected, size), old;

    if (!location) {
        old = memory_read(address, size);
        memcpy(old == wanted ? address : expected, old == wanted ? &desired : &old, size);
        return old == wanted;
    }
    old = step(location,
               (struct request){.kind = EVENT_READ,
                                .order = (uint8_t)order,
                                .order_on_failure = (uint8_t)failure_order,
                                .is_compare = true,
                                .expected = wanted,
                                .pc = pc},
               true);
    if (old != wanted) {
        memcpy(expected, &old, size);
        return false;
    }
    step(location,
         (struct request){.kind = EVENT_WRITE,
                          .order = (uint8_t)order,
                          .is_exclusive = true,
                          .value = mask(desired, size),
                          .pc = pc},
         true);
    return true;
}

/* ---- for the kernel's part, kernel.c ---- */

uint64_t access_read(const void *address, const void *pc)
{
    return atomic_load(address, 4, __ATOMIC_RELAXED, pc);
}

uint64_t access_begin_exclusive(const void *address, const void *pc)
{
    return step(explored(address, 8),
                (struct request){
                    .kind = EVENT_READ, .order = __ATOMIC_ACQ_REL, .is_exclusive = true, .pc = pc},
                false);
}

void access_end_exclusive(const void *address, uint64_t value, const void *pc)
{
    step(explored(address, 8),
         (struct request){.kind = EVENT_WRITE,
                          .order = __ATOMIC_ACQ_REL,
                          .is_exclusive = true,
                          .value = value,
                          .pc = pc},
         true);
}

uint64_t access_wait(const void *address, bool (*is_ready)(uint64_t, uint64_t), uint64_t value,
                     bool is_timed, const void *pc)
{
    return step(explored(address, 8),
                (struct request){.kind = EVENT_READ,
                                 .order = __ATOMIC_ACQUIRE,
                                 .is_ready = is_ready,
                                 .value = value,
                                 .is_timed = is_timed,
                                 .pc = pc},
                false);
}

uint64_t access_wait_exclusive(const void *address, bool (*is_ready)(uint64_t, uint64_t),
                               bool is_timed, const void *pc)
{
    return step(explored(address, 8),
                (struct request){.kind = EVENT_READ,
                                 .order = __ATOMIC_ACQ_REL,
                                 .is_exclusive = true,
                                 .is_ready = is_ready,
                                 .is_timed = is_timed,
                                 .pc = pc},
                false);
}

unsigned model_choose(unsigned count)
{
    struct request request = {.kind = EVENT_CHOICE,
                              .location = NO_LOCATION,
                              .choices = (uint16_t)count,
                              .pc = __builtin_return_address(0)};

    return explorer.graph.steps[run_step(&request)].source;
}

/* ---- what the compiler calls ---- */

#define PC __builtin_return_address(0)

#define MODIFY(bits, name)                                                                       \
    uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *, uint##bits##_t, int); \
    uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *address,                \
                                                uint##bits##_t operand, int order)               \
    {                                                                                            \
        return (uint##bits##_t)atomic_modify((void *)(uintptr_t)address, bits / 8, DO(name),     \
                                             operand, order, PC);                                \
    }
#define DO(name)      DO_##name
#define DO_exchange   do_exchange
#define DO_fetch_add  do_add
#define DO_fetch_sub  do_sub
#define DO_fetch_and  do_and
#define DO_fetch_or   do_or
#define DO_fetch_xor  do_xor
#define DO_fetch_nand do_nand

#define COMPARE(bits, name)                                                                        \
    int __tsan_atomic##bits##_compare_exchange_##name(volatile uint##bits##_t *, uint##bits##_t *, \
                                                      uint##bits##_t, int, int);                   \
    int __tsan_atomic##bits##_compare_exchange_##name(                                             \
        volatile uint##bits##_t *address, uint##bits##_t *expected, uint##bits##_t desired,        \
        int order, int failure_order)                                                              \
    {                                                                                              \
        return atomic_compare((void *)(uintptr_t)address, bits / 8, expected, desired, order,      \
                              failure_order, PC);                                                  \
    }

#define ATOMICS(bits)                                                                              \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *, int);               \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *address, int order)   \
    {                                                                                              \
        return (uint##bits##_t)atomic_load((const void *)(uintptr_t)address, bits / 8, order, PC); \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *, uint##bits##_t, int);              \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *address, uint##bits##_t value,       \
                                     int order)                                                    \
    {                                                                                              \
        atomic_store((void *)(uintptr_t)address, bits / 8, value, order, PC);                      \
    }                                                                                              \
    MODIFY(bits, exchange)                                                                         \
    MODIFY(bits, fetch_add)                                                                        \
    MODIFY(bits, fetch_sub)                                                                        \
    MODIFY(bits, fetch_and)                                                                        \
    MODIFY(bits, fetch_or)                                                                         \
    MODIFY(bits, fetch_xor)                                                                        \
    MODIFY(bits, fetch_nand)                                                                       \
    COMPARE(bits, strong)                                                                          \
    COMPARE(bits, weak)

ATOMICS(8)
ATOMICS(16)
ATOMICS(32)
ATOMICS(64)

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
    struct request request = {
        .kind = EVENT_FENCE, .order = (uint8_t)order, .location = NO_LOCATION, .pc = PC};

    if (explorer.current >= 0)
        run_step(&request);
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}

#define PLAIN(size)                                   \
    void __tsan_read##size(void *address);            \
    void __tsan_read##size(void *address)             \
    {                                                 \
        race_access(address, size, false, PC);        \
    }                                                 \
    void __tsan_write##size(void *address);           \
    void __tsan_write##size(void *address)            \
    {                                                 \
        race_access(address, size, true, PC);         \
        location_overwritten(address, size);          \
    }                                                 \
    void __tsan_unaligned_read##size(void *address);  \
    void __tsan_unaligned_read##size(void *address)   \
    {                                                 \
        race_access(address, size, false, PC);        \
    }                                                 \
    void __tsan_unaligned_write##size(void *address); \
    void __tsan_unaligned_write##size(void *address)  \
    {                                                 \
        race_access(address, size, true, PC);         \
        location_overwritten(address, size);          \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *address, size_t size);
void __tsan_read_range(void *address, size_t size)
{
    race_access(address, size, false, PC);
}

void __tsan_write_range(void *address, size_t size);
void __tsan_write_range(void *address, size_t size)
{
    race_access(address, size, true, PC);
    location_overwritten(address, size);
}

/* Production code is compiled with these names, since the compiler does not tell of their accesses.
 */
void *model_memcpy(void *to, const void *from, size_t size);
void *model_memcpy(void *to, const void *from, size_t size)
{
    race_access(from, size, false, PC);
    race_access(to, size, true, PC);
    location_overwritten(to, size);
    return memcpy(to, from, size);
}

void *model_memset(void *to, int byte, size_t size);
void *model_memset(void *to, int byte, size_t size)
{
    race_access(to, size, true, PC);
    location_overwritten(to, size);
    return memset(to, byte, size);
}

void *model_calloc(size_t count, size_t size);
void *model_calloc(size_t count, size_t size)
{
    return model_alloc(count * size);
}

void model_free(const void *memory);
void model_free(const void *memory)
{
    (void)memory;
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
    const void **stack = frames[explorer.current < 0 ? 0 : explorer.current];
    unsigned *count = &frame_counts[explorer.current < 0 ? 0 : explorer.current];

    (void)pc;
    if (explorer.current < 0)
        return;
    REQUIRE(*count < FRAMES_MAX, "too deep a recursion");
    /* A frame is from the function's own stack pointer up to that of its caller. */
    stack[(*count)++] = __builtin_dwarf_cfa();
    if (*count > 1)
        race_frame_begin(stack[*count - 1], stack[*count - 2]);
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
    const void **stack = frames[explorer.current < 0 ? 0 : explorer.current];
    unsigned *count = &frame_counts[explorer.current < 0 ? 0 : explorer.current];

    if (explorer.current >= 0 && --*count)
        race_frame_end(stack[*count], stack[*count - 1]);
}

void __tsan_init(void);
void __tsan_init(void)
{
}
