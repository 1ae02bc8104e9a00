/*
 * The machine's memory map, as code for every architecture sees it. Each architecture's header has
 * the picture, and the same names for what both have: LAYOUT_ECAM_BASE, LAYOUT_GSI_PCI_BASE, ...
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mem/gmem.h"
#if defined(__x86_64__)
#include "mem/x86_64/layout.h"
#elif defined(__aarch64__)
#include "mem/aarch64/layout.h"
#endif

enum { LAYOUT_RAM_RANGE_COUNT_MAX = 2 };

/*
 * RAM of `mem_size` bytes where the machine has it, in ascending order, ready for gmem_create.
 * -EINVAL unless mem_size is a multiple of 4 KiB from 2 MiB to LAYOUT_MEM_SIZE_MAX. Any thread.
 */
must_check int layout_ram_ranges(uint64_t mem_size,
                                 struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX],
                                 size_t *count, struct err *err);

/* Start of the 64-bit PCI window of LAYOUT_PCI_MEM64_LEN bytes: the first multiple of its length
 * above the RAM. Valid for sizes that layout_ram_ranges accepts. */
uint64_t layout_pci_mem64_base(uint64_t mem_size);
