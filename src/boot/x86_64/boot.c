#include "boot/x86_64/boot.h"

#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "boot/x86_64/entry.h"
#include "boot/x86_64/info.h"
#include "boot/x86_64/kernel.h"
#include "boot/x86_64/lowmem.h"

enum { INITRD_ALIGNMENT = 4096 };

static int cmdline_check(const struct kernel *kernel, const char *cmdline, struct err *err)
{
    uint64_t len_max = u64_min(kernel->cmdline_len_max, LOWMEM_CMDLINE_SIZE - 1);
    size_t len = strlen(cmdline);

    if (len > len_max)
        return err_set(
            err, -E2BIG,
            "kernel command line: %zu bytes, but %s takes at most %llu; shorten --params", len,
            kernel->file->path, (unsigned long long)len_max);
    return 0;
}

/* The highest place in [base, end) of whole pages. */
static bool initrd_fit(uint64_t base, uint64_t end, uint64_t size, uint64_t *place)
{
    if (end < base || size > end - base)
        return false;
    *place = align_down(end - size, INITRD_ALIGNMENT);
    return *place >= base;
}

static int initrd_place(const struct gmem *mem, const struct kernel *kernel,
                        const struct boot_file *initrd, struct boot_info *info, struct err *err)
{
    uint64_t low_end = u64_min(gmem_region(mem, 0)->range.size, kernel->initrd_end_max);
    uint64_t size;
    int ret;

    if (initrd->fd < 0)
        return 0;
    ret = boot_file_size(initrd, &size, err);
    if (ret)
        return ret;
    info->initrd_size = size;
    if (initrd_fit(kernel->end, low_end, size, &info->initrd_base))
        return 0;
    if (kernel->initrd_anywhere && gmem_region_count(mem) > 1) {
        const struct gmem_range *high = &gmem_region(mem, 1)->range;

        if (initrd_fit(high->base.addr, high->base.addr + high->size, size, &info->initrd_base))
            return 0;
    }
    return err_set(err, -ENOMEM,
                   "initrd %s: %llu MiB do not fit into guest memory beside the kernel (%llu MiB "
                   "are left for it); raise --mem or make it smaller",
                   initrd->path, (unsigned long long)align_up(size, 1 << 20) >> 20,
                   (unsigned long long)(low_end > kernel->end ? low_end - kernel->end : 0) >> 20);
}

static void cmdline_write(struct gmem *mem, const char *cmdline, struct boot_info *info)
{
    size_t size = strlen(cmdline) + 1;

    memcpy(lowmem_ptr(mem, LOWMEM_CMDLINE, size), cmdline, size);
    info->cmdline = LOWMEM_CMDLINE;
}

int boot_load(struct gmem *mem, const struct boot_config *config, struct boot_regs *regs,
              struct err *err)
{
    struct boot_info info = {.cmdline = 0};
    struct kernel kernel;
    gpa_t boot_params;
    int ret;

    CHECK(gmem_ptr(mem, gpa(0), LAYOUT_BIOS_END) != NULL);
    ret = kernel_parse(&kernel, &config->kernel, mem, err);
    if (ret)
        return ret;
    ret = cmdline_check(&kernel, config->cmdline, err);
    if (ret)
        return ret;
    ret = initrd_place(mem, &kernel, &config->initrd, &info, err);
    if (ret)
        return ret;

    ret = kernel_load(&kernel, mem, err);
    if (ret)
        return ret;
    if (info.initrd_size) {
        ret = boot_file_load(&config->initrd, 0, mem, gpa(info.initrd_base), info.initrd_size, err);
        if (ret)
            return ret;
    }
    cmdline_write(mem, config->cmdline, &info);
    info.rsdp = acpi_write(mem, &config->acpi).addr;
    if (kernel.protocol == KERNEL_PVH) {
        entry_protected(mem, kernel.entry, pvh_info_write(mem, &info), regs);
        return 0;
    }
    ret = linux_info_write(mem, &kernel, &info, &boot_params, err);
    if (ret)
        return ret;
    entry_long(mem, kernel.entry, boot_params, regs);
    return 0;
}
