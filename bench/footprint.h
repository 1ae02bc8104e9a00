/* What a process costs, from outside: /proc. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/err.h"

struct footprint {
    uint64_t cpu_ns; /* of all its threads */
    uint64_t wakes;  /* how often one of them had slept */
};

/* 0, or a negative errno with its line. */

must_check int footprint_read(pid_t pid, struct footprint *footprint, struct err *err);

/*
 * Its proportional set size in bytes, without the one mapping of `ram_size` bytes: what it needs
 * beyond its guest's memory. -ENOENT, with its line, when there is no such mapping.
 */
must_check int footprint_pss(pid_t pid, uint64_t ram_size, uint64_t *pss, struct err *err);
