#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "virtio/pci_private.h"

enum {
    VENDOR_ID = 0x1af4,
    DEVICE_ID_BASE = 0x1040, /* 4.1.2.1 */
    SUBSYSTEM_ID = 0x1100,
    CAPABILITY_ID_VENDOR = 0x09,

    /* 4.1.4.5 */
    ISR_QUEUE = 1,
    ISR_CONFIG = 2,
};

/* ---- interrupts ---- */

static void interrupt_send(struct virtio_pci *pci, uint16_t vector, uint8_t isr)
{
    if (msix_is_enabled(pci->msix)) {
        if (vector != VIRTIO_NO_VECTOR)
            msix_signal(pci->msix, vector);
        return;
    }
    pci->device->state.isr |= isr;
    pci_function_set_intx(&pci->function, true);
}

static void queue_interrupt(void *transport, uint16_t index)
{
    struct virtio_pci *pci = transport;

    interrupt_send(pci, pci->device->state.queues[index].vector, ISR_QUEUE);
}

static void config_interrupt(void *transport)
{
    struct virtio_pci *pci = transport;

    interrupt_send(pci, pci->device->state.config_vector, ISR_CONFIG);
}

static int queue_eventfd(void *transport, uint16_t index)
{
    struct virtio_pci *pci = transport;
    uint16_t vector = pci->device->state.queues[index].vector;

    return vector == VIRTIO_NO_VECTOR ? -1 : msix_eventfd(pci->msix, vector);
}

static void interrupts_reset(void *transport)
{
    struct virtio_pci *pci = transport;

    pci_function_set_intx(&pci->function, false);
}

static const struct virtio_transport_ops transport_ops = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .queue_eventfd = queue_eventfd,
    .reset = interrupts_reset,
};

static enum bus_verdict bar_range_access(struct bus_range *range, struct bus_access *access)
{
    struct virtio_pci *pci = container_of(range, struct virtio_pci, function.bars[PCI_BAR].range);

    return virtio_pci_bar_access(pci, access, true);
}

static const struct bus_range_ops bar_range_ops = {.access = bar_range_access};

static void port_access(struct virtio_pci *pci, struct bus_access *access)
{
    if (access->is_write)
        virtio_pci_notify(pci, access->offset);
    else
        access->value = 0;
}

static enum bus_verdict port_range_access(struct bus_range *range, struct bus_access *access)
{
    port_access(container_of(range, struct virtio_pci, function.bars[PCI_PORT_BAR].range), access);
    return BUS_DONE;
}

static const struct bus_range_ops port_range_ops = {.access = port_range_access};

/* ---- configuration space ---- */

static void bar_access(struct virtio_pci *pci, uint8_t bar, struct bus_access *access)
{
    if (bar == PCI_PORT_BAR)
        port_access(pci, access);
    else
        virtio_pci_bar_access(pci, access, false);
}

/*
 * The PCI_CFG window (4.1.4.9): an access to pci_cfg_data is an access to a BAR, as far as the
 * driver's choice of BAR, offset and length is a possible one. Config accesses cannot wait,
 * so a reset through here is answered before it is done; the driver polls the status.
 */
static bool window_access(struct virtio_pci *pci, uint32_t offset, struct bus_access *access)
{
    uint32_t data = pci->window + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
    struct virtio_pci_cap cap;
    struct bus_access inner;

    if (offset + access->size <= data || offset >= data + 4)
        return false;
    memcpy(&cap, &pci->function.config[pci->window], sizeof(cap));
    inner = (struct bus_access){
        .addr = cap.offset,
        .offset = cap.offset,
        .value = access->is_write ? access->value : 0,
        .size = access->size,
        .is_write = access->is_write,
    };
    if (offset == data && cap.length == access->size && cap.length <= 4 &&
        cap.offset % access->size == 0 && (cap.bar == PCI_BAR || cap.bar == PCI_PORT_BAR) &&
        cap.offset < pci->function.bars[cap.bar].size)
        bar_access(pci, cap.bar, &inner);
    access->value = inner.value;
    return true;
}

