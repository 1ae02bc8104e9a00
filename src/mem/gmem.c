#include "mem/gmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arith.h"
#include "base/check.h"

enum { PAGE_SIZE = 4096, HUGE_PAGE_SIZE = 2 << 20 };

struct gmem {
    size_t count;
    struct gmem_region regions[GMEM_REGION_COUNT_MAX];
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

/*
 * Aligned as the guest's addresses are, so that KVM can map huge pages of the host as such: a
 * guest's access that misses the TLB walks both page tables.
 */
static void *range_map(uint64_t size)
{
    uint8_t *map, *host;
    uint64_t len;

    if (!u64_add(size, HUGE_PAGE_SIZE, &len)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    map =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return MAP_FAILED;
    host = map + (-(uintptr_t)map & (HUGE_PAGE_SIZE - 1));
    if (host != map)
        CHECK_CMP(munmap(map, (size_t)(host - map)), ==, 0);
    CHECK_CMP(munmap(host + size, (size_t)(map + len - host - size)), ==, 0);
    /* A kernel without huge pages refuses, which does no harm. */
    (void)madvise(host, size, MADV_HUGEPAGE);
    return host;
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
        void *host = range_map(ranges[i].size);
        if (host == MAP_FAILED) {
            ret = err_set(err, -errno,
                          "guest memory: cannot map %llu MiB: %s; choose a smaller --mem",
                          (unsigned long long)(ranges[i].size >> 20), strerror(errno));
            goto fail;
        }
        mem->regions[mem->count++] = (struct gmem_region){.range = ranges[i], .host = host};
        floor = ranges[i].base.addr + ranges[i].size;
    }
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
        CHECK_CMP(munmap(mem->regions[i].host, mem->regions[i].range.size), ==, 0);
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
