#include "bus/bus.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "base/compiler.h"

/* Remembers what it was asked; answers with the offset of each byte. */
struct probe {
    struct bus_range range;
    unsigned count;
    struct bus_access accesses[8];
    struct bus_access *deferred;
    bool defers;
};

static enum bus_verdict probe_access(struct bus_range *range, struct bus_access *access)
{
    struct probe *probe = container_of(range, struct probe, range);

    cr_assert_lt(probe->count, array_count(probe->accesses));
    probe->accesses[probe->count++] = *access;
    if (probe->defers) {
        probe->deferred = access;
        return BUS_DEFER;
    }
    if (!access->is_write) {
        access->value = 0;
        for (unsigned i = 0; i < access->size; i++)
            access->value |= (access->offset + i) << (8 * i);
    }
    return BUS_DONE;
}

static const struct bus_range_ops probe_ops = {.access = probe_access};

static struct probe probe_at(uint64_t base, uint64_t len, const char *name)
{
    return (struct probe){.range = {.ops = &probe_ops, .name = name, .base = base, .len = len}};
}

static uint64_t bus_read(struct bus *bus, uint64_t addr, uint8_t size)
{
    struct bus_access access = {.addr = addr, .size = size};

    cr_assert_eq(bus_dispatch(bus, &access), BUS_DONE);
    return access.value;
}

static struct bus *bus_new(void)
{
    struct bus *bus;

    cr_assert_eq(bus_create(&bus, "test", NULL), 0);
    return bus;
}

Test(bus, access_reaches_the_range_that_claims_it)
{
    struct bus *bus = bus_new();
    struct probe a = probe_at(0x10, 8, "a"), b = probe_at(0x18, 8, "b"), c = probe_at(0, 16, "c");

    cr_assert_eq(bus_add(bus, &a.range, NULL), 0);
    cr_assert_eq(bus_add(bus, &b.range, NULL), 0);
    cr_assert_eq(bus_add(bus, &c.range, NULL), 0);
    cr_assert_eq(bus_read(bus, 0x10, 1), 0);
    cr_assert_eq(bus_read(bus, 0x1c, 4), 0x07060504);
    cr_assert_eq(bus_read(bus, 0x08, 8), 0x0f0e0d0c0b0a0908);
    cr_assert_eq(a.count, 1);
    cr_assert_eq(b.count, 1);
    cr_assert_eq(c.count, 1);
    bus_destroy(bus);
}

Test(bus, nobody_there_reads_all_ones_of_the_width)
{
    struct bus *bus = bus_new();
    struct probe a = probe_at(0x10, 8, "a");

    cr_assert_eq(bus_add(bus, &a.range, NULL), 0);
    cr_assert_eq(bus_read(bus, 0x20, 1), 0xff);
    cr_assert_eq(bus_read(bus, 0x20, 4), 0xffffffff);
    cr_assert_eq(bus_read(bus, 0x20, 8), UINT64_MAX);
    cr_assert_eq(bus_read(bus, 0x16, 4), 0xffffffff, "leaves its range");
    cr_assert_eq(bus_read(bus, UINT64_MAX, 8), UINT64_MAX);
    cr_assert_eq(a.count, 0);
    bus_destroy(bus);
}

Test(bus, overlaps_are_refused_by_name)
{
    struct bus *bus = bus_new();
    struct probe a = probe_at(0x10, 8, "first"), b = probe_at(0x17, 8, "second");
    struct probe empty = probe_at(0x40, 0, "e"), wraps = probe_at(UINT64_MAX, 2, "w");
    struct probe top = probe_at(UINT64_MAX, 1, "top");
    struct err err;

    cr_assert_eq(bus_add(bus, &a.range, &err), 0);
    cr_assert_eq(bus_add(bus, &b.range, &err), -EEXIST);
    cr_assert(strstr(err.text, "first") && strstr(err.text, "second"));
    cr_assert_eq(bus_add(bus, &empty.range, &err), -EINVAL);
    cr_assert_eq(bus_add(bus, &wraps.range, &err), -EINVAL);
    cr_assert_eq(bus_add(bus, &top.range, &err), 0);
    cr_assert_eq(bus_read(bus, UINT64_MAX, 1), 0);
    bus_destroy(bus);
}

Test(bus, wide_access_to_a_narrow_device_is_split_lowest_first)
{
    struct bus *bus = bus_new();
    struct probe a = probe_at(0x10, 8, "a");
    struct bus_access write = {.addr = 0x10, .size = 4, .is_write = true, .value = 0x44332211};

    a.range.width_max = 1;
    cr_assert_eq(bus_add(bus, &a.range, NULL), 0);
    cr_assert_eq(bus_read(bus, 0x12, 2), 0x0302);
    cr_assert_eq(a.count, 2);
    cr_assert_eq(bus_dispatch(bus, &write), BUS_DONE);
    cr_assert_eq(a.count, 6);
    cr_assert_eq(a.accesses[2].value, 0x11);
    cr_assert_eq(a.accesses[5].value, 0x44);
    cr_assert_eq(a.accesses[5].offset, 3);
    bus_destroy(bus);
}

