/*
 * Reads what gzip, zstd or lz4 (its legacy frame, as kernels have it) compressed, from a part of a
 * file. Any thread; blocks.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "boot/file.h"

struct unpack;

enum unpack_format { UNPACK_GZIP, UNPACK_ZSTD, UNPACK_LZ4 };

/* Bytes [offset, offset + size) of the file, which outlives *out; unpack_close when done. -ENOMEM.
 */
must_check int unpack_open(struct unpack **out, enum unpack_format format,
                           const struct boot_file *file, uint64_t offset, uint64_t size,
                           struct err *err);
void unpack_close(struct unpack *unpack);
/* The next `len` bytes, or, in *done, fewer at the end. -ENODATA when the file ends too early,
 * -ENOEXEC when it is damaged, or what read(2) said. */
must_check int unpack_read(struct unpack *unpack, void *buffer, size_t len, size_t *done,
                           struct err *err);
