#include "virtio/pci.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/check.h"
#include "bus/msix.h"

enum {
    VENDOR_ID = 0x1af4,
    DEVICE_ID_BASE = 0x1040, /* 4.1.2.1 */
    SUBSYSTEM_ID = 0x1100,
    CAPABILITY_ID_VENDOR = 0x09,

    BAR = 0,
    BAR_SIZE = 0x8000,
    COMMON_OFFSET = 0x0000,
    ISR_OFFSET = 0x1000,
    DEVICE_OFFSET = 0x2000,
    NOTIFY_OFFSET = 0x3000,
    MSIX_TABLE_OFFSET = 0x4000,
    MSIX_PBA_OFFSET = 0x4800,
    REGION_SIZE = 0x1000,
    NOTIFY_MULTIPLIER = 4,

    /* 4.1.4.5 */
    ISR_QUEUE = 1,
    ISR_CONFIG = 2,
};

_Static_assert(sizeof(struct virtio_pci_common_cfg) == 56, "4.1.4.3");
_Static_assert(offsetof(struct virtio_pci_common_cfg, queue_used_hi) == VIRTIO_PCI_COMMON_Q_USEDHI,
               "4.1.4.3");
_Static_assert(VIRTIO_QUEUE_COUNT_MAX *NOTIFY_MULTIPLIER <= REGION_SIZE, "notify region");
_Static_assert(VIRTIO_CONFIG_LEN_MAX <= (int)REGION_SIZE, "device region");
_Static_assert((int)MSIX_TABLE_OFFSET + 16 * MSIX_VECTOR_COUNT_MAX <= (int)MSIX_PBA_OFFSET,
               "MSI-X table");

struct virtio_pci {
    struct pci_function function;
    struct virtio_device *device;
    struct pci_root *root;
    struct msix *msix;
    struct doorbell_chip doorbell_chip;
    int doorbell_fds[VIRTIO_QUEUE_COUNT_MAX];
    struct doorbell doorbells[VIRTIO_QUEUE_COUNT_MAX];
    bool doorbell_added[VIRTIO_QUEUE_COUNT_MAX];
    uint8_t window; /* config offset of the PCI_CFG capability */
    void (*stopped)(void *arg);
    void *stopped_arg;
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

static void interrupts_reset(void *transport)
{
    struct virtio_pci *pci = transport;

    pci_function_set_intx(&pci->function, false);
}

static const struct virtio_transport_ops transport_ops = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .reset = interrupts_reset,
};

/* A vector that the table does not have reads back as none (4.1.4.3, 4.1.5.1.2). */
static uint16_t vector_check(const struct virtio_pci *pci, uint16_t vector)
{
    return vector < msix_count(pci->msix) ? vector : VIRTIO_NO_VECTOR;
}

/* ---- common configuration structure, 4.1.4.3 ---- */

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
    if (virtio_device_is_stopping(device))
        return BUS_DONE;
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

/* ---- the other structures of the BAR ---- */

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
    case COMMON_OFFSET:
        return common_read(pci, offset, size);
    case ISR_OFFSET:
        return isr_read(pci, offset, size);
    case DEVICE_OFFSET:
        return device_config_read(pci, offset, size);
    }
    return 0;
}

static enum bus_verdict region_write(struct virtio_pci *pci, uint64_t base, uint32_t offset,
                                     struct bus_access *access, bool may_defer)
{
    switch (base) {
    case COMMON_OFFSET:
        return common_write(pci, offset, access->size, access->value, may_defer ? access : NULL);
    case DEVICE_OFFSET:
        virtio_device_config_write(pci->device, offset, &access->value, access->size);
        break;
    case NOTIFY_OFFSET:
        /* The address says which queue; the value is the same number (4.1.5.2). */
        if (offset % NOTIFY_MULTIPLIER == 0 && offset / NOTIFY_MULTIPLIER < VIRTIO_QUEUE_COUNT_MAX)
            virtio_device_notify(pci->device, offset / NOTIFY_MULTIPLIER);
        break;
    }
    return BUS_DONE;
}

/* access->offset is inside the BAR, and the access does not leave it. */
static enum bus_verdict bar_access(struct virtio_pci *pci, struct bus_access *access,
                                   bool may_defer)
{
    uint64_t base = align_down(access->offset, REGION_SIZE);
    uint32_t offset = access->offset - base;

    if (msix_bar_access(pci->msix, access))
        return BUS_DONE;
    if (access->is_write)
        return region_write(pci, base, offset, access, may_defer);
    access->value = region_read(pci, base, offset, access->size);
    return BUS_DONE;
}

static enum bus_verdict bar_range_access(struct bus_range *range, struct bus_access *access)
{
    struct virtio_pci *pci = container_of(range, struct virtio_pci, function.bars[BAR].range);

    return bar_access(pci, access, true);
}

static const struct bus_range_ops bar_range_ops = {.access = bar_range_access};

/* ---- configuration space ---- */

/*
 * The PCI_CFG window (4.1.4.9): an access to pci_cfg_data is an access to the BAR, as far as the
 * driver's choice of BAR, offset and length is a possible one. Config accesses cannot wait, so a
 * reset through here is answered before it is done; the driver polls the status.
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
    if (offset == data && cap.bar == BAR && cap.length == access->size && cap.length <= 4 &&
        cap.offset % access->size == 0 && cap.offset < BAR_SIZE)
        bar_access(pci, &inner, false);
    access->value = inner.value;
    return true;
}

static bool config_access(struct pci_function *function, uint32_t offset, struct bus_access *access)
{
    struct virtio_pci *pci = container_of(function, struct virtio_pci, function);

    if (msix_config_access(pci->msix, offset, access)) {
        /* The pin is silent while MSI-X is on (PCI 3.0, 6.8.2). */
        pci_function_set_intx(function, pci->device->state.isr && !msix_is_enabled(pci->msix));
        return true;
    }
    return window_access(pci, offset, access);
}

