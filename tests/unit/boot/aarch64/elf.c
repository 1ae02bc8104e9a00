/* ELF kernels: linked at the addresses where they run, or as Linux is. */
#include "boot/elf.h"

#include <elf.h>
#include <errno.h>

#include "boot/aarch64/kernel.h"
#include "fixture.h"

#define VIRTUAL_BASE 0xffff800080000000ULL

struct elf_file {
    Elf64_Ehdr header;
    Elf64_Phdr phdrs[2];
    uint8_t bytes[64];
};

static struct elf_file elf_make(uint64_t base, uint16_t type)
{
    const Elf64_Phdr phdr = {.p_type = PT_LOAD,
                             .p_offset = offsetof(struct elf_file, bytes),
                             .p_vaddr = base,
                             .p_paddr = base,
                             .p_filesz = 32,
                             .p_memsz = 0x10000};
    struct elf_file file = {
        .header = {.e_type = type,
                   .e_machine = EM_AARCH64,
                   .e_version = EV_CURRENT,
                   .e_entry = base,
                   .e_phoff = offsetof(struct elf_file, phdrs),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 2},
        .phdrs = {phdr, phdr},
    };

    memcpy(file.header.e_ident, ELFMAG, SELFMAG);
    file.header.e_ident[EI_CLASS] = ELFCLASS64;
    file.header.e_ident[EI_DATA] = ELFDATA2LSB;
    file.header.e_ident[EI_VERSION] = EV_CURRENT;
    file.phdrs[1].p_offset += 32;
    file.phdrs[1].p_paddr += 0x20000;
    for (size_t i = 0; i < sizeof(file.bytes); i++)
        file.bytes[i] = (uint8_t)(i + 1);
    return file;
}

static void expect_loaded(const struct elf_file *bytes, uint64_t base)
{
    struct boot_file file = file_make("kernel", bytes, sizeof(*bytes));
    struct gmem *mem = ram_make(64 * MIB);
    struct kernel kernel;
    struct err err;
    uint8_t *host;

    cr_assert_eq(kernel_parse(&kernel, &file, mem, &err), 0, "%s", err.text);
    cr_assert_eq(kernel.form, KERNEL_ELF);
    cr_assert_eq(kernel.entry, base);
    cr_assert_eq(kernel.base, base);
    cr_assert_eq(kernel.end, base + 0x30000);
    host = gmem_ptr(mem, gpa(base), 0x30000);
    memset(host, 0xff, 0x30000);
    cr_assert_eq(kernel_load(&kernel, mem, &err), 0, "%s", err.text);
    cr_assert(!memcmp(host, bytes->bytes, 32) && !host[32] && !host[0xffff]);
    cr_assert(host[0x10000] == 0xff && host[0x1ffff] == 0xff, "between the segments");
    cr_assert(!memcmp(host + 0x20000, bytes->bytes + 32, 32) && !host[0x20020]);
    boot_file_close(&file);
    gmem_destroy(mem);
}

static void expect_refused(const struct elf_file *bytes, int code, const char *line)
{
    struct boot_file file = file_make("kernel", bytes, sizeof(*bytes));
    struct gmem *mem = ram_make(64 * MIB);
    struct kernel kernel;
    struct err err = {""};
    int ret = kernel_parse(&kernel, &file, mem, &err);

    cr_assert_eq(ret, code, "%d: %s", ret, err.text);
    cr_assert(strstr(err.text, line), "%s", err.text);
    boot_file_close(&file);
    gmem_destroy(mem);
}

Test(elf_aarch64, segments_go_where_they_are_linked)
{
    const struct elf_file file = elf_make(LAYOUT_RAM_BASE + 2 * MIB, ET_EXEC);

    expect_loaded(&file, LAYOUT_RAM_BASE + 2 * MIB);
}

Test(elf_aarch64, linux_at_virtual_addresses_goes_to_the_start_of_memory)
{
    const struct elf_file file = elf_make(VIRTUAL_BASE, ET_EXEC),
                          relocatable = elf_make(VIRTUAL_BASE, ET_DYN);

    expect_loaded(&file, LAYOUT_RAM_BASE);
    expect_loaded(&relocatable, LAYOUT_RAM_BASE);
}

/* As vmlinux: an Image's header at the entry. */
static struct elf_file vmlinux_make(uint64_t text_offset, uint64_t image_size)
{
    struct elf_file file = elf_make(VIRTUAL_BASE + text_offset, ET_EXEC);
    struct image image;

