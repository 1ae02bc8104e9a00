/* Reads what gzip compressed, from a part of a file. Any thread; blocks. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <zlib.h>

#include "base/compiler.h"
#include "base/err.h"
#include "boot/file.h"

enum { UNPACK_BUFFER_SIZE = 0x10000 };

/* The fields are private. */
struct unpack {
    const struct boot_file *file;
    uint64_t offset, end; /* what is left of the compressed bytes */
    z_stream stream;
    bool at_end;
    uint8_t buffer[UNPACK_BUFFER_SIZE];
};

/* Bytes [offset, offset + size) of the file; unpack_close when done. -ENOMEM. */
must_check int unpack_open(struct unpack *unpack, const struct boot_file *file, uint64_t offset,
                           uint64_t size, struct err *err);
void unpack_close(struct unpack *unpack);
/* The next `len` bytes, or, in *done, fewer at the end. -ENODATA when the file ends too early,
 * -ENOEXEC when it is damaged, or what read(2) said. */
must_check int unpack_read(struct unpack *unpack, void *buffer, size_t len, size_t *done,
                           struct err *err);