static void doorbells_move(struct pci_function *function, unsigned bar)
{
    struct virtio_pci *pci = container_of(function, struct virtio_pci, function);
    const struct doorbell_chip *chip = &pci->doorbell_chip;
    const struct pci_bar *notify = &function->bars[BAR];

    if (bar != BAR || !chip->ops)
        return;
    for (uint16_t i = 0; i < pci->device->queue_count; i++) {
        struct doorbell *doorbell = &pci->doorbells[i];

        if (pci->doorbell_added[i])
            chip->ops->remove(chip->chip, doorbell);
        pci->doorbell_added[i] = false;
        if (!notify->decoded)
            continue;
        *doorbell = (struct doorbell){
            .addr = notify->range.base + NOTIFY_OFFSET + i * NOTIFY_MULTIPLIER,
            .eventfd = pci->doorbell_fds[i],
        };
        /* Refused, the write arrives as an access. */
        pci->doorbell_added[i] = chip->ops->add(chip->chip, doorbell) == 0;
    }
}

static const struct pci_function_ops function_ops = {
    .config_access = config_access,
    .bar_changed = doorbells_move,
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

/* 4.1.4: one vendor capability per structure. */
static int capability_add(struct virtio_pci *pci, uint8_t cfg_type, uint32_t offset,
                          uint32_t length)
{
    union {
        struct virtio_pci_cap cap;
        struct virtio_pci_notify_cap notify;
        struct virtio_pci_cfg_cap window;
    } body = {.cap = {.cfg_type = cfg_type, .bar = BAR, .offset = offset, .length = length}};
    union {
        struct virtio_pci_cap cap;
        uint8_t bytes[sizeof(body)];
    } writable = {.bytes = {0}};
    uint32_t len = sizeof(body.cap);
    uint8_t at;
    int ret;

    if (cfg_type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
        len = sizeof(body.notify);
        body.notify.notify_off_multiplier = NOTIFY_MULTIPLIER;
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

static int capabilities_add(struct virtio_pci *pci)
{
    const struct virtio_device *device = pci->device;
    int ret;

    ret = capability_add(pci, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_OFFSET,
                         sizeof(struct virtio_pci_common_cfg));
    if (!ret)
        ret = capability_add(pci, VIRTIO_PCI_CAP_ISR_CFG, ISR_OFFSET, 1);
    if (!ret && device->config_len)
        ret = capability_add(pci, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_OFFSET, device->config_len);
    if (!ret)
        ret = capability_add(pci, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_OFFSET,
                             device->queue_count * NOTIFY_MULTIPLIER);
    if (!ret)
        ret = capability_add(pci, VIRTIO_PCI_CAP_PCI_CFG, 0, 0);
    return ret;
}

static int doorbells_open(struct virtio_pci *pci, struct err *err)
{
    for (uint16_t i = 0; i < pci->device->queue_count; i++) {
        pci->doorbell_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pci->doorbell_fds[i] < 0)
            return err_set(err, -errno, "%s: no eventfd for queue %u: %s; raise ulimit -n",
                           pci->device->name, i, strerror(errno));
    }
    return 0;
}

static void doorbells_close(struct virtio_pci *pci)
{
    for (uint16_t i = 0; i < pci->device->queue_count; i++)
        if (pci->doorbell_fds[i] >= 0)
            close(pci->doorbell_fds[i]);
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
    pci->doorbell_chip = config->doorbells;
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
    pci->function.bars[BAR] = (struct pci_bar){
        .range = {.ops = &bar_range_ops, .name = device->name},
        .size = BAR_SIZE,
        .type = PCI_BAR_MEM32,
    };
    memset(pci->doorbell_fds, -1, sizeof(pci->doorbell_fds));
    ret = doorbells_open(pci, err);
    if (ret)
        goto fail_fds;
    ret = msix_create(&pci->msix, &pci->function, config->msi, device->queue_count + 1, BAR,
                      MSIX_TABLE_OFFSET, MSIX_PBA_OFFSET, err);
    if (ret)
        goto fail_fds;
    ret = capabilities_add(pci);
    if (ret) {
        err_set(err, ret, "%s: no room for its PCI capabilities", device->name);
        goto fail_msix;
    }
    virtio_device_attach(device, (struct virtio_transport){.ops = &transport_ops, .transport = pci},
                         pci->doorbell_fds);
    ret = pci_root_add(pci->root, &pci->function, err);
    if (ret)
        goto fail_msix;
    *out = pci;
    return 0;
fail_msix:
    msix_destroy(pci->msix);
fail_fds:
    doorbells_close(pci);
    free(pci);
    return ret;
}

void virtio_pci_destroy(struct virtio_pci *pci)
{
    if (!pci)
        return;
    CHECK(pci->device->phase == VIRTIO_IDLE);
    pci_root_remove(pci->root, &pci->function);
    for (uint16_t i = 0; i < pci->device->queue_count; i++)
        if (pci->doorbell_added[i])
            pci->doorbell_chip.ops->remove(pci->doorbell_chip.chip, &pci->doorbells[i]);
    msix_destroy(pci->msix);
    doorbells_close(pci);
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
