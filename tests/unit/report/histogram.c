#include "report/histogram.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct histogram *create(void)
{
    struct histogram *histogram;

    cr_assert_eq(histogram_create(&histogram), 0);
    return histogram;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* What is allowed: never below the exact value, at most a thousandth above it. */
static void assert_close(uint64_t value, uint64_t exact)
{
    cr_assert_geq(value, exact, "%lu for %lu", value, exact);
    cr_assert_leq(value - exact, exact / 1000, "%lu for %lu", value, exact);
}

Test(histogram, is_zero_everywhere_while_empty)
{
    struct histogram *histogram = create();
    struct histogram_cursor cursor = {0};

    cr_assert_eq(histogram_count(histogram), 0);
    cr_assert_eq(histogram_min(histogram), 0);
    cr_assert_eq(histogram_max(histogram), 0);
    cr_assert_eq(histogram_mean(histogram), 0);
    cr_assert_eq(histogram_percentile(histogram, 99000), 0);
    cr_assert_not(histogram_next(histogram, &cursor));
    histogram_destroy(histogram);
}

Test(histogram, many_at_once_are_as_many_one_by_one)
{
    struct histogram *histogram = create();

    histogram_record_many(histogram, 10, 3);
    histogram_record_many(histogram, 1, 0);
    histogram_record_many(histogram, 40, 1);
    cr_assert_eq(histogram_count(histogram), 4);
    cr_assert_eq(histogram_min(histogram), 10);
    cr_assert_eq(histogram_max(histogram), 40);
    cr_assert_eq(histogram_mean(histogram), 17.5);
    cr_assert_eq(histogram_percentile(histogram, 75000), 10);
    histogram_destroy(histogram);
}

Test(histogram, values_below_two_thousand_are_exact)
{
    struct histogram *histogram = create();
    struct histogram_cursor cursor = {0};

    for (uint64_t value = 0; value < 2048; value++)
        histogram_record(histogram, value);
    for (uint64_t value = 0; value < 2048; value++) {
        cr_assert(histogram_next(histogram, &cursor));
        cr_assert_eq(cursor.value, value);
        cr_assert_eq(cursor.below_or_equal, value + 1);
    }
    cr_assert_not(histogram_next(histogram, &cursor));
    histogram_destroy(histogram);
}

Test(histogram, percentiles_are_those_of_the_sorted_values_to_a_thousandth)
{
    enum { COUNT = 20000 };
    static const uint32_t percentiles[] = {0,     1,     10000, 50000, 90000,
                                           99000, 99900, 99990, 99999, 100000};
    static uint64_t values[COUNT];
    struct histogram *histogram = create();
    uint64_t random = 88172645463325252ULL;

    /* Sizes of all orders: 1 to 2^35. */
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t bits = next_random(&random) % 36;

        values[i] = next_random(&random) & ((1ULL << bits) - 1);
        histogram_record(histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(*values), compare);
    for (unsigned i = 0; i < sizeof(percentiles) / sizeof(*percentiles); i++) {
        uint64_t rank = ((uint64_t)COUNT * percentiles[i] + 99999) / 100000;

        assert_close(histogram_percentile(histogram, percentiles[i]), values[rank ? rank - 1 : 0]);
    }
    cr_assert_eq(histogram_min(histogram), values[0]);
    cr_assert_eq(histogram_max(histogram), values[COUNT - 1]);
    cr_assert_eq(histogram_percentile(histogram, 100000), values[COUNT - 1]);
    histogram_destroy(histogram);
}

Test(histogram, both_ends_of_every_power_of_two_are_close)
{
    for (unsigned bit = 1; bit < 36; bit++)
        for (uint64_t value = (1ULL << bit) - 1; value <= (1ULL << bit) + 1; value++) {
            struct histogram *histogram = create();

            histogram_record(histogram, value);
            /* So that what is known exactly, the maximum, does not help. */
            histogram_record(histogram, HISTOGRAM_VALUE_MAX);
            assert_close(histogram_percentile(histogram, 50000), value);
            histogram_destroy(histogram);
        }
}

Test(histogram, a_value_beyond_the_range_counts_and_stays_the_maximum)
{
    struct histogram *histogram = create();

    histogram_record(histogram, 1);
    histogram_record(histogram, HISTOGRAM_VALUE_MAX + 12345);
    cr_assert_eq(histogram_count(histogram), 2);
    cr_assert_eq(histogram_max(histogram), HISTOGRAM_VALUE_MAX + 12345);
    cr_assert_eq(histogram_percentile(histogram, 100000), HISTOGRAM_VALUE_MAX + 12345);
    cr_assert_eq(histogram_percentile(histogram, 50000), 1);
    histogram_record(histogram, UINT64_MAX);
    cr_assert_eq(histogram_max(histogram), UINT64_MAX);
    histogram_destroy(histogram);
}

Test(histogram, a_percentile_is_rounded_up_to_a_whole_rank)
{
    struct histogram *histogram = create();

    for (uint64_t value = 1; value <= 1000; value++)
        histogram_record(histogram, value);
    cr_assert_eq(histogram_percentile(histogram, 50000), 500);
    cr_assert_eq(histogram_percentile(histogram, 99900), 999);
    cr_assert_eq(histogram_percentile(histogram, 99901), 1000);
    cr_assert_eq(histogram_mean(histogram), 500.5);
    histogram_destroy(histogram);
}

Test(histogram, merged_is_as_if_recorded_in_one)
{
    struct histogram *parts[2] = {create(), create()};
    struct histogram *all = create();
    struct histogram_cursor cursors[2] = {{0}, {0}};
    uint64_t random = 1234567;

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t value = next_random(&random) % 1000000;

        histogram_record(parts[i % 3 == 0], value);
        histogram_record(all, value);
    }
    histogram_merge(parts[0], parts[1]);
    cr_assert_eq(histogram_count(parts[0]), 1000);
    cr_assert_eq(histogram_min(parts[0]), histogram_min(all));
    cr_assert_eq(histogram_mean(parts[0]), histogram_mean(all));
    while (histogram_next(all, &cursors[0])) {
        cr_assert(histogram_next(parts[0], &cursors[1]));
        cr_assert_eq(cursors[0].value, cursors[1].value);
        cr_assert_eq(cursors[0].below_or_equal, cursors[1].below_or_equal);
    }
    cr_assert_not(histogram_next(parts[0], &cursors[1]));
    histogram_destroy(parts[0]);
    histogram_destroy(parts[1]);
    histogram_destroy(all);
}

Test(histogram, resolves_a_percentile_that_a_value_lies_beyond)
{
    struct histogram *histogram = create();

    for (unsigned i = 0; i < 999; i++)
        histogram_record(histogram, i);
    cr_assert(histogram_resolves(histogram, 99000));
    cr_assert_not(histogram_resolves(histogram, 99900));
    histogram_record(histogram, 1);
    cr_assert(histogram_resolves(histogram, 99900));
    histogram_destroy(histogram);
}
