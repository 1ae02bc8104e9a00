/* Integer arithmetic that says when it overflows, and alignment. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* True when it fits; *sum is valid only then. */
static inline must_check bool u64_add(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static inline must_check bool u64_mul(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

static inline bool is_power_of_two(uint64_t value)
{
    return value && !(value & (value - 1));
}

/* The smallest power of two that is no smaller; `value` is 2 to 2^63. */
static inline uint64_t power_of_two_up(uint64_t value)
{
    return 1ULL << (64 - __builtin_clzll(value - 1));
}

/* `alignment` is a power of two. align_up wraps to 0 at the top of the range. */
static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return align_down(value + alignment - 1, alignment);
}

static inline uint64_t u64_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t u64_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
