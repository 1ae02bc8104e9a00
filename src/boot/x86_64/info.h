/* Boot information in the form that each kind of kernel wants, written into guest memory below
 * 1 MiB (lowmem.h). Any thread. */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "boot/x86_64/kernel.h"
#include "mem/gmem.h"

/* What is in guest memory already. */
struct boot_info {
    uint64_t cmdline;                  /* zero-terminated */
    uint64_t initrd_base, initrd_size; /* size 0: none */
    uint64_t rsdp;
};

/* linux.c: boot_params (Documentation/arch/x86/zero-page.rst) and a seed for the guest's random
 * numbers. What getrandom(2) said when there is none. */
must_check int linux_info_write(struct gmem *mem, const struct kernel *kernel,
                                const struct boot_info *info, gpa_t *boot_params, struct err *err);

/* pvh.c: hvm_start_info. */
gpa_t pvh_info_write(struct gmem *mem, const struct boot_info *info);
