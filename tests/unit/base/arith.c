#include "base/arith.h"

#include <criterion/criterion.h>

Test(arith, sums_and_products_say_when_they_overflow)
{
    uint64_t value;

    cr_assert(u64_add(UINT64_MAX - 1, 1, &value));
    cr_assert_eq(value, UINT64_MAX);
    cr_assert_not(u64_add(UINT64_MAX, 1, &value));
    cr_assert(u64_mul(1ULL << 32, (1ULL << 32) - 1, &value));
    cr_assert_eq(value, UINT64_MAX - UINT32_MAX);
    cr_assert_not(u64_mul(1ULL << 32, 1ULL << 32, &value));
}

Test(arith, alignment)
{
    cr_assert_eq(align_down(0x1fff, 0x1000), 0x1000);
    cr_assert_eq(align_up(0x1001, 0x1000), 0x2000);
    cr_assert_eq(align_up(0x1000, 0x1000), 0x1000);
    cr_assert_eq(align_up(UINT64_MAX, 0x1000), 0, "wraps, as documented");
    cr_assert(is_power_of_two(1) && is_power_of_two(1ULL << 63));
    cr_assert_not(is_power_of_two(0) || is_power_of_two(3));
    cr_assert_eq(power_of_two_up(2), 2);
    cr_assert_eq(power_of_two_up(3), 4);
    cr_assert_eq(power_of_two_up(4), 4);
    cr_assert_eq(power_of_two_up(129), 256);
    cr_assert_eq(power_of_two_up(1ULL << 63), 1ULL << 63);
}
