/*
 * The MMIO transport (virtio 1.2, 4.2), of devices that the command line announces as for Linux:
 * virtio_mmio.device=SIZE@ADDRESS:INTERRUPT. Without interrupts.
 */
#include <linux/virtio_mmio.h>
#include <stddef.h>

#include "cmdline.h"
#include "virtio.h"

enum { MAGIC = 0x74726976, VERSION_MODERN = 2 };

static volatile uint32_t *reg(struct virtio *virtio, uint32_t offset)
{
    return (volatile uint32_t *)(volatile void *)(virtio->registers + offset);
}

static uint32_t features_read(struct virtio *virtio, uint32_t word)
{
    *reg(virtio, VIRTIO_MMIO_DEVICE_FEATURES_SEL) = word;
    return *reg(virtio, VIRTIO_MMIO_DEVICE_FEATURES);
}

static void features_write(struct virtio *virtio, uint32_t word, uint32_t value)
{
    *reg(virtio, VIRTIO_MMIO_DRIVER_FEATURES_SEL) = word;
    *reg(virtio, VIRTIO_MMIO_DRIVER_FEATURES) = value;
}

static uint8_t status_read(struct virtio *virtio)
{
    return (uint8_t)*reg(virtio, VIRTIO_MMIO_STATUS);
}

static void status_write(struct virtio *virtio, uint8_t status)
{
    *reg(virtio, VIRTIO_MMIO_STATUS) = status;
}

static uint16_t queue_size_max(struct virtio *virtio, uint16_t index)
{
    *reg(virtio, VIRTIO_MMIO_QUEUE_SEL) = index;
    return (uint16_t)*reg(virtio, VIRTIO_MMIO_QUEUE_NUM_MAX);
}

static void address_write(struct virtio *virtio, uint32_t offset, const void *address)
{
    *reg(virtio, offset) = (uint32_t)(uintptr_t)address;
    *reg(virtio, offset + 4) = (uint32_t)((uintptr_t)address >> 32);
}

static void queue_start(struct virtio *virtio, uint16_t index, struct queue *queue, bool interrupts)
{
    struct queue_areas areas = queue_areas(queue);

    (void)interrupts;
    *reg(virtio, VIRTIO_MMIO_QUEUE_SEL) = index;
    *reg(virtio, VIRTIO_MMIO_QUEUE_NUM) = queue->size;
    address_write(virtio, VIRTIO_MMIO_QUEUE_DESC_LOW, areas.desc);
    address_write(virtio, VIRTIO_MMIO_QUEUE_AVAIL_LOW, areas.driver);
    address_write(virtio, VIRTIO_MMIO_QUEUE_USED_LOW, areas.device);
    queue->notify = reg(virtio, VIRTIO_MMIO_QUEUE_NOTIFY);
    queue->notify_value = index;
    queue->notify_is_32_bits = true;
    *reg(virtio, VIRTIO_MMIO_QUEUE_READY) = 1;
}

static const struct virtio_ops mmio_ops = {
    .name = "mmio",
    .features_read = features_read,
    .features_write = features_write,
    .status_read = status_read,
    .status_write = status_write,
    .queue_size_max = queue_size_max,
    .queue_start = queue_start,
};

bool virtio_mmio_find(struct virtio *virtio, uint16_t id)
{
    const char *text = NULL;

    while ((text = cmdline_find_next("virtio_mmio.device", text))) {
        while (*text && *text != ' ' && *text != '@')
            text++;
        if (*text != '@')
            continue;
        text++;
        *virtio = (struct virtio){.ops = &mmio_ops};
        virtio->registers = (volatile uint8_t *)(uintptr_t)cmdline_parse(&text);
        virtio->config = virtio->registers + VIRTIO_MMIO_CONFIG;
        if (*reg(virtio, VIRTIO_MMIO_MAGIC_VALUE) == MAGIC &&
            *reg(virtio, VIRTIO_MMIO_VERSION) == VERSION_MODERN &&
            *reg(virtio, VIRTIO_MMIO_DEVICE_ID) == id)
            return true;
    }
    return false;
}
