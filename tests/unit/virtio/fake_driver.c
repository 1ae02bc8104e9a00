#include "fake_driver.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/arith.h"

enum {
    SLOT_COUNT = 16,
    MESSAGES_PER_SLOT = FAKE_MESSAGE_COUNT / SLOT_COUNT,
};

/* ---- registers ---- */

static uint64_t config_addr(uint8_t slot, uint16_t offset)
{
    return FAKE_ECAM_BASE + ((uint64_t)slot << 15) + offset;
}

uint32_t fake_driver_config_read(struct fake_driver *driver, uint16_t offset, uint8_t size)
{
    return fake_mmio_read(driver->machine, config_addr(driver->slot, offset), size);
}

void fake_driver_config_write(struct fake_driver *driver, uint16_t offset, uint8_t size,
                              uint32_t value)
{
    fake_mmio_write(driver->machine, config_addr(driver->slot, offset), size, value);
}

uint64_t fake_driver_read(struct fake_driver *driver, uint8_t cfg_type, uint32_t offset,
                          uint8_t size)
{
    return fake_mmio_read(driver->machine, driver->bar + driver->offset[cfg_type] + offset, size);
}

void fake_driver_write(struct fake_driver *driver, uint8_t cfg_type, uint32_t offset, uint8_t size,
                       uint64_t value)
{
    fake_mmio_write(driver->machine, driver->bar + driver->offset[cfg_type] + offset, size, value);
}

uint32_t fake_mmio_register(struct fake_driver *driver, uint32_t offset)
{
    return fake_mmio_read(driver->machine, FAKE_MMIO_BASE + offset, 4);
}

void fake_mmio_register_write(struct fake_driver *driver, uint32_t offset, uint32_t value)
{
    fake_mmio_write(driver->machine, FAKE_MMIO_BASE + offset, 4, value);
}

/* The register that is to MMIO (4.2.2) what the one at `offset` of the common structure is to PCI
 * (4.1.4.3). */
static uint32_t mmio_offset(uint32_t offset, bool is_write)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        return VIRTIO_MMIO_DEVICE_FEATURES_SEL;
    case VIRTIO_PCI_COMMON_DF:
        return VIRTIO_MMIO_DEVICE_FEATURES;
    case VIRTIO_PCI_COMMON_GFSELECT:
        return VIRTIO_MMIO_DRIVER_FEATURES_SEL;
    case VIRTIO_PCI_COMMON_GF:
        return VIRTIO_MMIO_DRIVER_FEATURES;
    case VIRTIO_PCI_COMMON_STATUS:
        return VIRTIO_MMIO_STATUS;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        return VIRTIO_MMIO_QUEUE_SEL;
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return is_write ? VIRTIO_MMIO_QUEUE_NUM : VIRTIO_MMIO_QUEUE_NUM_MAX;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return VIRTIO_MMIO_QUEUE_READY;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        return VIRTIO_MMIO_QUEUE_DESC_LOW + offset - VIRTIO_PCI_COMMON_Q_DESCLO;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        return VIRTIO_MMIO_QUEUE_AVAIL_LOW + offset - VIRTIO_PCI_COMMON_Q_AVAILLO;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        return VIRTIO_MMIO_QUEUE_USED_LOW + offset - VIRTIO_PCI_COMMON_Q_USEDLO;
    }
    cr_assert_fail("MMIO has no register for offset 0x%x of the common structure", offset);
    return 0;
}

static uint64_t common_read(struct fake_driver *driver, uint32_t offset, uint8_t size)
{
    if (driver->mmio)
        return fake_mmio_register(driver, mmio_offset(offset, false));
    return fake_driver_read(driver, VIRTIO_PCI_CAP_COMMON_CFG, offset, size);
}

static void common_write(struct fake_driver *driver, uint32_t offset, uint8_t size, uint64_t value)
{
    if (driver->mmio) {
        fake_mmio_register_write(driver, mmio_offset(offset, true), value);
        return;
    }
    fake_driver_write(driver, VIRTIO_PCI_CAP_COMMON_CFG, offset, size, value);
}

