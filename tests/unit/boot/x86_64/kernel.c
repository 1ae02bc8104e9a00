#include "boot/x86_64/kernel.h"

#include <errno.h>
#include <stdio.h>

#include "fixture.h"

#define MIB (1ULL << 20)

/* Parses the image for a guest of 64 MiB; the line of the error ends up in *err. */
static int parse(const struct image *image, struct kernel *kernel, struct err *err)
{
    struct gmem *mem = ram_make(64 * MIB);
    struct boot_file file = image_file(image);
    int ret = kernel_parse(kernel, &file, mem, err);

    cr_assert_eq(ram_touched(mem), 0);
    boot_file_close(&file);
    gmem_destroy(mem);
    return ret;
}

static void expect(const struct image *image, int code, const char *text)
{
    struct kernel kernel;
    struct err err = {""};
    int ret = parse(image, &kernel, &err);

    cr_assert_eq(ret, code, "%d: %s", ret, err.text);
    cr_assert_not_null(strstr(err.text, text), "%s", err.text);
    cr_assert_eq(strncmp(err.text, "kernel /boot/file: ", 19), 0, "%s", err.text);
}

static void accept(const struct image *image, struct kernel *kernel)
{
    struct err err = {""};

    cr_assert_eq(parse(image, kernel, &err), 0, "%s", err.text);
}

static void bytes_expect(const void *bytes, size_t size, const char *text)
{
    struct image image;

    image_fill(&image);
    memset(image.bytes, 0, sizeof(image.bytes));
    memcpy(image.bytes, bytes, size);
    image.size = sizeof(image.bytes);
    expect(&image, -ENOEXEC, text);
}

Test(kernel, what_is_not_a_kernel_is_told_apart)
{
    uint8_t arm64[64] = "MZ";

    memcpy(arm64 + 0x38, (const uint8_t[]){'A', 'R', 'M', 'd'}, 4);
    bytes_expect(arm64, sizeof(arm64), "is a kernel for aarch64");
    bytes_expect("\x1f\x8b\x08", 3, "is a gzip file; unpack it");
    bytes_expect("\xfd"
                 "7zXZ",
                 5, "is an xz file; unpack it");
    bytes_expect("\x28\xb5\x2f\xfd", 4, "is a zstd file; unpack it");
    bytes_expect("070701", 6, "give it with --initrd");
    bytes_expect("#!/bin/sh", 9, "is neither a bzImage nor an ELF file");
}

Test(kernel, one_byte_is_no_kernel)
{
    struct image image;

    image_fill(&image);
    image.size = 1;
    expect(&image, -ENOEXEC, "is neither a bzImage nor an ELF file");
    image.size = 0;
    expect(&image, -ENODATA, "is empty");
}

Test(kernel, bzimage_for_another_entry_is_refused)
{
    struct image image;

    image_bzimage(&image);
    image.linux_image.header.xloadflags = 0;
    expect(&image, -ENOEXEC, "is a 32-bit kernel");
    image.linux_image.header.version = 0x020b;
    expect(&image, -ENOEXEC, "speaks boot protocol 2.11");
}

Test(kernel, bzimage_header_must_hold_what_its_version_promises)
{
    struct image image;

    image_bzimage(&image);
    image.linux_image.header.jump = 0x10eb;
    expect(&image, -ENOEXEC, "header too short");
}

Test(kernel, bzimage_of_an_older_protocol_has_no_garbage_behind_its_header)
{
    struct kernel kernel;
    struct image image;

    image_bzimage(&image);
    image.linux_image.header.version = 0x020c;
    image.linux_image.header.jump = 0x62eb; /* up to and with init_size */
    image.linux_image.header.handover_offset = 0x12345678;
    accept(&image, &kernel);
    cr_assert_eq(kernel.header.init_size, IMAGE_INIT_SIZE);
    cr_assert_eq(kernel.header.handover_offset, 0);
}

Test(kernel, bzimage_without_sector_count_has_four)
{
    struct kernel kernel;
    struct image image;

    image_bzimage(&image);
    image.linux_image.header.setup_sects = 0;
    accept(&image, &kernel);
    cr_assert_eq(kernel.image_offset, 5 * 512);
}