Test(bus, deferred_access_is_left_to_the_device)
{
    struct bus *bus = bus_new();
    struct probe a = probe_at(0x10, 8, "a");
    struct bus_access access = {.addr = 0x10, .size = 1, .is_write = true};

    a.defers = true;
    cr_assert_eq(bus_add(bus, &a.range, NULL), 0);
    cr_assert_eq(bus_dispatch(bus, &access), BUS_DEFER);
    cr_assert_eq(a.deferred, &access);
    bus_destroy(bus);
}

Test(bus, moved_range_answers_only_at_its_new_place)
{
    struct bus *bus = bus_new();
    struct probe a = probe_at(0x10, 8, "a"), b = probe_at(0x40, 8, "b");

    cr_assert_eq(bus_add(bus, &a.range, NULL), 0);
    cr_assert_eq(bus_add(bus, &b.range, NULL), 0);
    cr_assert_eq(bus_read(bus, 0x11, 1), 1);
    cr_assert_eq(bus_move(bus, &a.range, 0x80), 0);
    cr_assert_eq(bus_read(bus, 0x11, 1), 0xff);
    cr_assert_eq(bus_read(bus, 0x81, 1), 1);
    cr_assert_eq(bus_move(bus, &a.range, 0x44), -EEXIST);
    cr_assert_eq(bus_read(bus, 0x81, 1), 0xff, "out of the bus");
    cr_assert_eq(bus_read(bus, 0x44, 1), 4, "the other is untouched");
    cr_assert_eq(bus_move(bus, &a.range, UINT64_MAX - 3), -EINVAL);
    cr_assert_eq(bus_move(bus, &a.range, 0x10), 0);
    cr_assert_eq(bus_read(bus, 0x11, 1), 1);
    bus_remove(bus, &a.range);
    bus_remove(bus, &a.range);
    cr_assert_eq(bus_read(bus, 0x11, 1), 0xff);
    bus_destroy(bus);
}

Test(bus, random_ranges_agree_with_a_linear_search)
{
    enum { RANGES = 64, ROUNDS = 20000, SPACE = 1024 };
    static struct probe probes[RANGES];
    bool added[RANGES] = {false};
    struct bus *bus = bus_new();
    unsigned seed = 20261121;

    for (int round = 0; round < ROUNDS; round++) {
        unsigned i = (unsigned)rand_r(&seed) % RANGES;
        uint64_t addr = (unsigned)rand_r(&seed) % SPACE;
        int owner = -1;

        if (rand_r(&seed) % 2) {
            bus_remove(bus, &probes[i].range);
            probes[i] =
                probe_at((unsigned)rand_r(&seed) % SPACE, 1 + (unsigned)rand_r(&seed) % 40, "p");
            added[i] = bus_add(bus, &probes[i].range, NULL) == 0;
        }
        for (int k = 0; k < RANGES; k++)
            if (added[k] && addr >= probes[k].range.base &&
                addr < probes[k].range.base + probes[k].range.len)
                owner = k;
        uint64_t expected = owner < 0 ? 0xff : (addr - probes[owner].range.base) & 0xff;
        cr_assert_eq(bus_read(bus, addr, 1), expected, "seed 20261121, round %d", round);
        for (int k = 0; k < RANGES; k++)
            probes[k].count = 0;
    }
    bus_destroy(bus);
}

Test(bus, odd_sizes_reach_nobody)
{
    struct bus *bus = bus_new();
    struct probe a = probe_at(0x10, 16, "a"), narrow = probe_at(0x20, 16, "narrow");

    narrow.range.width_max = 2;
    cr_assert_eq(bus_add(bus, &a.range, NULL), 0);
    cr_assert_eq(bus_add(bus, &narrow.range, NULL), 0);
    cr_assert_eq(bus_read(bus, 0x10, 3), 0xffffff);
    cr_assert_eq(bus_read(bus, 0x12, 7), 0xffffffffffffff);
    cr_assert_eq(bus_read(bus, 0x20, 5), 0xffffffffff);
    cr_assert_eq(a.count + narrow.count, 0);
    bus_destroy(bus);
}

Test(bus, full_bus_refuses_another_range_by_name)
{
    static struct probe probes[BUS_RANGE_COUNT_MAX + 1];
    struct bus *bus = bus_new();
    struct probe *last = &probes[BUS_RANGE_COUNT_MAX];
    struct err err;

    for (unsigned i = 0; i < BUS_RANGE_COUNT_MAX; i++) {
        probes[i] = probe_at(i * 8, 8, "p");
        cr_assert_eq(bus_add(bus, &probes[i].range, NULL), 0);
    }
    *last = probe_at(1 << 20, 8, "surplus");
    cr_assert_eq(bus_add(bus, &last->range, &err), -ENOSPC);
    cr_assert(strstr(err.text, "surplus"), "%s", err.text);
    cr_assert_eq(bus_move(bus, &last->range, 1 << 21), -ENOSPC);
    cr_assert_eq(bus_move(bus, &probes[3].range, 1 << 21), 0, "one that is in has its place");
    cr_assert_eq(bus_read(bus, 1 << 21, 1), 0);
    bus_destroy(bus);
}
