#include "mem/layout.h"

#include <errno.h>

#include "base/arith.h"

#define MEM_SIZE_MIN 0x200000ULL
#define PAGE_SIZE    0x1000ULL

_Static_assert(LAYOUT_PCI_MEM32_BASE + LAYOUT_PCI_MEM32_LEN <= LAYOUT_ECAM_BASE,
               "32-bit window and ECAM overlap");

int layout_ram_ranges(uint64_t mem_size, struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX],
                      size_t *count, struct err *err)
{
    uint64_t low_size = u64_min(mem_size, LAYOUT_GAP_BASE - LAYOUT_RAM_BASE);

    if (mem_size < MEM_SIZE_MIN || mem_size > LAYOUT_MEM_SIZE_MAX)
        return err_set(
            err, -EINVAL, "--mem: %llu KiB are no machine; choose between %llu MiB and %llu GiB",
            (unsigned long long)(mem_size >> 10), MEM_SIZE_MIN >> 20, LAYOUT_MEM_SIZE_MAX >> 30);
    if (mem_size % PAGE_SIZE)
        return err_set(err, -EINVAL,
                       "--mem: %llu bytes are not whole pages; choose a multiple of 4 KiB",
                       (unsigned long long)mem_size);
    ranges[0] = (struct gmem_range){gpa(LAYOUT_RAM_BASE), low_size};
    ranges[1] = (struct gmem_range){gpa(LAYOUT_GAP_END), mem_size - low_size};
    *count = ranges[1].size ? 2 : 1;
    return 0;
}

uint64_t layout_pci_mem64_base(uint64_t mem_size)
{
    uint64_t low_end = LAYOUT_RAM_BASE + u64_min(mem_size, LAYOUT_GAP_BASE - LAYOUT_RAM_BASE);
    uint64_t high_size = mem_size - (low_end - LAYOUT_RAM_BASE);

    return align_up(high_size ? LAYOUT_GAP_END + high_size : low_end, LAYOUT_PCI_MEM64_LEN);
}
