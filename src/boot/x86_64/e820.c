#include "boot/x86_64/e820.h"

#include "mem/layout.h"

static void add(struct e820 *map, uint64_t base, uint64_t end, uint32_t type)
{
    map->entries[map->count++] = (struct e820_entry){base, end - base, type};
}

void e820_make(struct e820 *map, const struct gmem *mem)
{
    map->count = 0;
    add(map, 0, LAYOUT_LOW_RAM_END, E820_RAM);
    add(map, LAYOUT_LOW_RAM_END, LAYOUT_BIOS_END, E820_RESERVED);
    add(map, LAYOUT_BIOS_END, gmem_region(mem, 0)->range.size, E820_RAM);
    add(map, LAYOUT_ECAM_BASE, LAYOUT_ECAM_BASE + LAYOUT_ECAM_LEN, E820_RESERVED);
    add(map, LAYOUT_KVM_IDENTITY_BASE, LAYOUT_KVM_END, E820_RESERVED);
    if (gmem_region_count(mem) > 1) {
        const struct gmem_range *high = &gmem_region(mem, 1)->range;

        add(map, high->base.addr, high->base.addr + high->size, E820_RAM);
    }
}
