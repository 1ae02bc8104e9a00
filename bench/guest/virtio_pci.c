/* The PCI transport (virtio 1.2, 4.1). */
#include <linux/virtio_pci.h>
#include <stddef.h>

#include "virtio.h"

enum {
    VENDOR_ID = 0x1af4,
    DEVICE_ID_MODERN = 0x1040,
    CAPABILITY_VENDOR = 0x09,
    DEVICE_ID_NET_OLD = 0x1000, /* of devices that have both interfaces */
    DEVICE_ID_BLOCK_OLD = 0x1001,
    VIRTIO_NET = 1,
    VIRTIO_BLOCK = 2,
    QUEUE_VECTOR = 0,
    NO_VECTOR = 0xffff,
};

static volatile uint8_t *common(struct virtio *virtio, uint32_t offset)
{
    return virtio->registers + offset;
}

static void write16(struct virtio *virtio, uint32_t offset, uint16_t value)
{
    *(volatile uint16_t *)(volatile void *)common(virtio, offset) = value;
}

static uint16_t read16(struct virtio *virtio, uint32_t offset)
{
    return *(volatile uint16_t *)(volatile void *)common(virtio, offset);
}

static void write32(struct virtio *virtio, uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)(volatile void *)common(virtio, offset) = value;
}

static void write64(struct virtio *virtio, uint32_t offset, const volatile void *address)
{
    write32(virtio, offset, (uint32_t)(uintptr_t)address);
    write32(virtio, offset + 4, (uint32_t)((uintptr_t)address >> 32));
}

static uint32_t features_read(struct virtio *virtio, uint32_t word)
{
    write32(virtio, VIRTIO_PCI_COMMON_DFSELECT, word);
    return *(volatile uint32_t *)(volatile void *)common(virtio, VIRTIO_PCI_COMMON_DF);
}

static void features_write(struct virtio *virtio, uint32_t word, uint32_t value)
{
    write32(virtio, VIRTIO_PCI_COMMON_GFSELECT, word);
    write32(virtio, VIRTIO_PCI_COMMON_GF, value);
}

static uint8_t status_read(struct virtio *virtio)
{
    return *common(virtio, VIRTIO_PCI_COMMON_STATUS);
}

static void status_write(struct virtio *virtio, uint8_t status)
{
    *common(virtio, VIRTIO_PCI_COMMON_STATUS) = status;
}

static uint16_t queue_size_max(struct virtio *virtio, uint16_t index)
{
    write16(virtio, VIRTIO_PCI_COMMON_Q_SELECT, index);
    return read16(virtio, VIRTIO_PCI_COMMON_Q_SIZE);
}

static void queue_start(struct virtio *virtio, uint16_t index, struct queue *queue, bool interrupts)
{
    struct queue_areas areas = queue_areas(queue);

    write16(virtio, VIRTIO_PCI_COMMON_Q_SELECT, index);
    write16(virtio, VIRTIO_PCI_COMMON_Q_SIZE, queue->size);
    write16(virtio, VIRTIO_PCI_COMMON_Q_MSIX, interrupts ? QUEUE_VECTOR : NO_VECTOR);
    write64(virtio, VIRTIO_PCI_COMMON_Q_DESCLO, areas.desc);
    write64(virtio, VIRTIO_PCI_COMMON_Q_AVAILLO, areas.driver);
    write64(virtio, VIRTIO_PCI_COMMON_Q_USEDLO, areas.device);
    queue->notify =
        virtio->notify + read16(virtio, VIRTIO_PCI_COMMON_Q_NOFF) * virtio->notify_multiplier;
    queue->notify_value = index;
    write16(virtio, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
}

static const struct virtio_ops pci_ops = {
    .name = "pci",
    .features_read = features_read,
    .features_write = features_write,
    .status_read = status_read,
    .status_write = status_write,
    .queue_size_max = queue_size_max,
    .queue_start = queue_start,
};

/* The structures that the capabilities point at; the first of each kind in memory counts (4.1.4).
 */
static bool structures_find(struct virtio *virtio, const struct pci_function *function)
{
    uint8_t at = 0;

    while ((at = pci_capability_next(function, CAPABILITY_VENDOR, at))) {
        uint8_t kind = (uint8_t)(pci_capability_read(function, at, 0) >> 24);
        uint8_t bar = (uint8_t)pci_capability_read(function, at, 4);
        uint32_t offset = pci_capability_read(function, at, 8);
        volatile uint8_t *place;

        if (bar >= PCI_BAR_COUNT || !function->bars[bar])
            continue;
        place = function->bars[bar] + offset;
        if (kind == VIRTIO_PCI_CAP_COMMON_CFG && !virtio->registers)
            virtio->registers = place;
        if (kind == VIRTIO_PCI_CAP_DEVICE_CFG && !virtio->config)
            virtio->config = place;
        if (kind == VIRTIO_PCI_CAP_NOTIFY_CFG && !virtio->notify) {
            virtio->notify = place;
            virtio->notify_multiplier = pci_capability_read(function, at, 16);
        }
    }
    return virtio->registers && virtio->config && virtio->notify;
}

static bool is_device(const struct pci_function *function, uint16_t id)
{
    uint16_t old = id == VIRTIO_NET     ? DEVICE_ID_NET_OLD
                   : id == VIRTIO_BLOCK ? DEVICE_ID_BLOCK_OLD
                                        : 0;

    return function->vendor_id == VENDOR_ID &&
           (function->device_id == DEVICE_ID_MODERN + id || (old && function->device_id == old));
}

bool virtio_pci_find(struct virtio *virtio, uint16_t id)
{
    struct pci_function function = {.address = 0};

    if (!pci_config_exists())
        return false;
    while (pci_next(&function)) {
        if (!is_device(&function, id))
            continue;
        *virtio = (struct virtio){.ops = &pci_ops};
        pci_start(&function);
        if (!structures_find(virtio, &function))
            continue;
        virtio->has_interrupts = pci_msix_enable(&function, interrupt_message());
        return true;
    }
    return false;
}
