/* The structures in the BAR (virtio 1.2, 4.1.4): every access, of any width, in any state. */
#include <linux/virtio_pci.h>
#include <string.h>

#include "base/arith.h"
#include "virtio/pci_private.h"

_Static_assert(sizeof(struct virtio_pci_common_cfg) == 56, "4.1.4.3");
_Static_assert(offsetof(struct virtio_pci_common_cfg, queue_used_hi) == VIRTIO_PCI_COMMON_Q_USEDHI,
               "4.1.4.3");
_Static_assert(PCI_REGION_SIZE / PCI_NOTIFY_MULTIPLIER >= (int)VIRTIO_QUEUE_COUNT_MAX, "notify");
_Static_assert(PCI_REGION_SIZE >= (int)VIRTIO_CONFIG_LEN_MAX, "device");
_Static_assert(PCI_MSIX_PENDING_OFFSET - PCI_MSIX_TABLE_OFFSET >= 16 * (int)MSIX_VECTOR_COUNT_MAX,
               "MSI-X table");

/* ---- common configuration structure, 4.1.4.3 ---- */

/* A vector that the table does not have reads back as none (4.1.4.3, 4.1.5.1.2). */
static uint16_t vector_check(const struct virtio_pci *pci, uint16_t vector)
{
    return vector < msix_count(pci->msix) ? vector : VIRTIO_NO_VECTOR;
}

static uint64_t bytes_read(const void *bytes, uint32_t len, uint32_t offset, uint8_t size)
{
    uint64_t value = 0;

    if (offset < len)
        memcpy(&value, (const uint8_t *)bytes + offset, u64_min(size, len - offset));
    return value;
}

/* Rendered as a whole, so that a read of any width at any offset has an answer: none has a side
 * effect. */
static uint64_t common_read(struct virtio_pci *pci, uint32_t offset, uint8_t size)
{
    const struct virtio_device *device = pci->device;
    const struct virtio_state *state = &device->state;
    const struct virtio_queue_state *queue = virtio_device_queue_selected(pci->device);
    uint32_t select = state->driver_feature_select;
    struct virtio_pci_common_cfg common = {
        .device_feature_select = state->device_feature_select,
        .device_feature = virtio_device_features_read(device, state->device_feature_select),
        .guest_feature_select = select,
        .guest_feature = select < 2 ? state->driver_features >> 32 * select : 0,
        .msix_config = state->config_vector,
        .num_queues = device->queue_count,
        .device_status = state->status,
        .config_generation = device->config_generation,
        .queue_select = state->queue_select,
    };

    if (queue) {
        common.queue_size = queue->config.size;
        common.queue_msix_vector = queue->vector;
        common.queue_enable = queue->enabled;
        common.queue_notify_off = state->queue_select;
        common.queue_desc_lo = queue->config.desc;
        common.queue_desc_hi = queue->config.desc >> 32;
        common.queue_avail_lo = queue->config.driver;
        common.queue_avail_hi = queue->config.driver >> 32;
        common.queue_used_lo = queue->config.device;
        common.queue_used_hi = queue->config.device >> 32;
    }
    return bytes_read(&common, sizeof(common), offset, size);
}

static void half_write(uint64_t *field, bool high, uint32_t value)
{
    *field =
        high ? (uint32_t)*field | (uint64_t)value << 32 : align_down(*field, 1ULL << 32) | value;
}

/* 64-bit fields are written as two halves (4.1.3.1). */
static void queue_address_write(struct virtio_pci *pci, uint32_t offset, uint32_t value)
{
    struct virtq_config *config = virtio_device_queue_config(pci->device);
    bool high = offset & 4;

    if (!config)
        return;
    switch (offset & ~4U) {
    case VIRTIO_PCI_COMMON_Q_DESCLO:
        half_write(&config->desc, high, value);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
        half_write(&config->driver, high, value);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
        half_write(&config->device, high, value);
        break;
    }
}

/* Writes count when they have a field's own offset and width (4.1.3.1); others are ignored. */
#define FIELD(offset, size) ((offset) << 4 | (size))

