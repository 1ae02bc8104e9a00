/* The file that the disk benchmark reads. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

struct scratch {
    int fd;
    uint64_t size;  /* bytes */
    char path[32];  /* /proc/self/fd/N, also in children */
    bool is_tagged; /* each sector begins with its number, 64 bits */
};

/* A file of `size` bytes in `directory`, without a name, which goes with its last descriptor. 0, or
 * a negative errno with its line. */
must_check int scratch_make(struct scratch *scratch, const char *directory, uint64_t size,
                            struct err *err);
/* An existing file or block device, read-only. */
must_check int scratch_open(struct scratch *scratch, const char *path, struct err *err);
void scratch_close(struct scratch *scratch);
