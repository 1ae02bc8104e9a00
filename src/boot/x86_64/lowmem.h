/* What boot puts below 1 MiB, apart from the ACPI tables. All of it is RAM that the guest may reuse
 * once it has read it. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "mem/gmem.h"
#include "mem/layout.h"

enum {
    LOWMEM_GDT = 0x1000,
    LOWMEM_PAGE_TABLES = 0x2000, /* 6 pages */
    LOWMEM_BOOT_PARAMS = 0x8000, /* one page */
    LOWMEM_RNG_SEED = 0x9000,
    LOWMEM_PVH_START_INFO = 0xa000, /* one page, with module list and memory map */
    LOWMEM_STACK_TOP = 0x10000,
    LOWMEM_CMDLINE = 0x10000,
    LOWMEM_CMDLINE_SIZE = 0x10000, /* with the terminating zero */
};
_Static_assert(LOWMEM_CMDLINE + LOWMEM_CMDLINE_SIZE <= LAYOUT_LOW_RAM_END, "below the BIOS area");

/* Host address of `size` bytes at `addr`, which every machine has as RAM. */
static inline void *lowmem_ptr(const struct gmem *mem, uint64_t addr, size_t size)
{
    void *host = gmem_ptr(mem, gpa(addr), size);

    CHECK(host != NULL);
    return host;
}