static bool config_access(struct pci_function *function, uint32_t offset, struct bus_access *access)
{
    struct virtio_pci *pci = container_of(function, struct virtio_pci, function);

    if (msix_config_access(pci->msix, offset, access)) {
        /* The pin is silent while MSI-X is on (PCI 3.0, 6.8.2). */
        pci_function_set_intx(function, pci->device->state.isr && !msix_is_enabled(pci->msix));
        virtio_device_interrupts_changed(pci->device);
        return true;
    }
    return window_access(pci, offset, access);
}

static void doorbells_move(struct pci_function *function, unsigned bar)
{
    struct virtio_pci *pci = container_of(function, struct virtio_pci, function);
    bool is_port = bar == PCI_PORT_BAR;
    const struct pci_bar *notify = &function->bars[bar];

    for (uint16_t i = 0; i < pci->device->queue_count; i++) {
        const struct doorbell doorbell = {
            .addr =
                notify->range.base + (is_port ? 0 : PCI_NOTIFY_OFFSET) + i * PCI_NOTIFY_MULTIPLIER,
        };

        virtio_doorbells_set(&pci->doorbells,
                             is_port ? VIRTIO_DOORBELL_PORT : VIRTIO_DOORBELL_MEMORY, i,
                             notify->decoded ? &doorbell : NULL);
    }
}

static void bus_master_changed(struct pci_function *function)
{
    struct virtio_pci *pci = container_of(function, struct virtio_pci, function);

    virtio_device_dma_set(pci->device, pci_function_bus_master(function));
}

static const struct pci_function_ops function_ops = {
    .config_access = config_access,
    .bar_changed = doorbells_move,
    .bus_master_changed = bus_master_changed,
};

/* ---- set-up ---- */

/* What firmware and operating systems expect to see for each device type. */
static uint32_t class_code(uint16_t id)
{
    switch (id) {
    case VIRTIO_ID_NET:
        return 0x020000; /* ethernet controller */
    case VIRTIO_ID_BLOCK:
        return 0x010000; /* SCSI storage controller */
    case VIRTIO_ID_CONSOLE:
    case VIRTIO_ID_VSOCK:
        return 0x078000; /* communication controller, other */
    case VIRTIO_ID_RNG:
    case VIRTIO_ID_BALLOON:
        return 0x00ff00;
    default:
        return 0xff0000;
    }
}

/* 4.1.4: a vendor capability for each place of a structure. */
static int capability_add(struct virtio_pci *pci, uint8_t cfg_type, uint8_t bar, uint32_t offset,
                          uint32_t length)
{
    union {
        struct virtio_pci_cap cap;
        struct virtio_pci_notify_cap notify;
        struct virtio_pci_cfg_cap window;
    } body = {.cap = {.cfg_type = cfg_type, .bar = bar, .offset = offset, .length = length}};
    union {
        struct virtio_pci_cap cap;
        uint8_t bytes[sizeof(body)];
    } writable = {.bytes = {0}};
    uint32_t len = sizeof(body.cap);
    uint8_t at;
    int ret;

    if (cfg_type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
        len = sizeof(body.notify);
        body.notify.notify_off_multiplier = PCI_NOTIFY_MULTIPLIER;
    } else if (cfg_type == VIRTIO_PCI_CAP_PCI_CFG) {
        len = sizeof(body.window);
        writable.cap = (struct virtio_pci_cap){.bar = 0xff, .offset = ~0U, .length = ~0U};
    }
    body.cap.cap_len = len;
    ret = pci_function_add_capability(&pci->function, CAPABILITY_ID_VENDOR, &body, len,
                                      writable.bytes, &at);
    if (cfg_type == VIRTIO_PCI_CAP_PCI_CFG)
        pci->window = at;
    return ret;
}

static uint32_t notify_length(const struct virtio_device *device)
{
    return (uint32_t)device->queue_count * PCI_NOTIFY_MULTIPLIER;
}

