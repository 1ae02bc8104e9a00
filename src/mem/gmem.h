/*
 * Guest memory: regions of host memory that the guest sees as RAM, and the ONLY conversion from a
 * guest address to host memory. A gpa_t cannot be dereferenced or mixed up with a pointer or a
 * length; whoever wants bytes asks here, and gets them only when the whole range lies in RAM.
 * Wrap-around, gaps and device memory are errors.
 *
 * Lifetime rule: the memory outlives every operation that names it. Devices are drained before
 * gmem_destroy. Guest memory changes under the reader's feet: copy a header once (gmem_read), then
 * validate the copy.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/err.h"

typedef struct {
    uint64_t addr;
} gpa_t;

static inline gpa_t gpa(uint64_t addr)
{
    return (gpa_t){addr};
}

/* Bytes of RAM at a guest-physical address; both multiples of the page size. */
struct gmem_range {
    gpa_t base;
    uint64_t size;
};

struct gmem_region {
    struct gmem_range range; /* read-only */
    uint8_t *host;           /* read-only: where the region is mapped in this process */
};

enum { GMEM_REGION_COUNT_MAX = 8 };

/*
 * A guest with so much memory asks the host for huge pages, where the host gives them only to who
 * asks (the mode "madvise"). A smaller one does not: it is there for its footprint, which they
 * raise, from 1.0 to 7.0 MiB for a guest that only halts, from 103 to 114 MiB for Linux with 512.
 */
#define GMEM_HUGE_SIZE_MIN (1ULL << 30)

struct gmem;

/*
 * Maps zeroed, lazily allocated memory for `count` ranges, in ascending order, that do not overlap.
 * The caller owns *out and frees it with gmem_destroy. -EINVAL for ranges out of order, -ENOMEM
 * when the host refuses.
 */
must_check int gmem_create(struct gmem **out, const struct gmem_range *ranges, size_t count,
                           struct err *err);
/* NULL is allowed. */
void gmem_destroy(struct gmem *mem);

size_t gmem_region_count(const struct gmem *mem);
const struct gmem_region *gmem_region(const struct gmem *mem, size_t index);
/* Bytes of RAM in all regions. */
uint64_t gmem_size(const struct gmem *mem);

/*
 * Host address of [addr, addr + len) when all of it lies in ONE region, else NULL. A length of 0 is
 * valid anywhere in or at the end of a region. Valid until gmem_destroy. Any thread.
 */
void *gmem_ptr(const struct gmem *mem, gpa_t addr, uint64_t len);

/* Copies once between guest memory and `buffer`. -EFAULT unless the whole range lies in one region.
 * Any thread. */
must_check int gmem_read(const struct gmem *mem, gpa_t addr, void *buffer, size_t len);
must_check int gmem_write(const struct gmem *mem, gpa_t addr, const void *buffer, size_t len);
