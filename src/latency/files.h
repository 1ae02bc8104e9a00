/* The files that are read while the latency of I/O is measured. */
#pragma once
#include <stdbool.h>

#include "base/compiler.h"
#include "base/err.h"

enum { FILES_BLOCK_SIZE = 4096, FILES_BLOCK_COUNT = 4096 };

struct files {
    int memory_fd;  /* in tmpfs */
    int disk_fd;    /* below a directory, without a name; -1: none */
    bool is_direct; /* disk_fd bypasses the page cache */
    bool was_named; /* disk_fd had a name until it was open */
};

/*
 * Makes both files, of FILES_BLOCK_COUNT blocks that are not zero. `directory` NULL: only the one
 * in memory. Where the file system cannot bypass the page cache (O_DIRECT), the file is read
 * through it; where it has no files without a name (O_TMPFILE), see files_create_named. 0, or a
 * negative errno with its line.
 */
must_check int files_open(struct files *files, const char *directory, struct err *err);
void files_close(struct files *files);

/* Makes a file below `directory` whose name is taken away at once. A descriptor or a negative
 * errno. */
must_check int files_create_named(const char *directory, int flags);
