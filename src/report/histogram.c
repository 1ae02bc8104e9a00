#include "report/histogram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"

/*
 * Buckets: one for each value below 2 * HALF, then HALF for each further power of two, each as wide
 * as the power of two before allows: value >> shift is in HALF .. 2 * HALF - 1, so that a bucket is
 * at most 1/1024 of its values wide.
 */
enum {
    HALF_BITS = 10,
    HALF = 1 << HALF_BITS,
    VALUE_BITS = 36,
    BUCKETS = (VALUE_BITS - HALF_BITS + 1) * HALF,
    MILLI_PERCENT_ALL = 100000,
};

_Static_assert(HISTOGRAM_VALUE_MAX == (1ULL << VALUE_BITS) - 1, "the last bucket ends there");

struct histogram {
    uint64_t count;
    uint64_t min;
    uint64_t max;
    double sum;
    uint64_t buckets[BUCKETS];
};

int histogram_create(struct histogram **out)
{
    struct histogram *histogram = malloc(sizeof(*histogram));

    if (!histogram)
        return -ENOMEM;
    /* Not calloc, whose pages would come one by one while something is measured. */
    memset(histogram, 0, sizeof(*histogram));
    histogram->min = UINT64_MAX;
    *out = histogram;
    return 0;
}

void histogram_destroy(struct histogram *histogram)
{
    free(histogram);
}

static uint32_t bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < 2 * HALF)
        return (uint32_t)value;
    shift = 64 - (unsigned)__builtin_clzll(value) - (HALF_BITS + 1);
    return shift * HALF + (uint32_t)(value >> shift);
}

/* The largest value of a bucket. */
static uint64_t bucket_top(uint32_t bucket)
{
    unsigned shift;

    if (bucket < 2 * HALF)
        return bucket;
    shift = bucket / HALF - 1;
    return ((uint64_t)(bucket % HALF + HALF + 1) << shift) - 1;
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram_record_many(histogram, value, 1);
}

void histogram_record_many(struct histogram *histogram, uint64_t value, uint64_t count)
{
    if (!count)
        return;
    histogram->count += count;
    histogram->sum += (double)value * (double)count;
    histogram->min = u64_min(histogram->min, value);
    histogram->max = u64_max(histogram->max, value);
    histogram->buckets[bucket_of(u64_min(value, HISTOGRAM_VALUE_MAX))] += count;
}

void histogram_merge(struct histogram *histogram, const struct histogram *from)
{
    histogram->count += from->count;
    histogram->sum += from->sum;
    histogram->min = u64_min(histogram->min, from->min);
    histogram->max = u64_max(histogram->max, from->max);
    for (uint32_t i = 0; i < BUCKETS; i++)
        histogram->buckets[i] += from->buckets[i];
}

uint64_t histogram_count(const struct histogram *histogram)
{
    return histogram->count;
}

uint64_t histogram_min(const struct histogram *histogram)
{
    return histogram->count ? histogram->min : 0;
}

uint64_t histogram_max(const struct histogram *histogram)
{
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count ? histogram->sum / (double)histogram->count : 0;
}

uint64_t histogram_percentile(const struct histogram *histogram, uint32_t milli_percent)
{
    struct histogram_cursor cursor = {0};
    uint64_t rank;

    CHECK_CMP(milli_percent, <=, (uint32_t)MILLI_PERCENT_ALL);
    /* Rounded up, in whole numbers: p99.99 of 10,000 values is the 9,999th, not the last. */
    rank =
        (uint64_t)(((unsigned __int128)histogram->count * milli_percent + MILLI_PERCENT_ALL - 1) /
                   MILLI_PERCENT_ALL);
    while (histogram_next(histogram, &cursor))
        if (cursor.below_or_equal >= rank)
            break;
    return cursor.value;
}

bool histogram_resolves(const struct histogram *histogram, uint32_t milli_percent)
{
    CHECK_CMP(milli_percent, <=, (uint32_t)MILLI_PERCENT_ALL);
    return histogram->count * (MILLI_PERCENT_ALL - milli_percent) >= MILLI_PERCENT_ALL;
}

bool histogram_next(const struct histogram *histogram, struct histogram_cursor *cursor)
{
    while (cursor->index < BUCKETS && cursor->below_or_equal < histogram->count) {
        uint32_t index = cursor->index++;

        if (!histogram->buckets[index])
            continue;
        cursor->below_or_equal += histogram->buckets[index];
        /* A value above the range is in the last bucket; the last of all is known exactly. */
        cursor->value = cursor->below_or_equal == histogram->count
                            ? histogram->max
                            : u64_min(bucket_top(index), histogram->max);
        return true;
    }
    return false;
}
