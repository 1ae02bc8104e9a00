#include "bench/record.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(record, kind_is_the_whole_first_word)
{
    cr_assert(record_is("case depth=1", "case"));
    cr_assert(record_is("end", "end"));
    cr_assert_not(record_is("cases depth=1", "case"));
    cr_assert_not(record_is("cas", "case"));
}

Test(record, fields_are_found_by_their_whole_name)
{
    uint64_t value = 0;

    cr_assert_eq(record_number("case depths=7 depth=32 block=4096", "depth", &value), 0);
    cr_assert_eq(value, 32);
    cr_assert_eq(record_number("case depth=1 ns=18446744073709551615", "ns", &value), 0);
    cr_assert_eq(value, UINT64_MAX);
    cr_assert_eq(record_number("case depth=1", "block", &value), -ENOENT);
    cr_assert_eq(record_number("depth=1", "depth", &value), -ENOENT);
}

Test(record, what_is_not_a_number_is_refused)
{
    static const char *const lines[] = {"case ns=", "case ns= 1", "case ns=-1", "case ns=1x",
                                        "case ns=18446744073709551616"};
    uint64_t value;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        cr_assert_eq(record_number(lines[i], "ns", &value), -EINVAL, "%s", lines[i]);
}

Test(record, buckets_are_two_numbers_and_nothing_else)
{
    static const char *const lines[] = {"h", "h ", "h 1", "h 1 ", "h 1 2 3", "h a 2", "x 1 2"};
    uint64_t ns = 0, count = 0;

    cr_assert_eq(record_bucket("h 1500 42", &ns, &count), 0);
    cr_assert_eq(ns, 1500);
    cr_assert_eq(count, 42);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        cr_assert_eq(record_bucket(lines[i], &ns, &count), -EINVAL, "%s", lines[i]);
}
