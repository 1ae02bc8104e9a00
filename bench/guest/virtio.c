#include "virtio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "console.h"
#include "guest.h"
#include "memory.h"

void virtio_find(struct virtio *virtio, uint16_t id)
{
    if (!virtio_pci_find(virtio, id) && !virtio_mmio_find(virtio, id))
        guest_fail("the machine does not have the virtio device that this is about");
}

bool virtio_has(const struct virtio *virtio, unsigned feature)
{
    return virtio->features >> feature & 1;
}

void virtio_reset(struct virtio *virtio)
{
    virtio->ops->status_write(virtio, 0);
    while (virtio->ops->status_read(virtio))
        cpu_relax();
}

static void features_negotiate(struct virtio *virtio, uint64_t wanted)
{
    const struct virtio_ops *ops = virtio->ops;
    uint64_t offered = ops->features_read(virtio, 0) | (uint64_t)ops->features_read(virtio, 1)
                                                           << 32;

    wanted |= 1ULL << VIRTIO_F_VERSION_1;
    virtio->features = offered & wanted;
    ops->features_write(virtio, 0, (uint32_t)virtio->features);
    ops->features_write(virtio, 1, (uint32_t)(virtio->features >> 32));
}

static void queues_start(struct virtio *virtio, const struct virtio_setup *setup,
                         struct queue *queues)
{
    for (uint16_t i = 0; i < setup->queue_count; i++) {
        uint16_t size = virtio->ops->queue_size_max(virtio, i);

        if (!size)
            guest_fail("the virtio device lacks a queue");
        queue_init(&queues[i], size < setup->queue_size_max ? size : setup->queue_size_max,
                   setup->packed, virtio_has(virtio, VIRTIO_RING_F_EVENT_IDX));
        virtio->ops->queue_start(virtio, i, &queues[i], setup->interrupts);
    }
}

void virtio_start(struct virtio *virtio, const struct virtio_setup *setup, struct queue *queues)
{
    const struct virtio_ops *ops = virtio->ops;
    uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

    if (setup->interrupts && !virtio->has_interrupts)
        guest_fail("interrupts need a device with MSI-X");
    virtio_reset(virtio);
    ops->status_write(virtio, status);
    features_negotiate(virtio,
                       setup->features | (setup->packed ? 1ULL << VIRTIO_F_RING_PACKED : 0));
    status |= VIRTIO_CONFIG_S_FEATURES_OK;
    ops->status_write(virtio, status);
    if (!virtio_has(virtio, VIRTIO_F_VERSION_1) ||
        !(ops->status_read(virtio) & VIRTIO_CONFIG_S_FEATURES_OK))
        guest_fail("the virtio device is not a modern one, or refuses the features");
    if (setup->packed && !virtio_has(virtio, VIRTIO_F_RING_PACKED))
        guest_fail("packed=1: the virtio device does not offer packed rings");
    queues_start(virtio, setup, queues);
    ops->status_write(virtio, status | VIRTIO_CONFIG_S_DRIVER_OK);
}
