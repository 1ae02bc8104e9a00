#include "boot/aarch64/kernel.h"

#include <errno.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "fixture.h"

static uint8_t packed[2 * IMAGE_FILE_SIZE];

/* The gzip form of the bytes at `packed` + offset; its size. */
static size_t pack(const void *bytes, size_t size, size_t offset)
{
    z_stream stream = {
        .next_in = (Bytef *)(uintptr_t)bytes,
        .avail_in = (uInt)size,
        .next_out = packed + offset,
        .avail_out = (uInt)(sizeof(packed) - offset),
    };

    cr_assert_eq(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    cr_assert_eq(deflateEnd(&stream), Z_OK);
    return stream.total_out;
}

/* Parses and loads the file; what is in memory must be the image. */
static void expect_image(const void *bytes, size_t size, const struct image *image)
{
    struct gmem *mem = ram_make(64 * MIB);
    struct boot_file file = file_make("kernel", bytes, size);
    struct kernel kernel;
    struct err err = {""};
    const void *loaded;

    cr_assert_eq(kernel_parse(&kernel, &file, mem, &err), 0, "%s", err.text);
    cr_assert_eq(kernel.base, LAYOUT_RAM_BASE + IMAGE_TEXT_OFFSET);
    cr_assert_eq(kernel.entry, kernel.base);
    cr_assert_eq(kernel.end, kernel.base + IMAGE_SIZE);
    cr_assert_eq(kernel_load(&kernel, mem, &err), 0, "%s", err.text);
    loaded = gmem_ptr(mem, gpa(kernel.base), sizeof(*image));
    cr_assert(loaded && !memcmp(loaded, image, sizeof(*image)));
    boot_file_close(&file);
    gmem_destroy(mem);
}

static void expect(const void *bytes, size_t size, int code, const char *text)
{
    struct gmem *mem = ram_make(64 * MIB);
    struct boot_file file = file_make("kernel", bytes, size);
    struct kernel kernel;
    struct err err = {""};
    int ret = kernel_parse(&kernel, &file, mem, &err);

    if (!ret)
        ret = kernel_load(&kernel, mem, &err);
    cr_assert_eq(ret, code, "%d: %s", ret, err.text);
    cr_assert_not_null(strstr(err.text, text), "%s", err.text);
    cr_assert_eq(strncmp(err.text, "kernel /boot/file: ", 19), 0, "%s", err.text);
    boot_file_close(&file);
    gmem_destroy(mem);
}

Test(kernel, image_goes_to_its_offset)
{
    struct image image;

    image_fill(&image);
    expect_image(&image, sizeof(image), &image);
}

Test(kernel, what_follows_an_image_is_not_loaded)
{
    static uint8_t bytes[IMAGE_SIZE + 4096];
    struct image image;
    struct gmem *mem = ram_make(64 * MIB);
    struct kernel kernel;
    struct boot_file file;
    struct err err;
    const uint8_t *behind;

    image_fill(&image);
    memset(bytes, 0xee, sizeof(bytes));
    memcpy(bytes, &image, sizeof(image));
    file = file_make("kernel", bytes, sizeof(bytes));
    cr_assert_eq(kernel_parse(&kernel, &file, mem, &err), 0);
    cr_assert_eq(kernel_load(&kernel, mem, &err), 0);
    behind = gmem_ptr(mem, gpa(kernel.end), 1);
    cr_assert_eq(behind[-1], 0xee);
    cr_assert_eq(behind[0], 0);
    boot_file_close(&file);
    gmem_destroy(mem);
}

Test(kernel, gzip_is_unpacked)
{
    struct image image;
    size_t size;

    image_fill(&image);
    size = pack(&image, sizeof(image), 0);
    expect_image(packed, size, &image);
}

Test(kernel, zstd_is_unpacked)
{
    struct image image;
    size_t size;

    image_fill(&image);
    size = ZSTD_compress(packed, sizeof(packed), &image, sizeof(image), 22);
    cr_assert(!ZSTD_isError(size));
    expect_image(packed, size, &image);
    expect(packed, size / 2, -ENODATA, "cut short");
    memset(packed + size / 2, 0xff, size / 4);
    expect(packed, size, -ENOEXEC, "damaged");
}

/* lz4's legacy frame, of one block. */
static size_t lz4_pack(const void *bytes, int size)
{
    const uint32_t magic = 0x184c2102;
    int packed_size = LZ4_compress_default(bytes, (char *)packed + 8, size, sizeof(packed) - 8);

    cr_assert_gt(packed_size, 0);
    memcpy(packed, &magic, sizeof(magic));
    memcpy(packed + 4, &packed_size, sizeof(packed_size));
    return 8 + (size_t)packed_size;
}

Test(kernel, lz4_is_unpacked)
{
    struct image image;
    size_t size;

    image_fill(&image);
    size = lz4_pack(&image, sizeof(image));
    expect_image(packed, size, &image);
    /* What the kernel's build appends: the size. */
    memset(packed + size, 1, 4);
    expect_image(packed, size + 4, &image);
    expect(packed, size / 2, -ENODATA, "cut short");
    memset(packed + 4, 0xff, 2);
    expect(packed, size, -ENODATA, "cut short");
    memset(packed + 4, 0xff, 4);
    expect(packed, size, -ENOEXEC, "damaged");
    size = lz4_pack("not an image, but long enough to look like something that could be one", 70);
    expect(packed, size, -ENOEXEC, "is no Image");
}

Test(kernel, lz4_of_several_blocks_is_one_image)
{
    enum { BLOCK = 5000 };
    static uint8_t blocks[sizeof(packed)];
    struct image image;
    size_t first, second;

    image_fill(&image);
    first = lz4_pack(&image, BLOCK);
    memcpy(blocks, packed, first);
    second = lz4_pack((const uint8_t *)&image + BLOCK, (int)sizeof(image) - BLOCK) - 4;
    memcpy(blocks + first, packed + 4, second);
    expect_image(blocks, first + second, &image);
}

struct zboot {
    char magic[8];
    uint32_t offset, size;
    uint64_t reserved;
    char compression[32];
};

static size_t zboot_make(const struct image *image, const char *compression)
{
    enum { PAYLOAD = 4096 };
    struct zboot header = {.magic = "MZ\0\0zimg", .offset = PAYLOAD};

    memset(packed, 0, sizeof(packed));
    header.size = (uint32_t)pack(image, sizeof(*image), PAYLOAD);
    snprintf(header.compression, sizeof(header.compression), "%s", compression);
    memcpy(packed, &header, sizeof(header));
    return PAYLOAD + header.size + 16;
}

Test(kernel, zboot_wrapper_is_opened)
{
    struct image image;
    size_t size;

    image_fill(&image);
    size = zboot_make(&image, "gzip");
    expect_image(packed, size, &image);
}

Test(kernel, zboot_of_another_compression_is_named)
{
    struct image image;

    image_fill(&image);
    expect(packed, zboot_make(&image, "xzkern"), -ENOEXEC, "compressed with xzkern");
}

Test(kernel, zboot_that_lies_about_its_payload_is_refused)
{
    struct image image;
    struct zboot header;
    size_t size;

    image_fill(&image);
    size = zboot_make(&image, "gzip");
    memcpy(&header, packed, sizeof(header));
    header.offset = UINT32_MAX;
    memcpy(packed, &header, sizeof(header));
    expect(packed, size, -ENODATA, "is truncated");
}

Test(kernel, damaged_and_short_gzip_is_told_apart)
{
    struct image image;
    size_t size;

    image_fill(&image);
    size = pack(&image, sizeof(image), 0);
    expect(packed, size / 2, -ENODATA, "cut short");
    memset(packed + size / 2, 0xff, size / 4);
    expect(packed, size, -ENOEXEC, "damaged");
    size = pack("no image", 8, 0);
    expect(packed, size, -ENOEXEC, "is no Image");
}

Test(kernel, what_is_not_a_kernel_is_told_apart)
{
    struct image image;
    uint8_t bytes[1024] = {0};

    expect(bytes, sizeof(bytes), -ENOEXEC, "neither an Image nor an ELF file");
    expect(bytes, 1, -ENOEXEC, "cut short (1 bytes)");
    memcpy(bytes + 0x202, (const char[]){'H', 'd', 'r', 'S'}, 4);
    expect(bytes, sizeof(bytes), -ENOEXEC, "is a kernel for x86_64");
    image_fill(&image);
    image.header.flags |= 1;
    expect(&image, sizeof(image), -ENOEXEC, "big-endian");
}

Test(kernel, image_that_does_not_fit_names_the_option)
{
    static const uint64_t sizes[][2] = {
        {0, 65 * MIB}, {63 * MIB, 2 * MIB}, {UINT64_MAX, 1}, {1, UINT64_MAX}, {65 * MIB, 1}};
    struct image image;

    image_fill(&image);
    for (size_t i = 0; i < array_count(sizes); i++) {
        image.header.text_offset = sizes[i][0];
        image.header.image_size = sizes[i][1];
        expect(&image, sizeof(image), -ENOMEM, "raise --mem");
    }
}

Test(kernel, old_image_without_a_size_gets_the_offset_of_its_time)
{
    struct gmem *mem = ram_make(64 * MIB);
    struct boot_file file;
    struct kernel kernel;
    struct image image;

    image_fill(&image);
    image.header.text_offset = image.header.image_size = 0;
    file = file_make("kernel", &image, sizeof(image));
    cr_assert_eq(kernel_parse(&kernel, &file, mem, NULL), 0);
    cr_assert_eq(kernel.entry, LAYOUT_RAM_BASE + 0x80000);
    boot_file_close(&file);
    gmem_destroy(mem);
}

Test(kernel, random_bytes_behind_each_magic_are_survived)
{
    enum { ROUNDS = 3000, SEED = 1969 };
    struct gmem *mem = ram_make(8 * MIB);
    struct image image;
    unsigned seed = SEED;

    for (int i = 0; i < ROUNDS; i++) {
        size_t size = zboot_make((image_fill(&image), &image), "gzip");
        struct boot_file file;
        struct kernel kernel;
        uint8_t *bytes = i % 2 ? packed : (uint8_t *)&image;

        if (!(i % 2))
            size = sizeof(image);
        for (int j = 0; j < 4; j++)
            bytes[(unsigned)rand_r(&seed) % (j % 2 ? 64 : size)] = (uint8_t)rand_r(&seed);
        file = file_make("kernel", bytes, size);
        if (!kernel_parse(&kernel, &file, mem, NULL)) {
            int ret = kernel_load(&kernel, mem, NULL);

            cr_assert_leq(ret, 0);
        }
        boot_file_close(&file);
    }
    gmem_destroy(mem);
}
