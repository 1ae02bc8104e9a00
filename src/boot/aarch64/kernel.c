#include "boot/aarch64/kernel.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "mem/layout.h"

/* Documentation/arch/arm64/booting.rst; all little-endian. */
struct image_header {
    uint32_t code[2];
    uint64_t text_offset; /* from a multiple of 2 MiB */
    uint64_t image_size;  /* in memory; 0: a kernel before 3.17 */
    uint64_t flags;
    uint64_t reserved[3];
    uint32_t magic;
    uint32_t pe_offset;
};
_Static_assert(sizeof(struct image_header) == 64, "booting.rst");

/* drivers/firmware/efi/libstub/zboot-header.S */
struct zboot_header {
    uint32_t dos_magic;
    uint32_t magic;
    uint32_t payload_offset;
    uint32_t payload_size;
    uint64_t reserved;
    char compression[32];
};
_Static_assert(sizeof(struct zboot_header) == 56, "zboot-header.S");

enum {
    IMAGE_MAGIC = 0x644d5241, /* "ARM\x64" */
    ZBOOT_MAGIC = 0x676d697a, /* "zimg" */
    IMAGE_FLAG_BIG_ENDIAN = 1,
    /* Of kernels that do not say their size. */
    IMAGE_SIZE_DEFAULT = 0x1000000,
    TEXT_OFFSET_DEFAULT = 0x80000,
};

/* What people try that is not a kernel for this machine. */
static const struct {
    size_t offset;
    const char *magic;
    size_t len;
    const char *what;
} foreigners[] = {
    {0x202, "HdrS", 4, "is a kernel for x86_64; give one for aarch64"},
    {0x38, "RSC\x05", 4, "is a kernel for riscv; give one for aarch64"},
    {0,
     "\xfd"
     "7zXZ",
     5, "is an xz file; unpack it"},
    {0, "070701", 6, "is a cpio archive; give it with --initrd"},
};

/* How an Image may be compressed. */
static const struct packing {
    enum unpack_format format;
    const char *name; /* in a zboot header, perhaps with a level: "zstd22" */
    const char *magic;
    size_t magic_len;
} packings[] = {
    {UNPACK_GZIP, "gzip", "\x1f\x8b", 2},
    {UNPACK_ZSTD, "zstd", "\x28\xb5\x2f\xfd", 4},
    {UNPACK_LZ4, "lz4", "\x02\x21\x4c\x18", 4},
};

enum { HEAD_SIZE = 1024 };

static int not_a_kernel(const struct boot_file *file, const uint8_t *head, size_t head_size,
                        uint64_t file_size, struct err *err)
{
    for (size_t i = 0; i < array_count(foreigners); i++)
        if (head_size >= foreigners[i].offset + foreigners[i].len &&
            !memcmp(head + foreigners[i].offset, foreigners[i].magic, foreigners[i].len))
            return err_set(err, -ENOEXEC, "%s %s: %s", file->kind, file->path, foreigners[i].what);
    return err_set(err, -ENOEXEC,
                   "%s %s: is neither an Image nor an ELF file, or is cut short (%llu bytes); "
                   "give a vmlinuz or Image",
                   file->kind, file->path, (unsigned long long)file_size);
}

/* Where an Image with this header goes: as low as it may. */
static int image_place(struct kernel *kernel, const struct image_header *header,
                       const struct gmem *mem, struct err *err)
{
    const struct boot_file *file = kernel->file;
    const struct gmem_range *ram = &gmem_region(mem, 0)->range;
    uint64_t size = header->image_size ? header->image_size : IMAGE_SIZE_DEFAULT;
    uint64_t offset = header->image_size ? header->text_offset : TEXT_OFFSET_DEFAULT;

    if (header->flags & IMAGE_FLAG_BIG_ENDIAN)
        return err_set(err, -ENOEXEC, "%s %s: is a big-endian kernel; give a little-endian one",
                       file->kind, file->path);
    if (offset > ram->size || size > ram->size - offset)
        return err_set(err, -ENOMEM,
                       "%s %s: needs %llu MiB at offset %llu MiB of guest memory; raise --mem",
                       file->kind, file->path, (unsigned long long)size >> 20,
                       (unsigned long long)offset >> 20);
    kernel->base = kernel->entry = ram->base.addr + offset;
    kernel->end = kernel->base + size;
    return 0;
}

/* `head` is the file's, or that of what is compressed in it. */
static bool image_detect(const uint8_t *head, size_t head_size, struct image_header *header)
{
    if (head_size < sizeof(*header))
        return false;
    memcpy(header, head, sizeof(*header));
    return header->magic == IMAGE_MAGIC;
}

/* What is packed at kernel->offset. */
static int packed_parse(struct kernel *kernel, enum unpack_format packing, const struct gmem *mem,
                        struct err *err)
{
    uint8_t head[sizeof(struct image_header)];
    struct image_header header;
    struct unpack *unpack;
    size_t head_size;
    int ret;

