#include "mem/x86_64/layout.h"

#include <errno.h>

#include "base/arith.h"

#define LAYOUT_MEM_SIZE_MIN 0x200000ULL
#define LAYOUT_PAGE_SIZE    0x1000ULL

_Static_assert(LAYOUT_PCI_MEM32_BASE + LAYOUT_PCI_MEM32_LEN <= LAYOUT_ECAM_BASE,
               "32-bit window and ECAM overlap");
_Static_assert(LAYOUT_ECAM_BASE + LAYOUT_ECAM_LEN <= LAYOUT_IOAPIC_BASE, "ECAM and IOAPIC overlap");
_Static_assert(LAYOUT_GAP_END + LAYOUT_MEM_SIZE_MAX + 2 * LAYOUT_PCI_MEM64_LEN <= 1ULL << 39,
               "the 64-bit window ends within 39 address bits");
_Static_assert(LAYOUT_GSI_PCI_BASE + LAYOUT_GSI_PCI_COUNT <= LAYOUT_IOAPIC_PIN_COUNT,
               "PCI interrupts are pins of the IOAPIC");

int layout_ram_ranges(uint64_t mem_size, struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX],
                      size_t *count, struct err *err)
{
    if (mem_size < LAYOUT_MEM_SIZE_MIN || mem_size > LAYOUT_MEM_SIZE_MAX)
        return err_set(err, -EINVAL,
                       "--mem: %llu KiB are no machine; choose between %llu MiB and %llu GiB",
                       (unsigned long long)(mem_size >> 10), LAYOUT_MEM_SIZE_MIN >> 20,
                       LAYOUT_MEM_SIZE_MAX >> 30);
    if (mem_size % LAYOUT_PAGE_SIZE)
        return err_set(err, -EINVAL,
                       "--mem: %llu bytes are not whole pages; choose a multiple of 4 KiB",
                       (unsigned long long)mem_size);
    ranges[0] = (struct gmem_range){gpa(0), u64_min(mem_size, LAYOUT_GAP_BASE)};
    ranges[1] = (struct gmem_range){gpa(LAYOUT_GAP_END), mem_size - ranges[0].size};
    *count = ranges[1].size ? 2 : 1;
    return 0;
}

uint64_t layout_pci_mem64_base(uint64_t mem_size)
{
    uint64_t low_size = u64_min(mem_size, LAYOUT_GAP_BASE);

    return align_up(LAYOUT_GAP_END + (mem_size - low_size), LAYOUT_PCI_MEM64_LEN);
}
