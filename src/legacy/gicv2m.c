#include "legacy/gicv2m.h"

#include <errno.h>
#include <stdlib.h>

enum { FRAME_LEN = 0x1000, MSI_TYPER = 0x8, MSI_SETSPI_NS = 0x40, TYPER_BASE_SHIFT = 16 };

struct gicv2m {
    struct bus_range range;
    struct gicv2m_config config;
    uint32_t vector; /* of what processors write here */
};

static void message_send(const struct gicv2m *gicv2m, uint32_t data)
{
    const struct msi_chip *msi = &gicv2m->config.msi;
    const struct msi_message message = {.address = gicv2m->config.base + MSI_SETSPI_NS,
                                        .data = data};

    if (!msi->ops->route(msi->chip, gicv2m->vector, &message))
        msi->ops->signal(msi->chip, gicv2m->vector);
}

static enum bus_verdict gicv2m_access(struct bus_range *range, struct bus_access *access)
{
    const struct gicv2m *gicv2m = container_of(range, struct gicv2m, range);

    /* All other registers, with the identification, are zero. */
    if (!access->is_write)
        access->value =
            access->offset == MSI_TYPER
                ? (uint32_t)gicv2m->config.spi_base << TYPER_BASE_SHIFT | gicv2m->config.spi_count
                : 0;
    else if (access->offset == MSI_SETSPI_NS)
        message_send(gicv2m, (uint32_t)access->value);
    return BUS_DONE;
}

static const struct bus_range_ops gicv2m_range_ops = {.access = gicv2m_access};

int gicv2m_create(struct gicv2m **out, const struct gicv2m_config *config, struct err *err)
{
    struct gicv2m *gicv2m = calloc(1, sizeof(*gicv2m));
    int ret;

    if (!gicv2m)
        return err_set(err, -ENOMEM, "gicv2m: out of memory");
    gicv2m->config = *config;
    gicv2m->range = (struct bus_range){
        .ops = &gicv2m_range_ops,
        .name = "gicv2m",
        .base = config->base,
        .len = FRAME_LEN,
    };
    ret = config->msi.ops->alloc(config->msi.chip, &gicv2m->vector);
    if (ret) {
        err_set(err, ret, "gicv2m: no interrupt message is left");
        goto fail_vector;
    }
    ret = bus_add(config->bus, &gicv2m->range, err);
    if (ret)
        goto fail_range;
    *out = gicv2m;
    return 0;
fail_range:
    config->msi.ops->free(config->msi.chip, gicv2m->vector);
fail_vector:
    free(gicv2m);
    return ret;
}

void gicv2m_destroy(struct gicv2m *gicv2m)
{
    if (!gicv2m)
        return;
    bus_remove(gicv2m->config.bus, &gicv2m->range);
    gicv2m->config.msi.ops->free(gicv2m->config.msi.chip, gicv2m->vector);
    free(gicv2m);
}
