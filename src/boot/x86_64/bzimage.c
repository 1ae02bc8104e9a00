#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/arith.h"
#include "boot/x86_64/kernel.h"
#include "boot/x86_64/lowmem.h"

enum {
    BOOT_FLAG = 0xaa55,
    HEADER_MAGIC = 0x53726448, /* "HdrS" */
    PROTOCOL_MIN = 0x020c,     /* 2.12 has xloadflags */
    SECTOR_SIZE = 512,
    PARAGRAPH_SIZE = 16,
    SETUP_SECTOR_COUNT_DEFAULT = 4,
    ENTRY_64_OFFSET = 0x200,
    HEADER_OFFSET = offsetof(struct boot_params, hdr),
};
_Static_assert(HEADER_OFFSET == 0x1f1, "Documentation/arch/x86/boot.rst");
_Static_assert(offsetof(struct setup_header, init_size) + HEADER_OFFSET == 0x260,
               "Documentation/arch/x86/boot.rst");

static uint64_t field(const uint8_t *head, size_t offset, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, head + HEADER_OFFSET + offset, size);
    return value;
}

#define FIELD(head, name)                              \
    field((head), offsetof(struct setup_header, name), \
          sizeof(((const struct setup_header *)NULL)->name))

bool bzimage_detect(const uint8_t *head, size_t head_size)
{
    return head_size >= HEADER_OFFSET + offsetof(struct setup_header, version) &&
           FIELD(head, boot_flag) == BOOT_FLAG && FIELD(head, header) == HEADER_MAGIC;
}

static int malformed(const struct boot_file *file, const char *what, struct err *err)
{
    return err_set(err, -ENOEXEC, "%s %s: malformed bzImage (%s); copy or build it again",
                   file->kind, file->path, what);
}

static int truncated(const struct boot_file *file, uint64_t size, uint64_t expected,
                     struct err *err)
{
    return err_set(err, -ENODATA, "%s %s: is truncated: %llu of %llu bytes; copy it again",
                   file->kind, file->path, (unsigned long long)size, (unsigned long long)expected);
}

/* The header as far as this kernel's goes: the byte before its magic is the jump over it. */
static int header_copy(struct kernel *kernel, const uint8_t *head, size_t head_size,
                       struct err *err)
{
    const size_t magic_offset = HEADER_OFFSET + offsetof(struct setup_header, header);
    size_t size;

    if (head_size < magic_offset)
        return truncated(kernel->file, head_size, magic_offset, err);
    size = magic_offset + head[magic_offset - 1] - HEADER_OFFSET;
    if (size < offsetof(struct setup_header, handover_offset))
        return malformed(kernel->file, "header too short", err);
    size = u64_min(size, sizeof(kernel->header));
    if (head_size < HEADER_OFFSET + size)
        return truncated(kernel->file, head_size, HEADER_OFFSET + size, err);
    kernel->header = (struct setup_header){.setup_sects = 0};
    memcpy(&kernel->header, head + HEADER_OFFSET, size);
    return 0;
}

static int image_find(struct kernel *kernel, uint64_t file_size, struct err *err)
{
    const struct setup_header *header = &kernel->header;
    uint64_t sectors = header->setup_sects ? header->setup_sects : SETUP_SECTOR_COUNT_DEFAULT;

    kernel->image_offset = (sectors + 1) * SECTOR_SIZE;
    kernel->image_size = (uint64_t)header->syssize * PARAGRAPH_SIZE;
    if (kernel->image_size <= ENTRY_64_OFFSET)
        return malformed(kernel->file, "too small", err);
    /* What follows, a signature for example, is not loaded. */
    if (file_size < kernel->image_offset + kernel->image_size)
        return truncated(kernel->file, file_size, kernel->image_offset + kernel->image_size, err);
    return 0;
}

/* "Kernel runtime start address" in Documentation/arch/x86/boot.rst: loaded there, the kernel needs
 * no other memory before it reads its memory map. */
static int image_place(struct kernel *kernel, const struct gmem *mem, struct err *err)
{
    const struct setup_header *header = &kernel->header;
    uint64_t low_ram_end = gmem_region(mem, 0)->range.size;
    uint64_t base = header->pref_address;

    if (header->relocatable_kernel) {
        if (!is_power_of_two(header->kernel_alignment))
            return malformed(kernel->file, "alignment", err);
        base = align_up(u64_max(base, LAYOUT_BIOS_END), header->kernel_alignment);
    }
    if (base < LAYOUT_BIOS_END ||
        !u64_add(base, u64_max(header->init_size, kernel->image_size), &kernel->end))
        return malformed(kernel->file, "load address", err);
    if (kernel->end > low_ram_end)
        return err_set(err, -ENOMEM,
                       "kernel %s: needs %llu MiB of memory to start, the guest has %llu below "
                       "4 GiB; raise --mem",
                       kernel->file->path, (unsigned long long)align_up(kernel->end, 1 << 20) >> 20,
                       (unsigned long long)low_ram_end >> 20);
    kernel->base = base;
    kernel->entry = base + ENTRY_64_OFFSET;
    return 0;
}

int bzimage_parse(struct kernel *kernel, const uint8_t *head, size_t head_size, uint64_t file_size,
                  const struct gmem *mem, struct err *err)
{
    const struct boot_file *file = kernel->file;
    const struct setup_header *header = &kernel->header;
    int ret;

    ret = header_copy(kernel, head, head_size, err);
    if (ret)
        return ret;
    if (header->version < PROTOCOL_MIN)
        return err_set(err, -ENOEXEC,
                       "%s %s: speaks boot protocol %u.%02u; give a kernel with 2.12 or later "
                       "(Linux 3.8)",
                       file->kind, file->path, header->version >> 8, header->version & 0xff);
    if (!(header->xloadflags & XLF_KERNEL_64))
        return err_set(err, -ENOEXEC, "%s %s: is a 32-bit kernel; give one for x86_64", file->kind,
                       file->path);
    ret = image_find(kernel, file_size, err);
    if (ret)
        return ret;
    ret = image_place(kernel, mem, err);
    if (ret)
        return ret;
    kernel->protocol = KERNEL_LINUX64;
    kernel->cmdline_len_max = header->cmdline_size;
    kernel->initrd_end_max = (uint64_t)header->initrd_addr_max + 1;
    kernel->initrd_anywhere = header->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G;
    return 0;
}