static enum bus_verdict common_write(struct virtio_pci *pci, uint32_t offset, uint8_t size,
                                     uint64_t value, struct bus_access *deferrable)
{
    struct virtio_device *device = pci->device;
    struct virtio_state *state = &device->state;
    struct virtio_queue_state *queue = virtio_device_queue_selected(device);

    if (FIELD(offset, size) == FIELD(VIRTIO_PCI_COMMON_STATUS, 1))
        return virtio_device_status_write(device, value, deferrable);
    switch (FIELD(offset, size)) {
    case FIELD(VIRTIO_PCI_COMMON_DFSELECT, 4):
        state->device_feature_select = value;
        break;
    case FIELD(VIRTIO_PCI_COMMON_GFSELECT, 4):
        state->driver_feature_select = value;
        break;
    case FIELD(VIRTIO_PCI_COMMON_GF, 4):
        virtio_device_features_write(device, state->driver_feature_select, value);
        break;
    case FIELD(VIRTIO_PCI_COMMON_MSIX, 2):
        state->config_vector = vector_check(pci, value);
        break;
    case FIELD(VIRTIO_PCI_COMMON_Q_SELECT, 2):
        state->queue_select = value;
        break;
    case FIELD(VIRTIO_PCI_COMMON_Q_SIZE, 2):
        virtio_device_queue_size_write(device, value);
        break;
    case FIELD(VIRTIO_PCI_COMMON_Q_MSIX, 2):
        if (queue)
            queue->vector = vector_check(pci, value);
        virtio_device_interrupts_changed(device);
        break;
    case FIELD(VIRTIO_PCI_COMMON_Q_ENABLE, 2):
        if (value == 1) /* 4.1.4.3.2: never 0 */
            virtio_device_queue_enable(device);
        break;
    case FIELD(VIRTIO_PCI_COMMON_Q_DESCLO, 4):
    case FIELD(VIRTIO_PCI_COMMON_Q_DESCHI, 4):
    case FIELD(VIRTIO_PCI_COMMON_Q_AVAILLO, 4):
    case FIELD(VIRTIO_PCI_COMMON_Q_AVAILHI, 4):
    case FIELD(VIRTIO_PCI_COMMON_Q_USEDLO, 4):
    case FIELD(VIRTIO_PCI_COMMON_Q_USEDHI, 4):
        queue_address_write(pci, offset, value);
        break;
    case FIELD(VIRTIO_PCI_COMMON_Q_DESCLO, 8):
    case FIELD(VIRTIO_PCI_COMMON_Q_AVAILLO, 8):
    case FIELD(VIRTIO_PCI_COMMON_Q_USEDLO, 8):
        queue_address_write(pci, offset, value);
        queue_address_write(pci, offset + 4, value >> 32);
        break;
    }
    return BUS_DONE;
}

/* ---- the other structures of the PCI_BAR ---- */

/* Reading the ISR byte clears it and drops the line (4.1.4.5.1). */
static uint64_t isr_read(struct virtio_pci *pci, uint32_t offset, uint8_t size)
{
    uint8_t isr = pci->device->state.isr;

    if (offset)
        return 0;
    pci->device->state.isr = 0;
    pci_function_set_intx(&pci->function, false);
    return bytes_read(&isr, sizeof(isr), offset, size);
}

static uint64_t device_config_read(struct virtio_pci *pci, uint32_t offset, uint8_t size)
{
    uint64_t value = 0;

    virtio_device_config_read(pci->device, offset, &value, size);
    return value;
}

static uint64_t region_read(struct virtio_pci *pci, uint64_t base, uint32_t offset, uint8_t size)
{
    switch (base) {
    case PCI_COMMON_OFFSET:
        return common_read(pci, offset, size);
    case PCI_ISR_OFFSET:
        return isr_read(pci, offset, size);
    case PCI_DEVICE_OFFSET:
        return device_config_read(pci, offset, size);
    }
    return 0;
}

void virtio_pci_notify(struct virtio_pci *pci, uint64_t offset)
{
    if (offset % PCI_NOTIFY_MULTIPLIER == 0 &&
        offset / PCI_NOTIFY_MULTIPLIER < VIRTIO_QUEUE_COUNT_MAX)
        virtio_device_notify(pci->device, (uint16_t)(offset / PCI_NOTIFY_MULTIPLIER));
}

static enum bus_verdict region_write(struct virtio_pci *pci, uint64_t base, uint32_t offset,
                                     struct bus_access *access, bool may_defer)
{
    switch (base) {
    case PCI_COMMON_OFFSET:
        return common_write(pci, offset, access->size, access->value, may_defer ? access : NULL);
    case PCI_DEVICE_OFFSET:
        virtio_device_config_write(pci->device, offset, &access->value, access->size);
        break;
    case PCI_NOTIFY_OFFSET:
        virtio_pci_notify(pci, offset);
        break;
    }
    return BUS_DONE;
}

/* access->offset is inside the PCI_BAR, and the access does not leave it. */
enum bus_verdict virtio_pci_bar_access(struct virtio_pci *pci, struct bus_access *access,
                                       bool may_defer)
{
    uint64_t base = align_down(access->offset, PCI_REGION_SIZE);
    uint32_t offset = access->offset - base;

    if (msix_bar_access(pci->msix, access)) {
        if (access->is_write)
            virtio_device_interrupts_changed(pci->device);
        return BUS_DONE;
    }
    if (access->is_write)
        return region_write(pci, base, offset, access, may_defer);
    access->value = region_read(pci, base, offset, access->size);
    return BUS_DONE;
}