uint8_t fake_driver_status(struct fake_driver *driver)
{
    return common_read(driver, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void status_add(struct fake_driver *driver, uint8_t bit)
{
    common_write(driver, VIRTIO_PCI_COMMON_STATUS, 1, fake_driver_status(driver) | bit);
    cr_assert(fake_driver_status(driver) & bit, "status bit 0x%x was refused", bit);
}

uint32_t fake_driver_messages(const struct fake_driver *driver, uint16_t vector)
{
    return driver->machine->messages[driver->slot * MESSAGES_PER_SLOT + vector];
}

static uint64_t msix_table(struct fake_driver *driver)
{
    return driver->bar + fake_driver_config_read(driver, driver->msix_cap + PCI_MSIX_TABLE, 4);
}

void fake_driver_mask(struct fake_driver *driver, uint16_t vector, bool mask)
{
    fake_mmio_write(driver->machine,
                    msix_table(driver) + (uint64_t)vector * PCI_MSIX_ENTRY_SIZE +
                        PCI_MSIX_ENTRY_VECTOR_CTRL,
                    4, mask ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
}

bool fake_driver_is_pending(struct fake_driver *driver, uint16_t vector)
{
    uint32_t pba = fake_driver_config_read(driver, driver->msix_cap + PCI_MSIX_PBA, 4);

    return fake_mmio_read(driver->machine, driver->bar + pba, 8) >> vector & 1;
}

uint64_t fake_driver_eventfd_take(const struct fake_driver *driver, uint16_t vector)
{
    const struct fake_machine *machine = driver->machine;
    uint32_t data = (uint32_t)driver->slot * MESSAGES_PER_SLOT + vector;
    eventfd_t count = 0;

    for (size_t i = 0; i < array_count(machine->routes); i++)
        if (machine->vector_used[i] && machine->routes[i].address &&
            machine->routes[i].data == data && machine->vector_eventfds[i] >= 0 &&
            !eventfd_read(machine->vector_eventfds[i], &count))
            return count;
    return 0;
}

/* ---- attach and detach ---- */

/* The new function is the one whose decoding nobody has turned on yet. */
static uint8_t slot_find(struct fake_driver *driver, uint16_t device_id)
{
    for (driver->slot = 1; driver->slot < SLOT_COUNT; driver->slot++)
        if (fake_driver_config_read(driver, PCI_VENDOR_ID, 2) == 0x1af4 &&
            fake_driver_config_read(driver, PCI_DEVICE_ID, 2) == device_id &&
            fake_driver_config_read(driver, PCI_COMMAND, 2) == 0)
            return driver->slot;
    cr_assert_fail("the device is not on the bus");
    return 0;
}

static void vendor_capability_take(struct fake_driver *driver, uint16_t at)
{
    uint8_t type = fake_driver_config_read(driver, at + 3, 1);

    cr_assert_lt(type, FAKE_PCI_CFG_TYPE_COUNT);
    if (type == VIRTIO_PCI_CAP_NOTIFY_CFG && fake_driver_config_read(driver, at + 4, 1) != 0) {
        cr_assert_eq(driver->cap[type], 0, "a driver takes the first, which is to be the port");
        driver->port_cap = at;
        return;
    }
    cr_assert_eq(driver->cap[type], 0, "one capability per structure in memory");
    driver->cap[type] = at;
    driver->offset[type] = fake_driver_config_read(driver, at + 8, 4);
    driver->length[type] = fake_driver_config_read(driver, at + 12, 4);
    if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
        driver->notify_multiplier = fake_driver_config_read(driver, at + 16, 4);
}

static void capabilities_find(struct fake_driver *driver)
{
    uint16_t at = fake_driver_config_read(driver, PCI_CAPABILITY_LIST, 1);

    cr_assert(fake_driver_config_read(driver, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
    for (int count = 0; at; count++) {
        uint8_t id = fake_driver_config_read(driver, at, 1);

        cr_assert_lt(count, 48, "the capability list has a cycle");
        if (id == PCI_CAP_ID_VNDR)
            vendor_capability_take(driver, at);
        else if (id == PCI_CAP_ID_MSIX)
            driver->msix_cap = at;
        at = fake_driver_config_read(driver, at + 1, 1);
    }
    cr_assert(driver->msix_cap);
    cr_assert(driver->cap[VIRTIO_PCI_CAP_COMMON_CFG]);
    cr_assert(driver->cap[VIRTIO_PCI_CAP_NOTIFY_CFG]);
    cr_assert(driver->cap[VIRTIO_PCI_CAP_ISR_CFG]);
    cr_assert(driver->cap[VIRTIO_PCI_CAP_PCI_CFG]);
}

struct fake_driver *fake_driver_attach(struct fake_machine *machine, struct virtio_device *device)
{
    const struct virtio_pci_config config = {
        .root = machine->root,
        .msi = fake_machine_msi(machine),
        .doorbells = fake_machine_doorbells(machine),
        .no_ports = machine->no_ports,
    };
    struct fake_driver *driver = calloc(1, sizeof(*driver));
    struct err err = {""};

    cr_assert_not_null(driver);
    driver->machine = machine;
    driver->device = device;
    cr_assert_eq(virtio_pci_create(&driver->pci, device, &config, &err), 0, "%s", err.text);
    slot_find(driver, 0x1040 + device->id);
    fake_driver_config_write(driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    driver->bar = fake_driver_config_read(driver, PCI_BASE_ADDRESS_0, 4) & ~0xfU;
    capabilities_find(driver);
    driver->queue_count = common_read(driver, VIRTIO_PCI_COMMON_NUMQ, 2);
    cr_assert_leq(driver->queue_count, FAKE_QUEUE_COUNT_MAX);
    return driver;
}

struct fake_driver *fake_driver_attach_mmio(struct fake_machine *machine,
                                            struct virtio_device *device)
{
    const struct virtio_mmio_config config = {
        .bus = machine->mmio_bus,
        .base = FAKE_MMIO_BASE,
        .irq = fake_machine_mmio_line(machine),
        .doorbells = fake_machine_doorbells(machine),
    };
    struct fake_driver *driver = calloc(1, sizeof(*driver));
    struct err err = {""};

    cr_assert_not_null(driver);
    driver->machine = machine;
    driver->device = device;
    driver->no_msix = true;
    cr_assert_eq(virtio_mmio_create(&driver->mmio, device, &config, &err), 0, "%s", err.text);
    while (driver->queue_count < FAKE_QUEUE_COUNT_MAX) {
        common_write(driver, VIRTIO_PCI_COMMON_Q_SELECT, 2, driver->queue_count);
        if (!common_read(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2))
            break;
        driver->queue_count++;
    }
    return driver;
}

static void queues_forget(struct fake_driver *driver)
{
    for (uint16_t i = 0; i < FAKE_QUEUE_COUNT_MAX; i++)
        fake_queue_forget(&driver->queues[i]);
}

static void driver_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool flag_is_set(void *arg)
{
    return *(bool *)arg;
}

void fake_driver_shutdown(struct fake_driver *driver)
{
    bool stopped = false;

    if (driver->mmio)
        virtio_mmio_shutdown(driver->mmio, driver_stopped, &stopped);
    else
        virtio_pci_shutdown(driver->pci, driver_stopped, &stopped);
    fake_machine_run_until(driver->machine, flag_is_set, &stopped);
    queues_forget(driver);
}

void fake_driver_detach(struct fake_driver *driver)
{
    fake_driver_shutdown(driver);
    virtio_pci_destroy(driver->pci);
    virtio_mmio_destroy(driver->mmio);
    virtio_device_destroy(driver->device);
    free(driver);
}

/* ---- initialization, 3.1.1 ---- */

static void msix_enable(struct fake_driver *driver)
{
    uint32_t table = fake_driver_config_read(driver, driver->msix_cap + PCI_MSIX_TABLE, 4);
    uint16_t control = fake_driver_config_read(driver, driver->msix_cap + PCI_MSIX_FLAGS, 2);
    uint16_t count = (control & PCI_MSIX_FLAGS_QSIZE) + 1;

    cr_assert_eq(table & PCI_MSIX_TABLE_BIR, 0, "the table is in BAR 0");
    cr_assert_lt(driver->slot, SLOT_COUNT);
    for (uint16_t i = 0; i < count; i++) {
        uint64_t entry = driver->bar + table + 16ULL * i;

        fake_mmio_write(driver->machine, entry, 4, 0xfee00000);
        fake_mmio_write(driver->machine, entry + 4, 4, 0);
        fake_mmio_write(driver->machine, entry + 8, 4, driver->slot * MESSAGES_PER_SLOT + i);
        fake_mmio_write(driver->machine, entry + 12, 4, 0);
    }
    fake_driver_config_write(driver, driver->msix_cap + PCI_MSIX_FLAGS, 2,
                             control | PCI_MSIX_FLAGS_ENABLE);
}

static uint64_t features_read(struct fake_driver *driver)
{
    uint64_t low, high;

    common_write(driver, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
    low = common_read(driver, VIRTIO_PCI_COMMON_DF, 4);
    common_write(driver, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    high = common_read(driver, VIRTIO_PCI_COMMON_DF, 4);
    return low | high << 32;
}

void fake_driver_features_write(struct fake_driver *driver, uint64_t features)
{
    for (uint32_t i = 0; i < 2; i++) {
        common_write(driver, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
        common_write(driver, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * i));
    }
}

void fake_driver_negotiate(struct fake_driver *driver, uint64_t features)
{
    cr_assert_eq(fake_driver_status(driver), 0);
    if (!driver->no_msix)
        msix_enable(driver);
    status_add(driver, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    status_add(driver, VIRTIO_CONFIG_S_DRIVER);
    driver->features = features_read(driver) & (features | 1ULL << VIRTIO_F_VERSION_1);
    fake_driver_features_write(driver, driver->features);
    status_add(driver, VIRTIO_CONFIG_S_FEATURES_OK);
    if (driver->no_msix)
        return;
    common_write(driver, VIRTIO_PCI_COMMON_MSIX, 2, 0);
    cr_assert_eq(common_read(driver, VIRTIO_PCI_COMMON_MSIX, 2), 0);
}

static void areas_write(struct fake_driver *driver, const struct fake_queue *queue)
{
    const struct {
        uint32_t offset;
        uint64_t addr;
    } areas[] = {
        {VIRTIO_PCI_COMMON_Q_DESCLO, queue->desc_buffer.addr.addr},
        {VIRTIO_PCI_COMMON_Q_AVAILLO, queue->avail_buffer.addr.addr},
        {VIRTIO_PCI_COMMON_Q_USEDLO, queue->used_buffer.addr.addr},
    };

    for (size_t i = 0; i < array_count(areas); i++) {
        common_write(driver, areas[i].offset, 4, (uint32_t)areas[i].addr);
        common_write(driver, areas[i].offset + 4, 4, areas[i].addr >> 32);
    }
}

void fake_driver_setup_queue(struct fake_driver *driver, uint16_t index, uint16_t size)
{
    struct fake_queue *queue = &driver->queues[index];
    uint16_t offered;

    common_write(driver, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    offered = common_read(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2);
    cr_assert_gt(offered, 0);
    size = size && size < offered ? size : offered;
    fake_queue_create(queue, driver, index, size);
    common_write(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
    areas_write(driver, queue);
    if (!driver->no_msix) {
        common_write(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2, index + 1);
        cr_assert_eq(common_read(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2), (uint64_t)index + 1);
    }
    common_write(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    cr_assert_eq(common_read(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

void fake_driver_ok(struct fake_driver *driver)
{
    status_add(driver, VIRTIO_CONFIG_S_DRIVER_OK);
}

void fake_driver_start(struct fake_driver *driver, uint64_t features, uint16_t queue_size)
{
    fake_driver_negotiate(driver, features);
    for (uint16_t i = 0; i < driver->queue_count; i++)
        fake_driver_setup_queue(driver, i, queue_size);
    fake_driver_ok(driver);
    cr_assert_not(fake_driver_status(driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

void fake_driver_reset(struct fake_driver *driver)
{
    common_write(driver, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    cr_assert_eq(fake_driver_status(driver), 0);
    queues_forget(driver);
}

void fake_queue_notify(struct fake_queue *queue)
{
    struct fake_driver *driver = queue->driver;
    uint16_t offset;

    if (driver->mmio) {
        fake_mmio_register_write(driver, VIRTIO_MMIO_QUEUE_NOTIFY, queue->index);
        return;
    }
    fake_driver_write(driver, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_Q_SELECT, 2,
                      queue->index);
    offset = common_read(driver, VIRTIO_PCI_COMMON_Q_NOFF, 2);
    fake_driver_write(driver, VIRTIO_PCI_CAP_NOTIFY_CFG, driver->notify_multiplier * offset, 2,
                      queue->index);
}
