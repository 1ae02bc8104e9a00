#include "mem/layout.h"

#include <criterion/criterion.h>
#include <errno.h>

#define GIB (1ULL << 30)

Test(layout, memory_is_one_range_of_any_size)
{
    static const uint64_t sizes[] = {2ULL << 20, 3 * GIB, 3 * GIB + 4096, LAYOUT_MEM_SIZE_MAX};
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    size_t count;

    for (size_t i = 0; i < array_count(sizes); i++) {
        cr_assert_eq(layout_ram_ranges(sizes[i], ranges, &count, NULL), 0);
        cr_assert_eq(count, 1);
        cr_assert_eq(ranges[0].base.addr, LAYOUT_RAM_BASE);
        cr_assert_eq(ranges[0].size, sizes[i]);
    }
}

Test(layout, impossible_sizes_are_refused)
{
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    size_t count;

    cr_assert_eq(layout_ram_ranges(0, ranges, &count, NULL), -EINVAL);
    cr_assert_eq(layout_ram_ranges(GIB + 1, ranges, &count, NULL), -EINVAL);
    cr_assert_eq(layout_ram_ranges(LAYOUT_MEM_SIZE_MAX + 4096, ranges, &count, NULL), -EINVAL);
}

Test(layout, the_64_bit_window_lies_behind_the_memory)
{
    cr_assert_eq(layout_pci_mem64_base(GIB), 32 * GIB);
    cr_assert_eq(layout_pci_mem64_base(31 * GIB), 32 * GIB);
    cr_assert_eq(layout_pci_mem64_base(31 * GIB + 4096), 64 * GIB);
}