Test(kernel, bzimage_goes_where_the_protocol_says)
{
    struct kernel kernel;
    struct image image;

    image_bzimage(&image);
    accept(&image, &kernel);
    cr_assert_eq(kernel.base, IMAGE_BASE);
    cr_assert_eq(kernel.end, IMAGE_BASE + IMAGE_INIT_SIZE);

    image.linux_image.header.pref_address = 0;
    accept(&image, &kernel);
    cr_assert_eq(kernel.base, 2 * MIB, "aligned, above 1 MiB");
    image.linux_image.header.relocatable_kernel = 0;
    expect(&image, -ENOEXEC, "load address");
    image.linux_image.header.pref_address = MIB;
    accept(&image, &kernel);
    cr_assert_eq(kernel.base, MIB);
}

Test(kernel, bzimage_that_does_not_fit_says_how_much_it_needs)
{
    struct kernel kernel;
    struct image image;

    image_bzimage(&image);
    image.linux_image.header.init_size = 48 * MIB;
    accept(&image, &kernel);
    image.linux_image.header.init_size = 48 * MIB + 1;
    expect(&image, -ENOMEM, "needs 65 MiB of memory to start, the guest has 64");
}

Test(kernel, bzimage_with_absurd_addresses_is_refused)
{
    const uint64_t addresses[] = {UINT64_MAX, UINT64_MAX - 0x200000, 1ULL << 63,
                                  1ULL << 32, LAYOUT_GAP_BASE,       64 * MIB};
    struct kernel kernel;
    struct image image;

    for (size_t i = 0; i < array_count(addresses); i++) {
        struct err err = {""};

        image_bzimage(&image);
        image.linux_image.header.pref_address = addresses[i];
        cr_assert_lt(parse(&image, &kernel, &err), 0);
        image.linux_image.header.relocatable_kernel = 0;
        cr_assert_lt(parse(&image, &kernel, &err), 0);
    }
    image_bzimage(&image);
    image.linux_image.header.kernel_alignment = 3;
    expect(&image, -ENOEXEC, "alignment");
    image.linux_image.header.kernel_alignment = 0;
    expect(&image, -ENOEXEC, "alignment");
    image_bzimage(&image);
    image.linux_image.header.syssize = UINT32_MAX;
    expect(&image, -ENODATA, "is truncated: 6656 of 68719479280 bytes");
    image.linux_image.header.syssize = 0;
    expect(&image, -ENOEXEC, "too small");
}

Test(kernel, elf_file_for_something_else_is_refused)
{
    struct image image;

    image_elf(&image);
    image.elf.header.e_machine = EM_AARCH64;
    expect(&image, -ENOEXEC, "is for aarch64; give a kernel for x86_64");
    image_elf(&image);
    image.elf.header.e_ident[EI_CLASS] = ELFCLASS32;
    expect(&image, -ENOEXEC, "is a 32-bit ELF file");
    image_elf(&image);
    image.elf.header.e_type = ET_DYN;
    expect(&image, -ENOEXEC, "is an ELF object, library or program");
    image_elf(&image);
    image.elf.header.e_ident[EI_DATA] = ELFDATA2MSB;
    expect(&image, -ENOEXEC, "not little-endian");
}

Test(kernel, elf_header_with_absurd_tables_is_refused)
{
    struct image image;

    image_elf(&image);
    image.elf.header.e_phnum = 0;
    expect(&image, -ENOEXEC, "number of program headers");
    image.elf.header.e_phnum = UINT16_MAX;
    expect(&image, -ENOEXEC, "number of program headers");
    image_elf(&image);
    image.elf.header.e_phentsize = 8;
    expect(&image, -ENOEXEC, "size of a program header");
    image_elf(&image);
    image.elf.header.e_phoff = UINT64_MAX - 8;
    expect(&image, -ENOEXEC, "offset of the program headers");
    image.elf.header.e_phoff = image.size - 8;
    expect(&image, -ENODATA, "is truncated");
    image_elf(&image);
    image.elf.header.e_phnum = 0 + 2;
    image.elf.phdrs[0].p_type = image.elf.phdrs[1].p_type = PT_NULL;
    expect(&image, -ENOEXEC, "entry point outside");
}

