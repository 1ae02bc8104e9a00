/* What the tests of the loader share: kernels as files, guest memory. */
#pragma once
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/file.h"
#include "mem/gmem.h"
#include "mem/layout.h"

#define MIB (1ULL << 20)

/* A file with these bytes, to be closed with boot_file_close. */
static inline struct boot_file file_make(const char *kind, const void *bytes, size_t size)
{
    int fd = memfd_create("boot", MFD_CLOEXEC);

    cr_assert(fd >= 0);
    cr_assert_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
    return (struct boot_file){.fd = fd, .kind = kind, .path = "/boot/file"};
}

static inline struct gmem *ram_make(uint64_t size)
{
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    struct gmem *mem;
    size_t count;

    cr_assert_eq(layout_ram_ranges(size, ranges, &count, NULL), 0);
    cr_assert_eq(gmem_create(&mem, ranges, count, NULL), 0);
    return mem;
}

/* An arm64 Image: its header, and code whose bytes count up. */
enum { IMAGE_FILE_SIZE = 8192, IMAGE_SIZE = 0x30000, IMAGE_TEXT_OFFSET = 0x10000 };

struct image {
    struct {
        uint32_t code[2];
        uint64_t text_offset, image_size, flags, reserved[3];
        uint32_t magic, pe_offset;
    } header;
    uint8_t bytes[IMAGE_FILE_SIZE - 64];
};
_Static_assert(sizeof(struct image) == IMAGE_FILE_SIZE, "the file");

static inline void image_fill(struct image *image)
{
    memset(image, 0, sizeof(*image));
    image->header.text_offset = IMAGE_TEXT_OFFSET;
    image->header.image_size = IMAGE_SIZE;
    image->header.flags = 0xa;
    image->header.magic = 0x644d5241;
    for (size_t i = 0; i < sizeof(image->bytes); i++)
        image->bytes[i] = (uint8_t)(i * 7 + i / 256);
}
