#include "boot/x86_64/kernel.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "boot/x86_64/lowmem.h"

enum {
    /* xen/include/public/elfnote.h */
    XEN_ELFNOTE_PHYS32_ENTRY = 18,
    /* What Linux takes (COMMAND_LINE_SIZE - 1): an ELF file does not say. */
    LINUX_CMDLINE_LEN_MAX = 2047,
    HEAD_SIZE = 1024,
};

/* Where Linux wants its initrd on x86_64 unless its header says otherwise. */
#define LINUX_INITRD_END_MAX 0x80000000ULL

/* What people try that is not a kernel for this machine. */
static const struct {
    size_t offset;
    const char *magic;
    size_t len;
    const char *what;
} foreigners[] = {
    {0x38, "ARM\x64", 4, "is a kernel for aarch64; give one for x86_64"},
    {0x38, "RSC\x05", 4, "is a kernel for riscv; give one for x86_64"},
    {0, "\x1f\x8b", 2, "is a gzip file; unpack it, or give a vmlinuz"},
    {0,
     "\xfd"
     "7zXZ",
     5, "is an xz file; unpack it, or give a vmlinuz"},
    {0, "\x28\xb5\x2f\xfd", 4, "is a zstd file; unpack it, or give a vmlinuz"},
    {0, "070701", 6, "is a cpio archive; give it with --initrd"},
};

static int not_a_kernel(const struct boot_file *file, const uint8_t *head, size_t head_size,
                        uint64_t file_size, struct err *err)
{
    for (size_t i = 0; i < array_count(foreigners); i++)
        if (head_size >= foreigners[i].offset + foreigners[i].len &&
            !memcmp(head + foreigners[i].offset, foreigners[i].magic, foreigners[i].len))
            return err_set(err, -ENOEXEC, "%s %s: %s", file->kind, file->path, foreigners[i].what);
    return err_set(err, -ENOEXEC,
                   "%s %s: is neither a bzImage nor an ELF file, or is cut short (%llu bytes); "
                   "give a vmlinuz or vmlinux",
                   file->kind, file->path, (unsigned long long)file_size);
}

/* Values that a bzImage would bring along. */
static const struct setup_header elf_setup_header = {
    .boot_flag = 0xaa55,
    .header = 0x53726448,
    .version = 0x020f,
    .loadflags = LOADED_HIGH,
    .kernel_alignment = 0x200000,
    .initrd_addr_max = LINUX_INITRD_END_MAX - 1,
    .cmdline_size = LINUX_CMDLINE_LEN_MAX,
};

static int elf_kernel_parse(struct kernel *kernel, const struct gmem *mem, struct err *err)
{
    const struct gmem_range space = {gpa(LAYOUT_BIOS_END),
                                     gmem_region(mem, 0)->range.size - LAYOUT_BIOS_END};
    struct elf *elf = &kernel->elf;
    uint64_t pvh_entry;
    int ret;

    ret = elf_parse(elf, kernel->file, EM_X86_64, &space, err);
    if (ret)
        return ret;
    kernel->base = elf->base;
    kernel->end = elf->end;
    kernel->cmdline_len_max = LINUX_CMDLINE_LEN_MAX;
    kernel->initrd_end_max = LINUX_INITRD_END_MAX;

    ret = elf_note_number(elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &pvh_entry, err);
    if (ret == -ENOENT) {
        kernel->protocol = KERNEL_LINUX64;
        kernel->entry = elf->entry;
        kernel->header = elf_setup_header;
        return 0;
    }
    if (ret)
        return ret;
    if (!elf_contains(elf, pvh_entry))
        return err_set(err, -ENOEXEC,
                       "%s %s: its PVH entry 0x%llx is outside of its segments; build it again",
                       kernel->file->kind, kernel->file->path, (unsigned long long)pvh_entry);
    kernel->protocol = KERNEL_PVH;
    kernel->entry = pvh_entry;
    return 0;
}

int kernel_parse(struct kernel *kernel, const struct boot_file *file, const struct gmem *mem,
                 struct err *err)
{
    uint8_t head[HEAD_SIZE];
    uint64_t file_size;
    size_t head_size;
    int ret;

    *kernel = (struct kernel){.file = file};
    ret = boot_file_size(file, &file_size, err);
    if (ret)
        return ret;
    head_size = u64_min(file_size, sizeof(head));
    ret = boot_file_read(file, 0, head, head_size, err);
    if (ret)
        return ret;
    if (bzimage_detect(head, head_size))
        return bzimage_parse(kernel, head, head_size, file_size, mem, err);
    if (head_size >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG))
        return elf_kernel_parse(kernel, mem, err);
    return not_a_kernel(file, head, head_size, file_size, err);
}

int kernel_load(const struct kernel *kernel, struct gmem *mem, struct err *err)
{
    if (!kernel->image_size)
        return elf_load(&kernel->elf, mem, err);
    return boot_file_load(kernel->file, kernel->image_offset, mem, gpa(kernel->base),
                          kernel->image_size, err);
}
