/*
 * libFuzzer target for kernel files. The first byte of the input chooses a correct kernel of each
 * kind, or none; the rest is XORed onto it. So even the first inputs get past the magic numbers.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../tests/unit/boot/x86_64/image.h"
#include "base/check.h"
#include "boot/x86_64/boot.h"
#include "mem/layout.h"

#define RAM_SIZE (20ULL << 20)

static struct gmem *ram_make(void)
{
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    struct gmem *mem;
    size_t count;

    CHECK(layout_ram_ranges(RAM_SIZE, ranges, &count, NULL) == 0);
    CHECK(gmem_create(&mem, ranges, count, NULL) == 0);
    return mem;
}

static void image_make(struct image *image, uint8_t kind)
{
    static void (*const make[])(struct image *) = {image_bzimage, image_elf, image_pvh};

    if (kind % 4 < 3) {
        make[kind % 4](image);
        return;
    }
    memset(image, 0, sizeof(*image));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct boot_config config = {.kernel = {.kind = "kernel", .path = "fuzz"},
                                 .initrd = {.fd = -1},
                                 .cmdline = "quiet",
                                 .acpi = {.vcpu_count = 1, .com_mask = 1}};
    struct boot_regs regs;
    struct err err = {""};
    struct image image;
    struct gmem *mem;
    int ret;

    if (!size || size - 1 > sizeof(image.bytes))
        return -1;
    image_make(&image, data[0]);
    for (size_t i = 1; i < size; i++)
        image.bytes[i - 1] ^= data[i];
    if (image.size < size - 1)
        image.size = size - 1;

    config.kernel.fd = memfd_create("fuzz", MFD_CLOEXEC);
    CHECK(config.kernel.fd >= 0);
    CHECK(write(config.kernel.fd, image.bytes, image.size) == (ssize_t)image.size);
    mem = ram_make();
    ret = boot_load(mem, &config, &regs, &err);
    CHECK(ret <= 0);
    if (ret)
        CHECK(err.text[0] && !strchr(err.text, '\n'));
    else
        CHECK(gmem_ptr(mem, gpa(regs.rip), 1) != NULL);
    gmem_destroy(mem);
    boot_file_close(&config.kernel);
    return 0;
}
