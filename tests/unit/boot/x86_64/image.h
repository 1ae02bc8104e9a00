/* Small kernels for the tests: correct ones, to be damaged by each test as it likes. */
#pragma once
#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    IMAGE_BASE = 0x1000000, /* where the kernels go */
    IMAGE_SETUP_SIZE = 5 * 512,
    IMAGE_CODE_SIZE = 4096,
    IMAGE_INIT_SIZE = 0x300000,
    IMAGE_CMDLINE_MAX = 2047,
    IMAGE_PVH_ENTRY = IMAGE_BASE + 0x340,
    IMAGE_ENTRY = IMAGE_BASE + 0x100,
};

struct image {
    union {
        uint8_t bytes[16384];
        struct {
            uint8_t before[0x1f1];
            struct setup_header header;
        } linux_image;
        struct {
            Elf64_Ehdr header;
            Elf64_Phdr phdrs[3]; /* two to load, notes */
            struct {
                Elf64_Nhdr header;
                char name[4];
                uint64_t desc;
            } notes[2]; /* something else, the PVH entry */
        } elf;
    };
    size_t size;
};
_Static_assert(offsetof(struct image, linux_image.header) == 0x1f1, "boot protocol");

static inline void image_fill(struct image *image)
{
    *image = (struct image){.size = 0};
    for (size_t i = 0; i < sizeof(image->bytes); i++)
        image->bytes[i] = (uint8_t)(i * 7 + i / 256);
}

static inline void image_bzimage(struct image *image)
{
    image_fill(image);
    memset(image->bytes, 0, IMAGE_SETUP_SIZE);
    image->linux_image.header = (struct setup_header){
        .setup_sects = IMAGE_SETUP_SIZE / 512 - 1,
        .syssize = IMAGE_CODE_SIZE / 16,
        .boot_flag = 0xaa55,
        .jump = 0x6aeb, /* over the header, which ends with kernel_info_offset */
        .header = 0x53726448,
        .version = 0x020f,
        .loadflags = LOADED_HIGH,
        .initrd_addr_max = 0x7fffffff,
        .kernel_alignment = 0x200000,
        .relocatable_kernel = 1,
        .xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
        .cmdline_size = IMAGE_CMDLINE_MAX,
        .pref_address = IMAGE_BASE,
        .init_size = IMAGE_INIT_SIZE,
    };
    image->size = IMAGE_SETUP_SIZE + IMAGE_CODE_SIZE;
}

/* Code of a page, then data of a page of which half is zero. */
static inline void image_elf(struct image *image)
{
    image_fill(image);
    memset(image->bytes, 0, 4096);
    image->elf.header = (Elf64_Ehdr){
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = IMAGE_ENTRY,
        .e_phoff = offsetof(struct image, elf.phdrs),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
    };
    image->elf.phdrs[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                                       .p_offset = 4096,
                                       .p_vaddr = 0xffffffff81000000,
                                       .p_paddr = IMAGE_BASE,
                                       .p_filesz = 4096,
                                       .p_memsz = 4096};
    image->elf.phdrs[1] = (Elf64_Phdr){.p_type = PT_LOAD,
                                       .p_offset = 8192,
                                       .p_vaddr = 0xffffffff81010000,
                                       .p_paddr = IMAGE_BASE + 0x10000,
                                       .p_filesz = 2048,
                                       .p_memsz = 4096};
    image->size = 8192 + 2048;
}

static inline void image_pvh(struct image *image)
{
    image_elf(image);
    image->elf.header.e_phnum = 3;
    image->elf.phdrs[2] = (Elf64_Phdr){.p_type = PT_NOTE,
                                       .p_offset = offsetof(struct image, elf.notes),
                                       .p_filesz = sizeof(image->elf.notes),
                                       .p_align = 4};
    image->elf.notes[0].header = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 8, .n_type = 18};
    memcpy(image->elf.notes[0].name, "GNU", 4);
    image->elf.notes[0].desc = 1;
    image->elf.notes[1].header = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 8, .n_type = 18};
    memcpy(image->elf.notes[1].name, "Xen", 4);
    image->elf.notes[1].desc = IMAGE_PVH_ENTRY;
}