static int capabilities_add(struct virtio_pci *pci)
{
    const struct virtio_device *device = pci->device;
    uint32_t notify_len = notify_length(device);
    int ret;

    ret = capability_add(pci, VIRTIO_PCI_CAP_COMMON_CFG, PCI_BAR, PCI_COMMON_OFFSET,
                         sizeof(struct virtio_pci_common_cfg));
    if (!ret)
        ret = capability_add(pci, VIRTIO_PCI_CAP_ISR_CFG, PCI_BAR, PCI_ISR_OFFSET, 1);
    if (!ret && device->config_len)
        ret = capability_add(pci, VIRTIO_PCI_CAP_DEVICE_CFG, PCI_BAR, PCI_DEVICE_OFFSET,
                             device->config_len);
    /* A driver takes the first that it can use. */
    if (!ret && pci->has_ports)
        ret = capability_add(pci, VIRTIO_PCI_CAP_NOTIFY_CFG, PCI_PORT_BAR, 0, notify_len);
    if (!ret)
        ret =
            capability_add(pci, VIRTIO_PCI_CAP_NOTIFY_CFG, PCI_BAR, PCI_NOTIFY_OFFSET, notify_len);
    if (!ret)
        ret = capability_add(pci, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0);
    return ret;
}

static void bars_describe(struct virtio_pci *pci)
{
    pci->function.bars[PCI_BAR] = (struct pci_bar){
        .range = {.ops = &bar_range_ops, .name = pci->device->name},
        .size = PCI_BAR_SIZE,
        .type = PCI_BAR_MEM32,
    };
    if (!pci->has_ports)
        return;
    pci->function.bars[PCI_PORT_BAR] = (struct pci_bar){
        .range = {.ops = &port_range_ops, .name = pci->device->name},
        .size = power_of_two_up(notify_length(pci->device)),
        .type = PCI_BAR_IO,
    };
}

int virtio_pci_create(struct virtio_pci **out, struct virtio_device *device,
                      const struct virtio_pci_config *config, struct err *err)
{
    struct virtio_pci *pci = calloc(1, sizeof(*pci));
    int ret;

    if (!pci)
        return err_set(err, -ENOMEM, "%s: out of memory", device->name);
    pci->device = device;
    pci->root = config->root;
    pci->has_ports = pci_root_has_ports(config->root) && !config->no_ports;
    pci->function = (struct pci_function){
        .ops = &function_ops,
        .name = device->name,
        .vendor_id = VENDOR_ID,
        .device_id = DEVICE_ID_BASE + device->id,
        .subsystem_vendor_id = VENDOR_ID,
        .subsystem_id = SUBSYSTEM_ID,
        .class_code = class_code(device->id),
        .revision_id = 1,
        .has_intx = true,
    };
    bars_describe(pci);
    ret = virtio_doorbells_open(&pci->doorbells, device, config->doorbells, err);
    if (ret)
        goto fail_pci;
    ret = msix_create(&pci->msix, &pci->function, config->msi, device->queue_count + 1, PCI_BAR,
                      PCI_MSIX_TABLE_OFFSET, PCI_MSIX_PENDING_OFFSET, err);
    if (ret)
        goto fail_doorbells;
    ret = capabilities_add(pci);
    if (ret) {
        err_set(err, ret, "%s: no room for its PCI capabilities", device->name);
        goto fail_msix;
    }
    virtio_device_attach(device, (struct virtio_transport){.ops = &transport_ops, .transport = pci},
                         pci->doorbells.fds);
    virtio_device_dma_set(device, false);
    ret = pci_root_add(pci->root, &pci->function, err);
    if (ret)
        goto fail_msix;
    *out = pci;
    return 0;
fail_msix:
    msix_destroy(pci->msix);
fail_doorbells:
    virtio_doorbells_close(&pci->doorbells);
fail_pci:
    free(pci);
    return ret;
}

void virtio_pci_destroy(struct virtio_pci *pci)
{
    if (!pci)
        return;
    CHECK(pci->device->phase == VIRTIO_IDLE);
    pci_root_remove(pci->root, &pci->function);
    virtio_doorbells_close(&pci->doorbells);
    msix_destroy(pci->msix);
    free(pci);
}

static void pci_stopped(struct virtio_device *device, void *arg)
{
    struct virtio_pci *pci = arg;

    (void)device;
    msix_reset(pci->msix);
    pci_function_reset(&pci->function);
    pci->stopped(pci->stopped_arg);
}

void virtio_pci_shutdown(struct virtio_pci *pci, void (*stopped)(void *arg), void *arg)
{
    pci->stopped = stopped;
    pci->stopped_arg = arg;
    virtio_device_shutdown(pci->device, pci_stopped, pci);
}
