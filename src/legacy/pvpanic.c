#include "legacy/pvpanic.h"

#include <errno.h>
#include <stdlib.h>

/* What a guest may report; a read says what the monitor understands. */
enum {
    EVENT_PANICKED = 1 << 0,
    EVENT_CRASH_LOADED = 1 << 1,
    EVENT_SHUT_DOWN = 1 << 2,
    EVENT_MASK = EVENT_PANICKED | EVENT_CRASH_LOADED | EVENT_SHUT_DOWN,
};

struct pvpanic {
    struct bus_range range;
    struct bus *bus;
    struct machine machine;
};

static void event_report(const struct pvpanic *pvpanic, uint8_t events)
{
    enum machine_report report;

    if (events & EVENT_PANICKED)
        report = MACHINE_PANICKED;
    else if (events & EVENT_CRASH_LOADED)
        report = MACHINE_CRASH_LOADED;
    else if (events & EVENT_SHUT_DOWN)
        report = MACHINE_SHUT_DOWN;
    else
        return;
    pvpanic->machine.report(pvpanic->machine.arg, report);
}

static enum bus_verdict pvpanic_access(struct bus_range *range, struct bus_access *access)
{
    struct pvpanic *pvpanic = container_of(range, struct pvpanic, range);

    if (access->is_write)
        event_report(pvpanic, (uint8_t)access->value);
    else
        access->value = EVENT_MASK;
    return BUS_DONE;
}

static const struct bus_range_ops pvpanic_range_ops = {.access = pvpanic_access};

int pvpanic_create(struct pvpanic **out, const struct pvpanic_config *config, struct err *err)
{
    struct pvpanic *pvpanic = calloc(1, sizeof(*pvpanic));
    int ret;

    if (!pvpanic)
        return err_set(err, -ENOMEM, "pvpanic: out of memory");
    pvpanic->bus = config->bus;
    pvpanic->machine = config->machine;
    pvpanic->range = (struct bus_range){
        .ops = &pvpanic_range_ops,
        .name = "pvpanic",
        .base = config->base,
        .len = 1,
    };
    ret = bus_add(config->bus, &pvpanic->range, err);
    if (ret) {
        free(pvpanic);
        return ret;
    }
    *out = pvpanic;
    return 0;
}

void pvpanic_destroy(struct pvpanic *pvpanic)
{
    if (!pvpanic)
        return;
    bus_remove(pvpanic->bus, &pvpanic->range);
    free(pvpanic);
}
