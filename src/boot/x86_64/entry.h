/* State of the processor at entry, with the tables in guest memory that it needs. Any thread. */
#pragma once
#include <stdint.h>

#include "boot/x86_64/boot.h"
#include "mem/gmem.h"

/* Long mode: identity map of the first 4 GiB. Documentation/arch/x86/boot.rst, "64-bit boot
 * protocol". */
void entry_long(struct gmem *mem, uint64_t rip, gpa_t boot_params, struct boot_regs *regs);

/* Protected mode without paging. xen/include/public/arch-x86/hvm/start_info.h. */
void entry_protected(struct gmem *mem, uint64_t rip, gpa_t start_info, struct boot_regs *regs);
