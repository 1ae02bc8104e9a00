#include "mem/layout.h"

#include <criterion/criterion.h>
#include <errno.h>

#define GIB (1ULL << 30)

Test(layout, small_memory_is_one_range)
{
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    size_t count;

    cr_assert_eq(layout_ram_ranges(3 * GIB, ranges, &count, NULL), 0);
    cr_assert_eq(count, 1);
    cr_assert_eq(ranges[0].base.addr, 0);
    cr_assert_eq(ranges[0].size, 3 * GIB);
}

Test(layout, memory_beyond_the_gap_continues_at_4_gib)
{
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    size_t count;

    cr_assert_eq(layout_ram_ranges(3 * GIB + 4096, ranges, &count, NULL), 0);
    cr_assert_eq(count, 2);
    cr_assert_eq(ranges[0].size, 3 * GIB);
    cr_assert_eq(ranges[1].base.addr, 4 * GIB);
    cr_assert_eq(ranges[1].size, 4096);
}

Test(layout, sizes_that_make_no_machine_are_refused)
{
    const uint64_t sizes[] = {0, 4096, 2 * GIB + 1, LAYOUT_MEM_SIZE_MAX + 4096, UINT64_MAX};
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    size_t count;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct err err = {""};

        cr_assert_eq(layout_ram_ranges(sizes[i], ranges, &count, &err), -EINVAL);
        cr_assert_neq(err.text[0], '\0');
    }
}

Test(layout, window_above_4_gib_follows_the_ram)
{
    cr_assert_eq(layout_pci_mem64_base(GIB), 32 * GIB);
    cr_assert_eq(layout_pci_mem64_base(3 * GIB), 32 * GIB);
    cr_assert_eq(layout_pci_mem64_base(31 * GIB), 32 * GIB);
    cr_assert_eq(layout_pci_mem64_base(31 * GIB + 4096), 64 * GIB);
    cr_assert_leq(layout_pci_mem64_base(LAYOUT_MEM_SIZE_MAX) + LAYOUT_PCI_MEM64_LEN, 512 * GIB);
}
