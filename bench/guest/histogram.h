/*
 * How often each duration came, in buckets that are 1.6 % wide: recording is a few instructions.
 */
#pragma once
#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 6,
    HISTOGRAM_SUB_COUNT = 1 << HISTOGRAM_SUB_BITS,
    HISTOGRAM_OCTAVES = 40,
    HISTOGRAM_BUCKETS = HISTOGRAM_OCTAVES << HISTOGRAM_SUB_BITS,
};

struct histogram {
    uint32_t counts[HISTOGRAM_BUCKETS];
};

static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
    unsigned index = (unsigned)value;

    if (value >= HISTOGRAM_SUB_COUNT) {
        unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;

        index = (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
    }
    histogram->counts[index < HISTOGRAM_BUCKETS ? index : HISTOGRAM_BUCKETS - 1]++;
}

void histogram_clear(struct histogram *histogram);
/* A line "h NANOSECONDS COUNT" for each bucket that is not empty: its middle. */
void histogram_print(const struct histogram *histogram);
