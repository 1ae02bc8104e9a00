#include "histogram.h"

#include "clock.h"
#include "console.h"
#include "memory.h"

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

static uint64_t bucket_middle(unsigned index)
{
    unsigned shift = index >> HISTOGRAM_SUB_BITS;

    if (shift == 0)
        return index;
    shift--;
    return ((uint64_t)(index - (shift << HISTOGRAM_SUB_BITS)) << shift) + ((1ULL << shift) >> 1);
}

void histogram_print(const struct histogram *histogram)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (!histogram->counts[i])
            continue;
        console_begin("h");
        console_number(clock_ns(bucket_middle(i)));
        console_number(histogram->counts[i]);
        console_end();
    }
}
