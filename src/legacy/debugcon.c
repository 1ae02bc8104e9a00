#include "legacy/debugcon.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

enum { DEBUGCON_SIGNATURE = 0xe9 };

struct debugcon {
    struct bus_range range;
    struct bus *bus;
    struct chardev *chardev;
    uint64_t lost; /* bytes */
    struct log_limit log_limit;
};

static enum bus_verdict debugcon_access(struct bus_range *range, struct bus_access *access)
{
    struct debugcon *debugcon = container_of(range, struct debugcon, range);
    uint8_t byte = (uint8_t)access->value;

    if (!access->is_write) {
        access->value = DEBUGCON_SIGNATURE;
        return BUS_DONE;
    }
    if (chardev_write(debugcon->chardev, &byte, 1))
        return BUS_DONE;
    debugcon->lost++;
    log_limited(&debugcon->log_limit, LOG_WARN,
                "debug console: output is not read fast enough, %llu bytes are lost so far",
                (unsigned long long)debugcon->lost);
    return BUS_DONE;
}

static const struct bus_range_ops range_ops = {.access = debugcon_access};

int debugcon_create(struct debugcon **out, const struct debugcon_config *config, struct err *err)
{
    struct debugcon *debugcon = calloc(1, sizeof(*debugcon));
    int ret;

    if (!debugcon)
        return err_set(err, -ENOMEM, "debug console: out of memory");
    debugcon->bus = config->bus;
    debugcon->chardev = config->chardev;
    debugcon->range = (struct bus_range){
        .ops = &range_ops, .name = "debug console", .base = config->port, .len = 1, .width_max = 1};
    ret = bus_add(debugcon->bus, &debugcon->range, err);
    if (ret) {
        free(debugcon);
        return ret;
    }
    *out = debugcon;
    return 0;
}

void debugcon_destroy(struct debugcon *debugcon)
{
    if (!debugcon)
        return;
    bus_remove(debugcon->bus, &debugcon->range);
    free(debugcon);
}
