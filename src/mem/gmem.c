#include "mem/gmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arith.h"
#include "base/check.h"

enum { PAGE_SIZE = 4096, HUGE_PAGE_SIZE = 2 << 20 };

/* Address space of a region and what lies beside it, which nobody may touch. */
struct reservation {
    void *map;
    uint64_t len;
};

struct gmem {
    size_t count;
    struct gmem_region regions[GMEM_REGION_COUNT_MAX];
    struct reservation reservations[GMEM_REGION_COUNT_MAX];
};

static int range_check(const struct gmem_range *range, uint64_t floor, struct err *err)
{
    uint64_t end;

    if (!range->size || range->size % PAGE_SIZE || range->base.addr % PAGE_SIZE)
        return err_set(err, -EINVAL, "guest memory: range at 0x%llx is not made of whole pages",
                       (unsigned long long)range->base.addr);
    if (range->base.addr < floor || !u64_add(range->base.addr, range->size, &end))
        return err_set(err, -EINVAL, "guest memory: range at 0x%llx overlaps or wraps",
                       (unsigned long long)range->base.addr);
    return 0;
}

/* ENOMEM: the kernel made one mapping of it and a neighbour, and the process has as many as it may,
 * so it cannot be cut in two. Then the address space stays taken. */
static void reservation_release(const struct reservation *reservation)
{
    int ret = munmap(reservation->map, reservation->len);

    CHECK(!ret || errno == ENOMEM);
}

/*
 * Aligned as the guest's addresses are, so that KVM can map huge pages of the host as such: a
 * guest's access that misses the TLB walks both page tables. What is too much for that is never
 * given back: it costs nothing, and a piece of a mapping could not be, on a host whose pages are
 * larger than the guest's or where a process has as many mappings as it may.
 */
static uint8_t *region_map(struct reservation *reservation, uint64_t size)
{
    uint8_t *host;

    if (!u64_add(size, HUGE_PAGE_SIZE, &reservation->len)) {
        errno = ENOMEM;
        return NULL;
    }
    reservation->map =
        mmap(NULL, reservation->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reservation->map == MAP_FAILED)
        return NULL;
    host = (uint8_t *)reservation->map + (-(uintptr_t)reservation->map & (HUGE_PAGE_SIZE - 1));
    if (mprotect(host, size, PROT_READ | PROT_WRITE)) {
        int code = errno;

        reservation_release(reservation);
        errno = code;
        return NULL;
    }
    return host;
}

/* A kernel without huge pages refuses, which does no harm. */
static void huge_pages_ask(const struct gmem *mem)
{
    if (gmem_size(mem) < GMEM_HUGE_SIZE_MIN)
        return;
    for (size_t i = 0; i < mem->count; i++)
        (void)madvise(mem->regions[i].host, mem->regions[i].range.size, MADV_HUGEPAGE);
}

int gmem_create(struct gmem **out, const struct gmem_range *ranges, size_t count, struct err *err)
{
    uint64_t floor = 0;
    struct gmem *mem;
    int ret;

    if (!count || count > GMEM_REGION_COUNT_MAX)
        return err_set(err, -EINVAL, "guest memory: %zu ranges, 1 to %d are possible", count,
                       GMEM_REGION_COUNT_MAX);
    mem = calloc(1, sizeof(*mem));
    if (!mem)
        return err_set(err, -ENOMEM, "guest memory: out of memory");
    for (size_t i = 0; i < count; i++) {
        ret = range_check(&ranges[i], floor, err);
        if (ret)
            goto fail;
        uint8_t *host = region_map(&mem->reservations[i], ranges[i].size);
        if (!host) {
            ret = err_set(err, -errno,
                          "guest memory: cannot map %llu MiB: %s; choose a smaller --mem",
                          (unsigned long long)(ranges[i].size >> 20), strerror(errno));
            goto fail;
        }
        mem->regions[mem->count++] = (struct gmem_region){.range = ranges[i], .host = host};
        floor = ranges[i].base.addr + ranges[i].size;
    }
    huge_pages_ask(mem);
    *out = mem;
    return 0;
fail:
    gmem_destroy(mem);
    return ret;
}

void gmem_destroy(struct gmem *mem)
{
    if (!mem)
        return;
    for (size_t i = 0; i < mem->count; i++)
        reservation_release(&mem->reservations[i]);
    free(mem);
}

size_t gmem_region_count(const struct gmem *mem)
{
    return mem->count;
}

const struct gmem_region *gmem_region(const struct gmem *mem, size_t index)
{
    CHECK_CMP(index, <, mem->count);
    return &mem->regions[index];
}

uint64_t gmem_size(const struct gmem *mem)
{
    uint64_t size = 0;

    for (size_t i = 0; i < mem->count; i++)
        size += mem->regions[i].range.size;
    return size;
}

void *gmem_ptr(const struct gmem *mem, gpa_t addr, uint64_t len)
{
    for (size_t i = 0; i < mem->count; i++) {
        const struct gmem_region *region = &mem->regions[i];
        /* Wraps to a huge number below the region's base, which the next line refuses. */
        uint64_t offset = addr.addr - region->range.base.addr;

        if (offset <= region->range.size && len <= region->range.size - offset)
            return region->host + offset;
    }
    return NULL;
}

int gmem_read(const struct gmem *mem, gpa_t addr, void *buffer, size_t len)
{
    const void *host = gmem_ptr(mem, addr, len);

    if (!host)
        return -EFAULT;
    memcpy(buffer, host, len);
    return 0;
}

int gmem_write(const struct gmem *mem, gpa_t addr, const void *buffer, size_t len)
{
    void *host = gmem_ptr(mem, addr, len);

    if (!host)
        return -EFAULT;
    memcpy(host, buffer, len);
    return 0;
}
