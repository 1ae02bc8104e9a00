/* What the tests of the loader share: kernels as files, guest memory. */
#pragma once
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/file.h"
#include "image.h"
#include "mem/gmem.h"
#include "mem/layout.h"

/* A file with these bytes, to be closed with boot_file_close. */
static inline struct boot_file file_make(const char *kind, const void *bytes, size_t size)
{
    int fd = memfd_create("boot", MFD_CLOEXEC);

    cr_assert(fd >= 0);
    cr_assert_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
    return (struct boot_file){.fd = fd, .kind = kind, .path = "/boot/file"};
}

static inline struct boot_file image_file(const struct image *image)
{
    return file_make("kernel", image->bytes, image->size);
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

/* Pages of guest memory that were ever written (or read). */
static inline size_t ram_touched(const struct gmem *mem)
{
    size_t touched = 0;

    for (size_t i = 0; i < gmem_region_count(mem); i++) {
        const struct gmem_region *region = gmem_region(mem, i);
        static unsigned char resident[4096];
        const uint64_t step = sizeof(resident) * 4096;

        for (uint64_t pos = 0; pos < region->range.size; pos += step) {
            uint64_t len = region->range.size - pos < step ? region->range.size - pos : step;

            cr_assert_eq(mincore(region->host + pos, len, resident), 0);
            for (size_t j = 0; j < len / 4096; j++)
                touched += resident[j] & 1;
        }
    }
    return touched;
}