    kernel->form = KERNEL_IMAGE_PACKED;
    kernel->packing = packing;
    ret = unpack_open(&unpack, packing, kernel->file, kernel->offset, kernel->size, err);
    if (ret)
        return ret;
    ret = unpack_read(unpack, head, sizeof(head), &head_size, err);
    unpack_close(unpack);
    if (ret)
        return ret;
    if (!image_detect(head, head_size, &header))
        return err_set(err, -ENOEXEC, "%s %s: what is compressed in it is no Image",
                       kernel->file->kind, kernel->file->path);
    return image_place(kernel, &header, mem, err);
}

static const struct packing *packing_find(const char *name)
{
    for (size_t i = 0; i < array_count(packings); i++)
        if (!strncmp(name, packings[i].name, strlen(packings[i].name)))
            return &packings[i];
    return NULL;
}

static int zboot_parse(struct kernel *kernel, const struct zboot_header *header,
                       const struct gmem *mem, struct err *err)
{
    const struct boot_file *file = kernel->file;
    const struct packing *packing = packing_find(header->compression);

    if (!packing)
        return err_set(err, -ENOEXEC,
                       "%s %s: is an EFI zboot image compressed with %.31s, only gzip, zstd and "
                       "lz4 are known; give the Image inside",
                       file->kind, file->path, header->compression);
    if (header->payload_offset > kernel->size ||
        header->payload_size > kernel->size - header->payload_offset)
        return err_set(err, -ENODATA, "%s %s: is truncated: %llu bytes; copy it again", file->kind,
                       file->path, (unsigned long long)kernel->size);
    kernel->offset = header->payload_offset;
    kernel->size = header->payload_size;
    return packed_parse(kernel, packing->format, mem, err);
}

/*
 * Linux's program headers end before the memory that it uses, and do not say which offset from a
 * multiple of 2 MiB it wants. The Image's header, which vmlinux has at the entry, says both.
 */
static int elf_kernel_place(struct kernel *kernel, const struct gmem *mem, struct err *err)
{
    struct gmem_range space = gmem_region(mem, 0)->range;
    struct elf *elf = &kernel->elf;
    struct image_header header;
    int ret = elf->is_moved ? elf_peek(elf, elf->entry, &header, sizeof(header), err) : -ENOENT;

    if (ret == -ENOENT || (!ret && header.magic != IMAGE_MAGIC))
        return 0;
    if (!ret)
        ret = image_place(kernel, &header, mem, err);
    if (ret)
        return ret;
    space.size -= kernel->base - space.base.addr;
    space.base = gpa(kernel->base);
    return elf_parse(elf, kernel->file, EM_AARCH64, &space, err);
}

static int elf_kernel_parse(struct kernel *kernel, const struct gmem *mem, struct err *err)
{
    struct elf *elf = &kernel->elf;
    int ret = elf_parse(elf, kernel->file, EM_AARCH64, &gmem_region(mem, 0)->range, err);

    if (!ret)
        ret = elf_kernel_place(kernel, mem, err);
    kernel->form = KERNEL_ELF;
    kernel->entry = elf->entry;
    kernel->base = elf->base;
    kernel->end = u64_max(kernel->end, elf->end);
    return ret;
}

int kernel_parse(struct kernel *kernel, const struct boot_file *file, const struct gmem *mem,
                 struct err *err)
{
    struct image_header image;
    struct zboot_header zboot;
    uint8_t head[HEAD_SIZE];
    size_t head_size;
    int ret;

    *kernel = (struct kernel){.file = file};
    ret = boot_file_size(file, &kernel->size, err);
    if (ret)
        return ret;
    head_size = u64_min(kernel->size, sizeof(head));
    ret = boot_file_read(file, 0, head, head_size, err);
    if (ret)
        return ret;
    if (image_detect(head, head_size, &image))
        return image_place(kernel, &image, mem, err);
    if (head_size >= sizeof(zboot)) {
        memcpy(&zboot, head, sizeof(zboot));
        if (zboot.magic == ZBOOT_MAGIC)
            return zboot_parse(kernel, &zboot, mem, err);
    }
    for (size_t i = 0; i < array_count(packings); i++)
        if (head_size >= packings[i].magic_len &&
            !memcmp(head, packings[i].magic, packings[i].magic_len))
            return packed_parse(kernel, packings[i].format, mem, err);
    if (head_size >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG))
        return elf_kernel_parse(kernel, mem, err);
    return not_a_kernel(file, head, head_size, kernel->size, err);
}

static int packed_load(const struct kernel *kernel, void *host, size_t size, struct err *err)
{
    struct unpack *unpack;
    size_t done;
    int ret =
        unpack_open(&unpack, kernel->packing, kernel->file, kernel->offset, kernel->size, err);

    if (ret)
        return ret;
    ret = unpack_read(unpack, host, size, &done, err);
    unpack_close(unpack);
    return ret;
}

int kernel_load(const struct kernel *kernel, struct gmem *mem, struct err *err)
{
    uint64_t size = kernel->end - kernel->base;
    void *host = gmem_ptr(mem, gpa(kernel->base), size);

    CHECK(host != NULL);
    switch (kernel->form) {
    case KERNEL_ELF:
        return elf_load(&kernel->elf, mem, err);
    case KERNEL_IMAGE_PACKED:
        return packed_load(kernel, host, size, err);
    case KERNEL_IMAGE:
        break;
    }
    /* A signature may follow. */
    return boot_file_read(kernel->file, 0, host, u64_min(kernel->size, size), err);
}
