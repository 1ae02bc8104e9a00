/*
 * A kernel file, understood: what it is and where it goes. kernel_parse writes nothing; kernel_load
 * cannot fail for another reason than the file. Any thread; blocks.
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "boot/aarch64/unpack.h"
#include "boot/elf.h"
#include "boot/file.h"
#include "mem/gmem.h"

enum kernel_form { KERNEL_IMAGE, KERNEL_IMAGE_PACKED, KERNEL_ELF };

struct kernel {
    const struct boot_file *file;
    enum kernel_form form;
    enum unpack_format packing; /* of a packed image */
    uint64_t offset, size;      /* of the image in the file, as it is there */
    uint64_t entry;
    uint64_t base, end; /* memory that the kernel uses before it reads the device tree */
    struct elf elf;
};

/* See boot_load for the errors. *kernel refers to *file from then on. */
must_check int kernel_parse(struct kernel *kernel, const struct boot_file *file,
                            const struct gmem *mem, struct err *err);
must_check int kernel_load(const struct kernel *kernel, struct gmem *mem, struct err *err);
