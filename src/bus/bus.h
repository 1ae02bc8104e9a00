/*
 * Port and MMIO decode: from an address to the device range that claims it.
 *
 * A vCPU's exit is one struct bus_access in that vCPU's own slot. bus_dispatch runs the device on
 * the executor thread; the device answers at once (BUS_DONE) or keeps the pointer and answers later
 * with bus_access_complete (BUS_DEFER), for example a virtio reset that has to drain its I/O first.
 * The vCPU stays stopped until the answer.
 *
 * Everything here: executor thread, or before it runs.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

enum bus_verdict { BUS_DONE, BUS_DEFER };

struct bus_access {
    uint64_t addr;   /* in the bus's address space */
    uint64_t offset; /* set by bus_dispatch: from the start of the range */
    uint64_t value;  /* little-endian, zero-extended; of a read: filled by the device */
    uint8_t size;    /* bytes: 1 to 8; devices see 1, 2, 4 and 8 only */
    bool is_write;
    /* Called once, on the executor thread, by bus_access_complete; set by whoever dispatches. */
    void (*complete)(struct bus_access *access);
};

struct bus_range;

struct bus_range_ops {
    /* The access lies wholly inside the range. A read leaves its answer in access->value (preset to
     * all ones). */
    enum bus_verdict (*access)(struct bus_range *range, struct bus_access *access);
};

/* A claim on [base, base + len), embedded in the device; the fields are set before bus_add. */
struct bus_range {
    const struct bus_range_ops *ops;
    const char *name; /* for messages; outlives the range */
    uint64_t base;
    uint64_t len;
    /*
     * Widest access the device takes, in bytes (1, 2, 4 or 8); 0 means 8. A wider one is split into
     * several, lowest address first, as the ISA bus does; such ranges never defer.
     */
    uint8_t width_max;
};

struct bus;

/* So that a guest that moves BARs never makes the monitor allocate. */
enum { BUS_RANGE_COUNT_MAX = 512 };

/* `name` ("port", "memory") is for messages. */
must_check int bus_create(struct bus **out, const char *name, struct err *err);
/* NULL is allowed. Ranges are not touched. */
void bus_destroy(struct bus *bus);

/* -EEXIST when it overlaps a range (the error names both), -EINVAL when empty or wrapping, -ENOSPC.
 * Keeps the pointer until bus_remove. */
must_check int bus_add(struct bus *bus, struct bus_range *range, struct err *err);
/* A no-op when it was not added. */
void bus_remove(struct bus *bus, struct bus_range *range);
/* The guest reprograms a BAR: to `base`, whether it was in the bus or not; on -EEXIST, -EINVAL or
 * -ENOSPC it is out of the bus. */
must_check int bus_move(struct bus *bus, struct bus_range *range, uint64_t base);

/*
 * Nobody there, an access that leaves its range, or one of 3, 5, 6 or 7 bytes (which KVM makes of
 * an access that crosses a page): reads are all ones, writes vanish.
 */
enum bus_verdict bus_dispatch(struct bus *bus, struct bus_access *access);

/* Answers an access that was deferred. */
static inline void bus_access_complete(struct bus_access *access)
{
    access->complete(access);
}
