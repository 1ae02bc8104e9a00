#include "boot/aarch64/boot.h"

#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "boot/aarch64/fdt.h"
#include "boot/aarch64/kernel.h"
#include "mem/layout.h"

enum {
    /* What Linux takes: COMMAND_LINE_SIZE - 1. */
    CMDLINE_LEN_MAX = 2047,
    /* The tree may not cross a multiple of it: booting.rst. */
    FDT_ALIGNMENT = 0x200000,
    INITRD_ALIGNMENT = 0x1000,
};
_Static_assert((int)FDT_SIZE_MAX <= (int)FDT_ALIGNMENT, "booting.rst");

/* Kernel and initrd lie within so much from a multiple of 1 GiB on: booting.rst. */
#define INITRD_SPAN_MAX (32ULL << 30)

static int initrd_place(const struct gmem *mem, const struct boot_file *initrd, uint64_t base,
                        struct fdt_info *info, struct err *err)
{
    const struct gmem_range *ram = &gmem_region(mem, 0)->range;
    uint64_t end = ram->base.addr + u64_min(ram->size, INITRD_SPAN_MAX);
    uint64_t size;
    int ret;

    if (initrd->fd < 0)
        return 0;
    ret = boot_file_size(initrd, &size, err);
    if (ret)
        return ret;
    if (size > end || align_down(end - size, INITRD_ALIGNMENT) < base)
        return err_set(err, -ENOMEM,
                       "initrd %s: %llu MiB do not fit into guest memory beside the kernel (%llu "
                       "MiB are left for it); raise --mem or make it smaller",
                       initrd->path, (unsigned long long)align_up(size, 1 << 20) >> 20,
                       (unsigned long long)(end > base ? end - base : 0) >> 20);
    info->initrd_base = align_down(end - size, INITRD_ALIGNMENT);
    info->initrd_size = size;
    return 0;
}

int boot_load(struct gmem *mem, const struct boot_config *config, struct boot_regs *regs,
              struct err *err)
{
    struct fdt_info info = {.cmdline = config->cmdline};
    size_t cmdline_len = strlen(config->cmdline);
    struct kernel kernel;
    gpa_t device_tree;
    void *fdt;
    int ret;

    ret = kernel_parse(&kernel, &config->kernel, mem, err);
    if (ret)
        return ret;
    if (cmdline_len > CMDLINE_LEN_MAX)
        return err_set(
            err, -E2BIG,
            "kernel command line: %zu bytes, but Linux takes at most %d; shorten --params",
            cmdline_len, CMDLINE_LEN_MAX);
    device_tree = gpa(align_up(kernel.end, FDT_ALIGNMENT));
    fdt = gmem_ptr(mem, device_tree, FDT_SIZE_MAX);
    if (!fdt)
        return err_set(err, -ENOMEM,
                       "kernel %s: guest memory has no room for a device tree behind it; raise "
                       "--mem",
                       config->kernel.path);
    ret = initrd_place(mem, &config->initrd, device_tree.addr + FDT_SIZE_MAX, &info, err);
    if (ret)
        return ret;

    ret = kernel_load(&kernel, mem, err);
    if (!ret && info.initrd_size)
        ret = boot_file_load(&config->initrd, 0, mem, gpa(info.initrd_base), info.initrd_size, err);
    if (!ret)
        ret = fdt_write(fdt, mem, &config->machine, &info, err);
    if (ret)
        return ret;
    *regs = (struct boot_regs){.pc = kernel.entry, .device_tree = device_tree};
    return 0;
}
