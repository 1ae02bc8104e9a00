/* The device tree (Devicetree Specification 0.4, and the kernel's bindings). Any thread. */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "boot/aarch64/boot.h"
#include "mem/gmem.h"

/* Room for VCPU_COUNT_MAX vCPUs, all devices and the longest command line. */
enum { FDT_SIZE_MAX = 0x10000 };

/* What is in guest memory already. */
struct fdt_info {
    const char *cmdline;
    uint64_t initrd_base, initrd_size; /* size 0: none */
};

/* Writes it to `host`, FDT_SIZE_MAX bytes at an address that is a multiple of 8. What getrandom(2)
 * said when there is no seed. */
must_check int fdt_write(void *host, const struct gmem *mem, const struct boot_machine *machine,
                         const struct fdt_info *info, struct err *err);
