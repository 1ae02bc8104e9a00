/*
 * The limit of what a guest's disk can reach: the same requests on the same file from a loop around
 * io_uring on this thread, with all that makes it quick, and no guest.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

struct bare_config {
    const char *path;
    uint64_t size; /* of the file; bytes */
    uint64_t duration_ns;
    uint64_t seed;
    unsigned depth;
    uint32_t block; /* bytes */
    unsigned read_percent;
    bool direct;
};

/* Requests a second. 0, or a negative errno with its line. */
must_check int bare_run(const struct bare_config *config, double *iops, struct err *err);
