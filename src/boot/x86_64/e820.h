/* The memory map that guests are given (ACPI 6.3, chapter 15), in ascending order. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"

enum { E820_RAM = 1, E820_RESERVED = 2 };
enum { E820_ENTRY_COUNT_MAX = 6 };

struct e820_entry {
    uint64_t base;
    uint64_t size;
    uint32_t type;
};

struct e820 {
    struct e820_entry entries[E820_ENTRY_COUNT_MAX];
    size_t count;
};

/* `mem` has the ranges of layout_ram_ranges. */
void e820_make(struct e820 *map, const struct gmem *mem);
