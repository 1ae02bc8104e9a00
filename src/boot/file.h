/*
 * Files that go into guest memory: kernel and initrd. They are read with pread(2), straight to
 * where they belong, each time a guest starts: a file may have changed, shrunk or gone bad since
 * the last time, and every read says so. Any thread; blocks.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mem/gmem.h"

struct boot_file {
    int fd;           /* -1: none */
    const char *kind; /* "kernel" or "initrd": how messages call it */
    const char *path; /* for messages; the caller's */
};

/* Opens `path` for reading; boot_file_close when done. Refuses what is no regular file. `path`
 * lives as long as *file. Errors: those of open(2), -EISDIR, -EINVAL. */
must_check int boot_file_open(struct boot_file *file, const char *kind, const char *path,
                              struct err *err);
/* None is allowed. */
void boot_file_close(struct boot_file *file);

/* Bytes in the file now: at least one, else -ENODATA. */
must_check int boot_file_size(const struct boot_file *file, uint64_t *size, struct err *err);

/* Exactly `len` bytes from `offset`; -ENODATA when the file ends before. */
must_check int boot_file_read(const struct boot_file *file, uint64_t offset, void *buffer,
                              size_t len, struct err *err);

/* The same, into guest memory. The range is known to be RAM (CHECK). */
must_check int boot_file_load(const struct boot_file *file, uint64_t offset, struct gmem *mem,
                              gpa_t addr, uint64_t len, struct err *err);
