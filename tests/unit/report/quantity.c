#include "report/quantity.h"

#include <criterion/criterion.h>

Test(quantity, durations_have_three_digits_and_the_unit_that_suits)
{
    cr_assert_str_eq(quantity_of_ns(0).text, "0 ns");
    cr_assert_str_eq(quantity_of_ns(999).text, "999 ns");
    cr_assert_str_eq(quantity_of_ns(1000).text, "1.00 µs");
    cr_assert_str_eq(quantity_of_ns(9994).text, "9.99 µs");
    cr_assert_str_eq(quantity_of_ns(9996).text, "10.0 µs");
    cr_assert_str_eq(quantity_of_ns(45678).text, "45.7 µs");
    cr_assert_str_eq(quantity_of_ns(456789).text, "457 µs");
    cr_assert_str_eq(quantity_of_ns(12345678).text, "12.3 ms");
    cr_assert_str_eq(quantity_of_ns(60000000000).text, "60.0 s");
}

Test(quantity, what_rounds_to_a_thousand_gets_the_next_unit)
{
    cr_assert_str_eq(quantity_of_ns(999499).text, "999 µs");
    cr_assert_str_eq(quantity_of_ns(999500).text, "1.00 ms");
    cr_assert_str_eq(quantity_of_count(999999).text, "1.00 M");
}

Test(quantity, the_largest_unit_takes_what_is_left)
{
    cr_assert_str_eq(quantity_of_ns(5000000000000).text, "5000 s");
    cr_assert_str_eq(quantity_of_count(UINT64_MAX).text, "18446744074 G");
}

Test(quantity, counts_are_plain_below_a_thousand)
{
    cr_assert_str_eq(quantity_of_count(0).text, "0");
    cr_assert_str_eq(quantity_of_count(950).text, "950");
    cr_assert_str_eq(quantity_of_count(12345).text, "12.3 k");
}