Test(kernel, elf_segment_outside_of_file_or_memory_is_refused)
{
    struct image image;

    image_elf(&image);
    image.elf.phdrs[0].p_offset = UINT64_MAX - 100;
    expect(&image, -ENOEXEC, "offset of a segment");
    image.elf.phdrs[0].p_offset = image.size;
    expect(&image, -ENODATA, "is truncated: 10240 of 14336 bytes");
    image_elf(&image);
    image.elf.phdrs[0].p_filesz = 4097;
    expect(&image, -ENOEXEC, "size of a segment");
    image_elf(&image);
    image.elf.phdrs[0].p_paddr = UINT64_MAX - 100;
    expect(&image, -ENOEXEC, "size of a segment");
    image.elf.phdrs[0].p_paddr = MIB - 1;
    expect(&image, -ENOMEM, "memory for it is from 0x100000 to 0x4000000; link it higher");
    image.elf.phdrs[0].p_paddr = 64 * MIB - 4095;
    expect(&image, -ENOMEM, "has a segment from 0x3fff001 to 0x4000001");
    image.elf.phdrs[0].p_paddr = LAYOUT_GAP_END;
    expect(&image, -ENOMEM, "raise --mem");
}

Test(kernel, elf_segments_that_overlap_are_refused)
{
    struct kernel kernel;
    struct image image;

    image_elf(&image);
    image.elf.phdrs[1].p_paddr = IMAGE_BASE + 4095;
    expect(&image, -ENOEXEC, "segments overlap");
    image.elf.phdrs[1].p_paddr = IMAGE_BASE - 4095;
    expect(&image, -ENOEXEC, "segments overlap");
    image.elf.phdrs[1].p_paddr = IMAGE_BASE + 4096;
    accept(&image, &kernel);
    cr_assert_eq(kernel.end, IMAGE_BASE + 8192);
}

Test(kernel, elf_entry_must_be_in_a_segment)
{
    struct image image;

    image_elf(&image);
    image.elf.header.e_entry = IMAGE_BASE + 4096;
    expect(&image, -ENOEXEC, "entry point outside of its segments");
    image.elf.header.e_entry = 0xffffffff81000000;
    expect(&image, -ENOEXEC, "entry point outside of its segments");
}

Test(kernel, pvh_entry_may_have_4_or_8_bytes)
{
    struct kernel kernel;
    struct image image;

    image_pvh(&image);
    accept(&image, &kernel);
    cr_assert_eq(kernel.protocol, KERNEL_PVH);
    cr_assert_eq(kernel.entry, IMAGE_PVH_ENTRY);
    image.elf.notes[1].desc = 0xffffffff00000000 | IMAGE_PVH_ENTRY;
    expect(&image, -ENOEXEC, "PVH entry 0xffffffff01000340 is outside");
    image.elf.notes[1].header.n_descsz = 4;
    accept(&image, &kernel);
    cr_assert_eq(kernel.entry, IMAGE_PVH_ENTRY);
    image.elf.notes[1].header.n_descsz = 5;
    expect(&image, -ENOEXEC, "size of a note");
}

Test(kernel, note_of_another_owner_or_type_is_not_the_pvh_entry)
{
    struct kernel kernel;
    struct image image;

    image_pvh(&image);
    image.elf.notes[1].name[0] = 'Y';
    accept(&image, &kernel);
    cr_assert_eq(kernel.protocol, KERNEL_LINUX64);
    image_pvh(&image);
    image.elf.notes[1].header.n_type = 17;
    accept(&image, &kernel);
    cr_assert_eq(kernel.protocol, KERNEL_LINUX64);
}

Test(kernel, notes_that_leave_their_segment_are_refused)
{
    struct image image;

    image_pvh(&image);
    image.elf.notes[0].header.n_descsz = UINT32_MAX;
    expect(&image, -ENOEXEC, "notes");
    image_pvh(&image);
    image.elf.notes[0].header.n_namesz = UINT32_MAX;
    expect(&image, -ENOEXEC, "notes");
    image_pvh(&image);
    image.elf.phdrs[2].p_filesz = 20;
    expect(&image, -ENOEXEC, "notes");
}

/* 12 bytes a note: a long run must not cost more than a bounded number of reads. */
Test(kernel, endless_notes_are_refused)
{
    struct image image;

    image_pvh(&image);
    image.size = sizeof(image.bytes);
    memset(image.bytes + 12288, 0, 4096);
    image.elf.phdrs[2].p_offset = 12288;
    image.elf.phdrs[2].p_filesz = 4096;
    expect(&image, -ENOEXEC, "number of notes");
}
