#include "bus/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"

enum { WIDTH_MAX = 8 };

struct bus {
    const char *name;
    struct bus_range *last; /* of the last hit: guests poll one register at a time */
    size_t count;
    struct bus_range *ranges[BUS_RANGE_COUNT_MAX]; /* ascending, never overlapping */
};

int bus_create(struct bus **out, const char *name, struct err *err)
{
    struct bus *bus = calloc(1, sizeof(*bus));

    if (!bus)
        return err_set(err, -ENOMEM, "%s bus: out of memory", name);
    bus->name = name;
    *out = bus;
    return 0;
}

void bus_destroy(struct bus *bus)
{
    free(bus);
}

/* Index of the first range that ends after `addr`; count when there is none. */
static size_t bus_search(const struct bus *bus, uint64_t addr)
{
    size_t low = 0, high = bus->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct bus_range *range = bus->ranges[middle];

        if (range->base + (range->len - 1) < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The place for `range`, or -EEXIST with the range that is in its way. */
static int bus_place(const struct bus *bus, const struct bus_range *range, size_t *place,
                     const struct bus_range **taken)
{
    *place = bus_search(bus, range->base);
    *taken = *place < bus->count ? bus->ranges[*place] : NULL;
    if (*taken && (*taken)->base <= range->base + (range->len - 1))
        return -EEXIST;
    return 0;
}

static bool range_is_valid(const struct bus_range *range)
{
    uint64_t last;

    return range->len && u64_add(range->base, range->len - 1, &last);
}

static void bus_insert(struct bus *bus, struct bus_range *range, size_t place)
{
    CHECK_CMP(bus->count, <, (size_t)BUS_RANGE_COUNT_MAX);
    memmove(&bus->ranges[place + 1], &bus->ranges[place],
            (bus->count - place) * sizeof(*bus->ranges));
    bus->ranges[place] = range;
    bus->count++;
}

int bus_add(struct bus *bus, struct bus_range *range, struct err *err)
{
    const struct bus_range *taken;
    size_t place;

    CHECK(range->ops && range->ops->access);
    CHECK(!range->width_max || is_power_of_two(range->width_max));
    if (!range_is_valid(range))
        return err_set(err, -EINVAL, "%s bus: %s has an empty or wrapping range at 0x%llx",
                       bus->name, range->name, (unsigned long long)range->base);
    if (bus->count == BUS_RANGE_COUNT_MAX)
        return err_set(err, -ENOSPC, "%s bus: no room for %s; use fewer devices", bus->name,
                       range->name);
    if (bus_place(bus, range, &place, &taken))
        return err_set(err, -EEXIST, "%s bus: %s at 0x%llx overlaps %s at 0x%llx", bus->name,
                       range->name, (unsigned long long)range->base, taken->name,
                       (unsigned long long)taken->base);
    bus_insert(bus, range, place);
    return 0;
}

void bus_remove(struct bus *bus, struct bus_range *range)
{
    for (size_t i = 0; i < bus->count; i++) {
        if (bus->ranges[i] != range)
            continue;
        bus->count--;
        memmove(&bus->ranges[i], &bus->ranges[i + 1], (bus->count - i) * sizeof(*bus->ranges));
        bus->last = NULL;
        return;
    }
}

int bus_move(struct bus *bus, struct bus_range *range, uint64_t base)
{
    const struct bus_range *taken;
    size_t place;

    bus_remove(bus, range);
    range->base = base;
    if (!range_is_valid(range))
        return -EINVAL;
    if (bus_place(bus, range, &place, &taken))
        return -EEXIST;
    if (bus->count == BUS_RANGE_COUNT_MAX)
        return -ENOSPC;
    bus_insert(bus, range, place);
    return 0;
}

static bool range_holds(const struct bus_range *range, uint64_t addr, uint8_t size)
{
    uint64_t offset = addr - range->base;

    return addr >= range->base && offset < range->len && size <= range->len - offset;
}

static struct bus_range *bus_lookup(struct bus *bus, uint64_t addr, uint8_t size)
{
    size_t place;

    if (bus->last && range_holds(bus->last, addr, size))
        return bus->last;
    place = bus_search(bus, addr);
    if (place == bus->count || !range_holds(bus->ranges[place], addr, size))
        return NULL;
    bus->last = bus->ranges[place];
    return bus->last;
}

static uint64_t size_mask(uint8_t size)
{
    return size == WIDTH_MAX ? UINT64_MAX : (1ULL << (8 * size)) - 1;
}

static enum bus_verdict range_access(struct bus_range *range, struct bus_access *access)
{
    enum bus_verdict verdict;

    access->offset = access->addr - range->base;
    if (!access->is_write)
        access->value = size_mask(access->size);
    verdict = range->ops->access(range, access);
    if (verdict == BUS_DONE)
        access->value &= size_mask(access->size);
    return verdict;
}

/* A wide access to a narrow device: several of its width, lowest address first. */
static void range_access_split(struct bus_range *range, struct bus_access *access)
{
    uint8_t width = range->width_max;
    uint64_t value = 0;

    for (uint8_t at = 0; at < access->size; at += width) {
        struct bus_access part = {
            .addr = access->addr + at,
            .value = access->value >> (8 * at) & size_mask(width),
            .size = width,
            .is_write = access->is_write,
        };
        enum bus_verdict verdict = range_access(range, &part);

        CHECK(verdict == BUS_DONE);
        value |= part.value << (8 * at);
    }
    access->value = value;
}

enum bus_verdict bus_dispatch(struct bus *bus, struct bus_access *access)
{
    struct bus_range *range = NULL;

    CHECK(access->size >= 1 && access->size <= WIDTH_MAX);
    if (is_power_of_two(access->size))
        range = bus_lookup(bus, access->addr, access->size);
    if (!range) {
        access->value = size_mask(access->size);
        return BUS_DONE;
    }
    if (range->width_max && access->size > range->width_max) {
        range_access_split(range, access);
        return BUS_DONE;
    }
    return range_access(range, access);
}
