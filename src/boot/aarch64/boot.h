/*
 * Start of an aarch64 guest: files in, guest memory and the state of vCPU 0 out
 * (Documentation/arch/arm64/booting.rst). The kernel's kind is told by its content: an Image,
 * plain, compressed with gzip, zstd or lz4, or in an EFI zboot wrapper; or ELF64 with an entry like
 * an Image's.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/limits.h"
#include "boot/file.h"
#include "mem/gmem.h"

enum boot_gic { BOOT_GIC_V2 /* with a GICv2m */, BOOT_GIC_V3, BOOT_GIC_V3_ITS };

/* What the device tree says beside the memory map. */
struct boot_machine {
    uint32_t vcpu_count;
    uint64_t affinities[VCPU_COUNT_MAX]; /* of each vCPU: MPIDR_EL1's affinity fields */
    enum boot_gic gic;
    bool has_pmu;
    uint32_t virtio_mmio_count; /* devices at LAYOUT_VIRTIO_MMIO_BASE and on */
};

struct boot_config {
    struct boot_file kernel;
    struct boot_file initrd; /* fd -1: none */
    const char *cmdline;
    struct boot_machine machine;
};

/* vCPU 0 at its first instruction; what is not named here is as after reset. */
struct boot_regs {
    uint64_t pc;
    gpa_t device_tree; /* in x0 */
};

/*
 * Loads kernel and initrd, writes the device tree. `mem` has the ranges of layout_ram_ranges. May
 * be called again with the same files, for a reboot; what else is in guest memory then stays. Any
 * thread, while no vCPU runs; blocks. Errors: -ENOEXEC for what is not a kernel of this machine,
 * -ENODATA for a truncated file, -E2BIG for a command line that is too long, -ENOMEM for what does
 * not fit into guest memory, or what read(2) or getrandom(2) said.
 */
must_check int boot_load(struct gmem *mem, const struct boot_config *config, struct boot_regs *regs,
                         struct err *err);
