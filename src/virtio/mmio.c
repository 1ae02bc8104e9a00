#include "virtio/mmio.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "virtio/doorbells.h"

/* 4.2.2, "virt"; the version before was the legacy one. */
enum { MAGIC = 0x74726976, VERSION = 2, VENDOR_ID = 0x1af4 };

struct virtio_mmio {
    struct bus_range range;
    struct virtio_device *device;
    struct bus *bus;
    struct irq_line irq;
    struct virtio_doorbells doorbells;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

_Static_assert(VIRTIO_MMIO_LEN > VIRTIO_MMIO_CONFIG, "4.2.2");

/* ---- interrupts; state.isr is InterruptStatus ---- */

static void interrupt(struct virtio_mmio *mmio, uint8_t bit)
{
    mmio->device->state.isr |= bit;
    irq_line_set(&mmio->irq, true);
}

static void queue_interrupt(void *transport, uint16_t index)
{
    (void)index;
    interrupt(transport, VIRTIO_MMIO_INT_VRING);
}

static void config_interrupt(void *transport)
{
    interrupt(transport, VIRTIO_MMIO_INT_CONFIG);
}

static void interrupt_acknowledge(struct virtio_mmio *mmio, uint32_t bits)
{
    mmio->device->state.isr &= (uint8_t)~bits;
    if (!mmio->device->state.isr)
        irq_line_set(&mmio->irq, false);
}

static void interrupt_reset(void *transport)
{
    irq_line_set(&((struct virtio_mmio *)transport)->irq, false);
}

static const struct virtio_transport_ops transport_ops = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .reset = interrupt_reset,
};

/* ---- registers, 4.2.2 ---- */

/* What is write-only, reserved or of a feature that is not offered reads 0. */
static uint32_t register_read(const struct virtio_mmio *mmio, uint32_t offset)
{
    struct virtio_device *device = mmio->device;
    const struct virtio_queue_state *queue = virtio_device_queue_selected(device);

    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
    case VIRTIO_MMIO_VERSION:
        return VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return device->id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR_ID;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return virtio_device_features_read(device, device->state.device_feature_select);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return queue ? device->queue_specs[device->state.queue_select].size_max : 0;
    case VIRTIO_MMIO_QUEUE_READY:
        return queue && queue->enabled;
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return device->state.isr;
    case VIRTIO_MMIO_STATUS:
        return device->state.status;
    case VIRTIO_MMIO_SHM_LEN_LOW: /* there is no shared memory */
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return UINT32_MAX;
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return device->config_generation;
    default:
        return 0;
    }
}

static void queue_address_write(struct virtio_device *device, uint32_t offset, uint32_t value)
{
    struct virtq_config *config = virtio_device_queue_config(device);
    uint8_t *address;

    if (!config)
        return;
    switch (offset & ~4U) {
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
        address = (uint8_t *)&config->desc;
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
        address = (uint8_t *)&config->driver;
        break;
    default: /* VIRTIO_MMIO_QUEUE_USED_LOW */
        address = (uint8_t *)&config->device;
        break;
    }
    memcpy(address + (offset & 4), &value, sizeof(value));
}

static enum bus_verdict register_write(struct virtio_mmio *mmio, uint32_t offset, uint32_t value,
                                       struct bus_access *access)
{
    struct virtio_device *device = mmio->device;
    struct virtio_state *state = &device->state;

    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        state->device_feature_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        state->driver_feature_select = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        virtio_device_features_write(device, state->driver_feature_select, value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL: /* no device has so many that the last one is one of them */
        state->queue_select = (uint16_t)u64_min(value, UINT16_MAX);
        break;
    case VIRTIO_MMIO_QUEUE_NUM:
        virtio_device_queue_size_write(device, (uint16_t)u64_min(value, UINT16_MAX));
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        if (value == 1)
            virtio_device_queue_enable(device);
        else if (value == 0)
            return virtio_device_queue_disable(device, access);
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        if (value < device->queue_count)
            virtio_device_notify(device, (uint16_t)value);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        interrupt_acknowledge(mmio, value);
        break;
    case VIRTIO_MMIO_STATUS: /* 0x100 is not 0: no reset */
        if (value <= UINT8_MAX)
            return virtio_device_status_write(device, (uint8_t)value, access);
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        queue_address_write(device, offset, value);
        break;
    }
    return BUS_DONE;
}