    image_fill(&image);
    image.header.text_offset = text_offset;
    image.header.image_size = image_size;
    file.phdrs[0].p_filesz = sizeof(image.header);
    memcpy(file.bytes, &image, sizeof(image.header));
    return file;
}

static void expect_placed(const struct elf_file *bytes, uint64_t base, uint64_t end)
{
    struct boot_file file = file_make("kernel", bytes, sizeof(*bytes));
    struct gmem *mem = ram_make(64 * MIB);
    struct kernel kernel;
    struct err err;

    cr_assert_eq(kernel_parse(&kernel, &file, mem, &err), 0, "%s", err.text);
    cr_assert_eq(kernel.form, KERNEL_ELF);
    cr_assert_eq(kernel.entry, base, "0x%llx", (unsigned long long)kernel.entry);
    cr_assert_eq(kernel.base, base);
    cr_assert_eq(kernel.end, end, "0x%llx", (unsigned long long)kernel.end);
    cr_assert_eq(kernel_load(&kernel, mem, &err), 0, "%s", err.text);
    cr_assert(!memcmp(gmem_ptr(mem, gpa(base), 64), bytes->bytes, 64));
    boot_file_close(&file);
    gmem_destroy(mem);
}

Test(elf_aarch64, memory_that_linux_uses_ends_where_its_image_header_says)
{
    struct elf_file file = vmlinux_make(0, 5 * MIB);

    expect_placed(&file, LAYOUT_RAM_BASE, LAYOUT_RAM_BASE + 5 * MIB);
    /* Nor before its segments do. */
    file = vmlinux_make(0, 0x1000);
    expect_placed(&file, LAYOUT_RAM_BASE, LAYOUT_RAM_BASE + 0x30000);
}

Test(elf_aarch64, linux_goes_to_the_offset_that_its_image_header_asks_for)
{
    struct elf_file file = vmlinux_make(0x80000, MIB);

    expect_placed(&file, LAYOUT_RAM_BASE + 0x80000, LAYOUT_RAM_BASE + 0x80000 + MIB);
    /* Before 3.17 without the size. */
    file = vmlinux_make(0x80000, 0);
    expect_placed(&file, LAYOUT_RAM_BASE + 0x80000, LAYOUT_RAM_BASE + 0x80000 + 16 * MIB);
}

Test(elf_aarch64, image_header_with_which_linux_does_not_fit_names_the_option)
{
    struct elf_file file = vmlinux_make(0, 65 * MIB);

    expect_refused(&file, -ENOMEM, "raise --mem");
    file = vmlinux_make(64 * MIB - 0x20000, 0x1000);
    expect_refused(&file, -ENOMEM, "raise --mem");
    file = vmlinux_make(0, UINT64_MAX);
    expect_refused(&file, -ENOMEM, "raise --mem");
}

Test(elf_aarch64, image_header_at_a_physical_address_moves_nothing)
{
    struct elf_file file = vmlinux_make(0x80000, 5 * MIB);

    for (int i = 0; i < 2; i++)
        file.phdrs[i].p_paddr += LAYOUT_RAM_BASE - VIRTUAL_BASE;
    file.header.e_entry += LAYOUT_RAM_BASE - VIRTUAL_BASE;
    expect_placed(&file, LAYOUT_RAM_BASE + 0x80000, LAYOUT_RAM_BASE + 0xb0000);
}

Test(elf_aarch64, what_is_no_kernel_or_does_not_fit_is_refused)
{
    struct elf_file file = elf_make(LAYOUT_RAM_BASE, ET_DYN);

    expect_refused(&file, -ENOEXEC, "library or program");
    file = elf_make(0, ET_EXEC);
    expect_refused(&file, -ENOMEM, "link it higher");
    file = elf_make(VIRTUAL_BASE, ET_EXEC);
    file.phdrs[1].p_paddr = VIRTUAL_BASE - 0x20000;
    expect_refused(&file, -ENOMEM, "link it higher");
    file.phdrs[1].p_paddr = VIRTUAL_BASE + 64 * MIB;
    expect_refused(&file, -ENOMEM, "raise --mem");
    file.phdrs[1].p_paddr = 0;
    expect_refused(&file, -ENOMEM, "raise --mem");
    file = elf_make(VIRTUAL_BASE, ET_EXEC);
    file.header.e_entry += 0x10000;
    expect_refused(&file, -ENOMEM, "link it higher");
    file = elf_make(LAYOUT_RAM_BASE, ET_EXEC);
    file.header.e_machine = EM_X86_64;
    expect_refused(&file, -ENOEXEC, "is for x86_64");
}
