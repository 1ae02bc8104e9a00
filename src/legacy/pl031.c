#include "legacy/pl031.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "legacy/alarm.h"

/* DDI 0224, table 3-1. */
enum {
    REG_DATA = 0x00,
    REG_MATCH = 0x04,
    REG_LOAD = 0x08,
    REG_CONTROL = 0x0c,
    REG_MASK = 0x10,
    REG_RAW_STATUS = 0x14,
    REG_STATUS = 0x18,
    REG_CLEAR = 0x1c,
    REG_ID = 0xfe0, /* peripheral, then PrimeCell: a byte in each word */
    REG_END = 0x1000,

    INTERRUPT = 1,
    CONTROL_STARTED = 1,
};

static const uint8_t id[] = {0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

struct pl031 {
    struct bus_range range;
    struct bus *bus;
    struct irq_line irq;
    uint64_t (*now_ns)(void *arg);
    void *now_arg;
    struct alarm alarm;

    uint32_t offset_s; /* of the guest's time to the host's, modulo 2^32 */
    uint32_t match_s, load_s;
    bool is_enabled; /* the interrupt */
    bool is_raised;
};

static uint64_t host_now_ns(void *arg)
{
    struct timespec now;

    (void)arg;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint32_t guest_s(const struct pl031 *pl031)
{
    return (uint32_t)(pl031->now_ns(pl031->now_arg) / NS_PER_S) + pl031->offset_s;
}

static void irq_update(const struct pl031 *pl031)
{
    irq_line_set(&pl031->irq, pl031->is_enabled && pl031->is_raised);
}

static int32_t left_s(const struct pl031 *pl031)
{
    return (int32_t)(pl031->match_s - guest_s(pl031));
}

/* The chip compares for equality, so a match that is behind comes in 2^32 seconds: never. */
static void alarm_update(struct pl031 *pl031)
{
    uint64_t past_ns = pl031->now_ns(pl031->now_arg) % NS_PER_S;
    int32_t wait_s = left_s(pl031);

    if (pl031->is_raised || wait_s <= 0)
        alarm_clear(&pl031->alarm);
    else
        alarm_set(&pl031->alarm, clock_now_ns() + (uint64_t)wait_s * NS_PER_S - past_ns);
}

static void alarm_rings(struct alarm *alarm)
{
    struct pl031 *pl031 = container_of(alarm, struct pl031, alarm);

    /* The host's clock may have been set back meanwhile. */
    if (left_s(pl031) > 0) {
        alarm_update(pl031);
        return;
    }
    pl031->is_raised = true;
    irq_update(pl031);
}

static uint32_t read_register(const struct pl031 *pl031, uint64_t offset)
{
    switch (offset) {
    case REG_DATA:
        return guest_s(pl031);
    case REG_MATCH:
        return pl031->match_s;
    case REG_LOAD:
        return pl031->load_s;
    case REG_CONTROL:
        return CONTROL_STARTED;
    case REG_MASK:
        return pl031->is_enabled ? INTERRUPT : 0;
    case REG_RAW_STATUS:
        return pl031->is_raised ? INTERRUPT : 0;
    case REG_STATUS:
        return pl031->is_raised && pl031->is_enabled ? INTERRUPT : 0;
    }
    return offset >= REG_ID ? id[(offset - REG_ID) / 4] : 0;
}

static void write_register(struct pl031 *pl031, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case REG_MATCH:
        pl031->match_s = value;
        if (!left_s(pl031))
            pl031->is_raised = true;
        break;
    case REG_LOAD:
        pl031->load_s = value;
        pl031->offset_s += value - guest_s(pl031);
        break;
    case REG_MASK:
        pl031->is_enabled = value & INTERRUPT;
        break;
    case REG_CLEAR:
        if (value & INTERRUPT)
            pl031->is_raised = false;
        break;
    default:
        return;
    }
    alarm_update(pl031);
    irq_update(pl031);
}

/* Words only, as on the peripheral bus that such chips sit on. */
static enum bus_verdict registers_access(struct bus_range *range, struct bus_access *access)
{
    struct pl031 *pl031 = container_of(range, struct pl031, range);

    bool is_word = access->size == 4 && access->offset % 4 == 0;

    if (!access->is_write)
        access->value = is_word ? read_register(pl031, access->offset) : 0;
    else if (is_word)
        write_register(pl031, access->offset, (uint32_t)access->value);
    return BUS_DONE;
}

static const struct bus_range_ops registers_ops = {.access = registers_access};

int pl031_create(struct pl031 **out, const struct pl031_config *config, struct err *err)
{
    struct pl031 *pl031 = calloc(1, sizeof(*pl031));
    int ret;

    if (!pl031)
        return err_set(err, -ENOMEM, "clock: out of memory");
    pl031->range = (struct bus_range){.ops = &registers_ops,
                                      .name = "clock",
                                      .base = config->base,
                                      .len = REG_END,
                                      .width_max = 4};
    pl031->bus = config->bus;
    pl031->irq = config->irq;
    pl031->now_ns = config->now_ns ? config->now_ns : host_now_ns;
    pl031->now_arg = config->now_arg;
    pl031->alarm = (struct alarm){.executor = config->executor, .ring = alarm_rings};
    ret = bus_add(pl031->bus, &pl031->range, err);
    if (ret) {
        free(pl031);
        return ret;
    }
    *out = pl031;
    return 0;
}

void pl031_stop(struct pl031 *pl031)
{
    alarm_clear(&pl031->alarm);
}

void pl031_destroy(struct pl031 *pl031)
{
    if (!pl031)
        return;
    bus_remove(pl031->bus, &pl031->range);
    free(pl031);
}

void pl031_reset(struct pl031 *pl031)
{
    alarm_clear(&pl031->alarm);
    pl031->match_s = pl031->load_s = 0;
    pl031->is_enabled = pl031->is_raised = false;
    irq_update(pl031);
}