static enum bus_verdict page_access(struct bus_range *range, struct bus_access *access)
{
    struct virtio_mmio *mmio = container_of(range, struct virtio_mmio, range);
    uint32_t offset = (uint32_t)access->offset;

    if (offset >= VIRTIO_MMIO_CONFIG) {
        offset -= VIRTIO_MMIO_CONFIG;
        if (access->is_write)
            virtio_device_config_write(mmio->device, offset, &access->value, access->size);
        else
            virtio_device_config_read(mmio->device, offset, &access->value, access->size);
        return BUS_DONE;
    }
    /* Registers are accessed as 32 aligned bits (4.2.2.2); whatever else is tried reads 0. */
    if (access->size == 4 && offset % 4 == 0) {
        if (access->is_write)
            return register_write(mmio, offset, (uint32_t)access->value, access);
        access->value = register_read(mmio, offset);
    } else if (!access->is_write) {
        access->value = 0;
    }
    return BUS_DONE;
}

static const struct bus_range_ops page_ops = {.access = page_access};

/* ---- set-up ---- */

static void doorbells_add(struct virtio_mmio *mmio)
{
    for (uint16_t i = 0; i < mmio->device->queue_count; i++) {
        const struct doorbell doorbell = {
            .addr = mmio->range.base + VIRTIO_MMIO_QUEUE_NOTIFY,
            .len = 4,
            .match = true,
            .value = i,
        };

        virtio_doorbells_set(&mmio->doorbells, VIRTIO_DOORBELL_MEMORY, i, &doorbell);
    }
}

int virtio_mmio_create(struct virtio_mmio **out, struct virtio_device *device,
                       const struct virtio_mmio_config *config, struct err *err)
{
    struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));
    int ret;

    CHECK_CMP(device->config_len, <=, (uint32_t)(VIRTIO_MMIO_LEN - VIRTIO_MMIO_CONFIG));
    if (!mmio)
        return err_set(err, -ENOMEM, "%s: out of memory", device->name);
    mmio->device = device;
    mmio->bus = config->bus;
    mmio->irq = config->irq;
    mmio->range = (struct bus_range){
        .ops = &page_ops, .name = device->name, .base = config->base, .len = VIRTIO_MMIO_LEN};
    ret = virtio_doorbells_open(&mmio->doorbells, device, config->doorbells, err);
    if (ret)
        goto fail_mmio;
    ret = bus_add(mmio->bus, &mmio->range, err);
    if (ret)
        goto fail_doorbells;
    virtio_device_attach(device,
                         (struct virtio_transport){.ops = &transport_ops, .transport = mmio},
                         mmio->doorbells.fds);
    doorbells_add(mmio);
    *out = mmio;
    return 0;
fail_doorbells:
    virtio_doorbells_close(&mmio->doorbells);
fail_mmio:
    free(mmio);
    return ret;
}

void virtio_mmio_destroy(struct virtio_mmio *mmio)
{
    if (!mmio)
        return;
    CHECK(mmio->device->phase == VIRTIO_IDLE);
    virtio_doorbells_close(&mmio->doorbells);
    bus_remove(mmio->bus, &mmio->range);
    free(mmio);
}

static void mmio_stopped(struct virtio_device *device, void *arg)
{
    struct virtio_mmio *mmio = arg;

    (void)device;
    mmio->stopped(mmio->stopped_arg);
}

void virtio_mmio_shutdown(struct virtio_mmio *mmio, void (*stopped)(void *arg), void *arg)
{
    mmio->stopped = stopped;
    mmio->stopped_arg = arg;
    virtio_device_shutdown(mmio->device, mmio_stopped, mmio);
}
