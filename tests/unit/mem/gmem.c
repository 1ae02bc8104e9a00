#include "mem/gmem.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"

static struct gmem *two_regions(void)
{
    const struct gmem_range ranges[] = {{{0}, 0x10000}, {{0x100000}, 0x20000}};
    struct gmem *mem;

    cr_assert_eq(gmem_create(&mem, ranges, 2, NULL), 0);
    return mem;
}

Test(gmem, range_inside_one_region_is_found)
{
    struct gmem *mem = two_regions();

    cr_assert_eq(gmem_size(mem), 0x30000);
    cr_assert_eq(gmem_ptr(mem, gpa(0), 0x10000), gmem_region(mem, 0)->host);
    cr_assert_eq(gmem_ptr(mem, gpa(0x100010), 16), gmem_region(mem, 1)->host + 16);
    cr_assert_eq(gmem_ptr(mem, gpa(0x11ffff), 1), gmem_region(mem, 1)->host + 0x1ffff);
    gmem_destroy(mem);
}

Test(gmem, range_that_leaves_its_region_is_refused)
{
    struct gmem *mem = two_regions();

    cr_assert_null(gmem_ptr(mem, gpa(0xffff), 2), "straddles the end");
    cr_assert_null(gmem_ptr(mem, gpa(0x8000), 0x100000), "spans the gap");
    cr_assert_null(gmem_ptr(mem, gpa(0x20000), 1), "inside the gap");
    cr_assert_null(gmem_ptr(mem, gpa(0x120000), 1), "after the last");
    gmem_destroy(mem);
}

/* By the line of /proc/self/smaps that begins "FROM-TO " in front of the mapping's flags. */
static bool is_advised_huge(const void *host)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    bool is_here = false, is_huge = false;
    char line[512];

    cr_assert_not_null(smaps);
    while (fgets(line, sizeof(line), smaps)) {
        char *rest;
        uintptr_t begin = strtoul(line, &rest, 16);

        if (*rest == '-')
            is_here = begin <= (uintptr_t)host && (uintptr_t)host < strtoul(rest + 1, NULL, 16);
        if (is_here && !strncmp(line, "VmFlags:", 8))
            is_huge = strstr(line, " hg");
    }
    cr_assert_eq(fclose(smaps), 0);
    return is_huge;
}

/* Else KVM maps small pages, and each of the guest's TLB misses takes longer. */
Test(gmem, memory_lies_so_that_huge_pages_of_the_host_are_huge_pages_of_the_guest)
{
    const struct gmem_range ranges[] = {
        {{0}, 5 << 20}, {{6 << 20}, 0x3000}, {{1UL << 32}, 7 << 20}};
    struct gmem *mem;

    for (int i = 0; i < 10; i++) {
        cr_assert_eq(gmem_create(&mem, ranges, array_count(ranges), NULL), 0);
        for (size_t region = 0; region < array_count(ranges); region++) {
            const struct gmem_region *it = gmem_region(mem, region);

            cr_assert_eq(((uintptr_t)it->host - it->range.base.addr) % (2 << 20), 0);
            it->host[0] = it->host[it->range.size - 1] = 1;
        }
        gmem_destroy(mem);
    }
}

/*
 * Every second page of 256 MiB with another protection than its neighbours, until the process has
 * as many mappings as it may. Below that lies one as guest memory's, which more of it may become a
 * part of.
 */
static uint8_t *mappings_fill(size_t step)
{
    enum { LEN = 256 << 20, FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE };
    uint8_t *pos = mmap(NULL, LEN, PROT_NONE, FLAGS, -1, 0);
    uint8_t *end = pos + LEN;

    cr_assert(pos != MAP_FAILED);
    cr_assert(mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, FLAGS, -1, 0) != MAP_FAILED);
    while (pos < end && !mprotect(pos, step / 2, PROT_READ))
        pos += step;
    if (pos == end)
        cr_skip_test("this machine allows more mappings than most");
    return pos;
}

Test(gmem, limit_on_mappings_is_an_error_and_no_crash)
{
    const struct gmem_range ranges[] = {{{0}, 6 << 20}, {{1UL << 32}, 4 << 20}};
    const size_t step = 2 * (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *last;

#if defined(RING_SLEEPS_IN_POLL) || defined(__SANITIZE_THREAD__) /* the first: for valgrind */
    cr_skip_test("valgrind and ThreadSanitizer end where they cannot map memory of their own");
#endif
    last = mappings_fill(step);
    for (int i = 0; i < 8; i++) {
        struct gmem *mem;
        struct err err;
        int ret = gmem_create(&mem, ranges, array_count(ranges), &err);

        cr_assert(!ret || ret == -ENOMEM, "%d: %s", ret, err.text);
        if (!ret)
            gmem_destroy(mem);
        last -= step;
        cr_assert_eq(mprotect(last, step / 2, PROT_NONE), 0);
    }
}

/* They would be most of what a small guest takes from the host. */
Test(gmem, only_a_large_guest_asks_for_huge_pages)
{
    struct gmem_range ranges[] = {{{0}, 16 << 20}, {{1ULL << 32}, 0}};
    struct gmem *mem;

    if (access("/sys/kernel/mm/transparent_hugepage", F_OK))
        cr_skip_test("this kernel has no transparent huge pages");
    for (unsigned is_large = 0; is_large < 2; is_large++) {
        ranges[1].size = GMEM_HUGE_SIZE_MIN - (is_large ? 16 << 20 : 32 << 20);
        cr_assert_eq(gmem_create(&mem, ranges, 2, NULL), 0);
        for (size_t region = 0; region < 2; region++)
            cr_assert_eq(is_advised_huge(gmem_region(mem, region)->host), is_large);
        gmem_destroy(mem);
    }
}

Test(gmem, address_plus_length_that_wraps_is_refused)
{
    struct gmem *mem = two_regions();

    cr_assert_null(gmem_ptr(mem, gpa(UINT64_MAX), 2));
    cr_assert_null(gmem_ptr(mem, gpa(0x1000), UINT64_MAX));
    cr_assert_null(gmem_ptr(mem, gpa(0x100000), UINT64_MAX - 0xfffff));
    gmem_destroy(mem);
}

Test(gmem, copies_fail_as_a_whole)
{
    struct gmem *mem = two_regions();
    char buffer[4] = "abc";

    cr_assert_eq(gmem_write(mem, gpa(0x1000), buffer, 4), 0);
    memset(buffer, 0, 4);
    cr_assert_eq(gmem_read(mem, gpa(0x1000), buffer, 4), 0);
    cr_assert_str_eq(buffer, "abc");
    cr_assert_eq(gmem_write(mem, gpa(0xfffe), buffer, 4), -EFAULT);
    cr_assert_eq(gmem_read(mem, gpa(0xfffe), buffer, 4), -EFAULT);
    gmem_destroy(mem);
}

Test(gmem, ranges_that_overlap_or_wrap_or_split_pages_are_refused)
{
    const struct gmem_range overlap[] = {{{0}, 0x2000}, {{0x1000}, 0x1000}};
    const struct gmem_range wrap[] = {{{UINT64_MAX - 0xfff}, 0x2000}};
    const struct gmem_range split[] = {{{0}, 0x1800}};
    struct gmem *mem;
    struct err err;

    cr_assert_eq(gmem_create(&mem, overlap, 2, &err), -EINVAL);
    cr_assert_eq(gmem_create(&mem, wrap, 1, &err), -EINVAL);
    cr_assert_eq(gmem_create(&mem, split, 1, &err), -EINVAL);
    cr_assert_eq(gmem_create(&mem, split, 0, &err), -EINVAL);
}
