/*
 * Start of an x86_64 guest: files in, guest memory and the state of vCPU 0 out. The kernel's kind
 * is told by its content:
 *   bzImage     64-bit entry of the Linux boot protocol (Documentation/arch/x86/boot.rst)
 *   ELF64       the PVH entry where it has that note
 * (xen/include/public/arch-x86/hvm/start_info.h), else its entry point with boot_params, as a Linux
 * vmlinux wants All is validated before the first byte of guest memory is written.
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "boot/file.h"
#include "boot/x86_64/acpi.h"
#include "mem/gmem.h"

struct boot_config {
    struct boot_file kernel;
    struct boot_file initrd; /* fd -1: none */
    const char *cmdline;
    struct acpi_config acpi;
};

enum boot_mode {
    BOOT_MODE_LONG,      /* 64-bit; CR3 maps the first 4 GiB to themselves */
    BOOT_MODE_PROTECTED, /* 32-bit, paging off */
};

/* vCPU 0 at its first instruction. Interrupts are off; what is not named here is as after reset. */
struct boot_regs {
    enum boot_mode mode;
    uint64_t rip;
    uint64_t rsp;
    uint64_t rbx; /* protected mode: hvm_start_info */
    uint64_t rsi; /* long mode: boot_params */
    uint64_t cr3; /* long mode */
    gpa_t gdt;
    uint16_t gdt_limit;                                   /* size - 1 */
    uint16_t code_selector, data_selector, task_selector; /* into the GDT; flat */
};

/*
 * Loads kernel and initrd, writes the tables and boot information. `mem` has the ranges of
 * layout_ram_ranges. May be called again with the same files, for a reboot; what else is in guest
 * memory then stays. Any thread, while no vCPU runs; blocks. Errors: -ENOEXEC for what is not a
 * kernel of this machine, -ENODATA for a truncated file, -E2BIG for a command line that is too
 * long, -ENOMEM for what does not fit into guest memory, or what read(2) said.
 */
must_check int boot_load(struct gmem *mem, const struct boot_config *config, struct boot_regs *regs,
                         struct err *err);
