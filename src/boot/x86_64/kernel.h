/*
 * A kernel file, understood: what it is, where it goes, what it asks of the loader. kernel_parse
 * writes nothing; kernel_load cannot fail for another reason than the file. Any thread; blocks.
 */
#pragma once
#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "boot/elf.h"
#include "boot/file.h"
#include "mem/gmem.h"

enum kernel_protocol {
    KERNEL_LINUX64, /* long mode, boot_params */
    KERNEL_PVH,     /* protected mode, hvm_start_info */
};

struct kernel {
    const struct boot_file *file;
    enum kernel_protocol protocol;
    uint64_t entry;
    /* Memory that the kernel uses before it looks at the memory map; all of it is low RAM. */
    uint64_t base, end;
    uint64_t cmdline_len_max;   /* without the terminating zero */
    uint64_t initrd_end_max;    /* the initrd ends there or below ... */
    bool initrd_anywhere;       /* ... or lies above 4 GiB */
    struct setup_header header; /* Linux: for boot_params */
    uint64_t image_offset;      /* bzImage: the part of the file that is loaded at `base` */
    uint64_t image_size;        /* bzImage; 0: ELF */
    struct elf elf;
};

/* See boot_load for the errors. *kernel refers to *file from then on. */
must_check int kernel_parse(struct kernel *kernel, const struct boot_file *file,
                            const struct gmem *mem, struct err *err);
must_check int kernel_load(const struct kernel *kernel, struct gmem *mem, struct err *err);

/* bzimage.c: is it one, by the first bytes of the file? And all the above for this kind. */
bool bzimage_detect(const uint8_t *head, size_t head_size);
must_check int bzimage_parse(struct kernel *kernel, const uint8_t *head, size_t head_size,
                             uint64_t file_size, const struct gmem *mem, struct err *err);
