/* The PCI bus and the virtio devices, in its slots or beside it. The order is what the guest's
 * names (vda, eth0) follow. */
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "mem/layout.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vhost.h"
#include "vmm/guest_private.h"

static int pci_create(struct guest *guest, struct err *err)
{
    struct pci_root_config config = {
        .port_bus = guest->port_bus,
        .mmio_bus = guest->mmio_bus,
        .ecam_base = LAYOUT_ECAM_BASE,
        .ecam_len = LAYOUT_ECAM_LEN,
        .io_base = LAYOUT_PORT_PCI_BASE,
        .io_len = LAYOUT_PORT_PCI_LEN,
        .mem32_base = LAYOUT_PCI_MEM32_BASE,
        .mem32_len = LAYOUT_PCI_MEM32_LEN,
        .mem64_base = layout_pci_mem64_base(guest->host.config->mem_size),
        .mem64_len = LAYOUT_PCI_MEM64_LEN,
        .reset_control = chips_reset_control(guest),
    };

    _Static_assert((int)PCI_INTX_COUNT == (int)LAYOUT_GSI_PCI_COUNT, "as announced in the _PRT");
    for (uint32_t i = 0; i < PCI_INTX_COUNT; i++)
        config.intx[i] = vm_irq_line(guest->vm, LAYOUT_GSI_PCI_BASE + i);
    return pci_root_create(&guest->pci, &config, err);
}

static int mmio_add(struct guest *guest, struct guest_virtio *slot, struct err *err)
{
    unsigned index = guest->virtio_mmio_count++;
    struct irq_share *share = &guest->virtio_mmio_irqs[index % LAYOUT_GSI_VIRTIO_COUNT];
    const struct virtio_mmio_config config = {
        .bus = guest->mmio_bus,
        .base = LAYOUT_VIRTIO_MMIO_BASE + index * LAYOUT_VIRTIO_MMIO_LEN,
        .irq = irq_share_input(share, index / LAYOUT_GSI_VIRTIO_COUNT),
        .doorbells = vm_doorbell_chip(guest->vm),
    };

    _Static_assert((int)VIRTIO_MMIO_LEN == (int)LAYOUT_VIRTIO_MMIO_LEN, "as announced");
    _Static_assert((int)CONFIG_DISK_COUNT_MAX + CONFIG_NET_COUNT_MAX <=
                       (int)LAYOUT_VIRTIO_MMIO_COUNT_MAX,
                   "the options cannot ask for more than there is room for");
    share->output =
        vm_irq_line(guest->vm, LAYOUT_GSI_VIRTIO_BASE + index % LAYOUT_GSI_VIRTIO_COUNT);
    return virtio_mmio_create(&slot->mmio, slot->device, &config, err);
}

/* Puts `device` where the guest finds it; it is the guest's from here on. */
static int slot_add(struct guest *guest, struct virtio_device *device, enum transport transport,
                    struct err *err)
{
    const struct virtio_pci_config config = {
        .root = guest->pci,
        .msi = vm_msi_chip(guest->vm),
        .doorbells = vm_doorbell_chip(guest->vm),
        .no_ports = guest->host.config->no_notify_ports,
    };
    struct guest_virtio *slot = &guest->virtio[guest->virtio_count++];

    slot->device = device;
    return transport == TRANSPORT_MMIO ? mmio_add(guest, slot, err)
                                       : virtio_pci_create(&slot->pci, device, &config, err);
}

static struct virtio_context device_context(const struct guest *guest, bool packed_queue)
{
    return (struct virtio_context){
        .executor = guest->host.executor,
        .mem = guest->mem,
        .blocking = guest->host.blocking,
        .packed_queue = packed_queue,
    };
}

/* The name of the next device to be added; lives as long as the guest. */
static const char *device_name(struct guest *guest, const char *kind, uint8_t index)
{
    char *name = guest->virtio[guest->virtio_count].name;

    snprintf(name, PART_NAME_SIZE, "%s%u", kind, index);
    return name;
}

static int disk_add(struct guest *guest, size_t index, struct err *err)
{
    const struct disk_option *option = &guest->host.config->disks[index];
    struct virtio_context context = device_context(guest, option->packed_queue);
    const struct blk_config config = {
        .name = device_name(guest, "disk", index),
        .disk = {.path = option->path,
                 .read_only = option->read_only,
                 .direct = option->direct,
                 .iopoll = option->iopoll,
                 .block_size = option->block_size},
        .id = option->id,
        .queue_count = option->queue_count
                           ? option->queue_count
                           : (uint16_t)u64_min(guest->host.config->vcpu_count, BLK_QUEUE_COUNT_MAX),
        .limit = option->limit,
    };
    struct virtio_device *device;
    int ret;

    context.in_order = option->in_order;
    ret = virtio_blk_create(&device, &context, &config, err);
    return ret ? ret : slot_add(guest, device, option->transport, err);
}

/* The same guest on the same tap has the same address at each start; FNV-1a spreads the names. */
static void mac_derive(uint8_t mac[6], const char *tap_name)
{
    uint32_t hash = 2166136261U;

    while (*tap_name)
        hash = (hash ^ (uint8_t)*tap_name++) * 16777619U;
    mac[0] = 0x52; /* locally administered, and as other monitors have it */
    mac[1] = 0x54;
    mac[2] = 0x00;
    mac[3] = (uint8_t)(hash >> 16);
    mac[4] = (uint8_t)(hash >> 8);
    mac[5] = (uint8_t)hash;
}

static int net_add(struct guest *guest, size_t index, struct err *err)
{
    const struct net_option *option = &guest->host.config->nets[index];
    const struct virtio_context context = device_context(guest, option->packed_queue);
    const struct tap_config tap_config = {.name = option->tap_name,
                                          .fd = option->tap_fd,
                                          .queue_count = option->pair_count,
                                          .mtu = option->mtu};
    struct net_config config = {
        .name = device_name(guest, "net", index),
        .has_mac = true,
        .mtu = option->mtu,
        .vhost_path = option->vhost ? VHOST_NET_PATH : NULL,
        .rx_limit = option->rx_limit,
        .tx_limit = option->tx_limit,
    };
    struct virtio_device *device;
    struct tap tap;
    int ret = tap_open(&tap, &tap_config, err);

    if (ret)
        return ret;
    if (option->has_mac)
        memcpy(config.mac, option->mac, sizeof(config.mac));
    else
        mac_derive(config.mac, tap.name);
    /* The tap is the device's from here on, also when this fails. */
    ret = virtio_net_create(&device, &context, &config, &tap, err);
    return ret ? ret : slot_add(guest, device, option->transport, err);
}

static int rng_add(struct guest *guest, struct err *err)
{
    const struct virtio_context context =
        device_context(guest, guest->host.config->rng_packed_queue);
    const struct rng_config config = {.name = device_name(guest, "rng", 0)};
    struct virtio_device *device;
    int ret = virtio_rng_create(&device, &context, &config, err);

    return ret ? ret : slot_add(guest, device, TRANSPORT_PCI, err);
}

static bool console_packs_queues(const struct run_config *config)
{
    for (size_t i = 0; i < config->serial_count; i++)
        if (config->serials[i].packed_queue)
            return true;
    return false;
}

static int console_add(struct guest *guest, struct chardev *chardev, struct err *err)
{
    const struct virtio_context context =
        device_context(guest, console_packs_queues(guest->host.config));
    struct virtio_device *device;
    int ret = virtio_console_create(&device, &context, device_name(guest, "hvc", 0), chardev, err);

    return ret ? ret : slot_add(guest, device, TRANSPORT_PCI, err);
}

int slots_create(struct guest *guest, struct err *err)
{
    const struct run_config *config = guest->host.config;
    struct chardev *console = streams_find(guest, SERIAL_HW_VIRTIO_CONSOLE, 1);
    int ret = pci_create(guest, err);

    for (size_t i = 0; !ret && i < config->disk_count; i++)
        ret = disk_add(guest, i, err);
    for (size_t i = 0; !ret && i < config->net_count; i++)
        ret = net_add(guest, i, err);
    if (!ret && console)
        ret = console_add(guest, console, err);
    if (!ret && !config->no_rng)
        ret = rng_add(guest, err);
    return ret;
}

_Static_assert(CONFIG_DISK_COUNT_MAX + CONFIG_NET_COUNT_MAX + 2 < PCI_SLOT_COUNT,
               "the options cannot ask for more devices than there are slots");

void slots_destroy(struct guest *guest)
{
    for (unsigned i = guest->virtio_count; i-- > 0;) {
        virtio_pci_destroy(guest->virtio[i].pci);
        virtio_mmio_destroy(guest->virtio[i].mmio);
        virtio_device_destroy(guest->virtio[i].device);
    }
    pci_root_destroy(guest->pci);
}

void slots_drain(struct guest *guest, void (*drained)(void *arg))
{
    guest->draining += guest->virtio_count;
    for (unsigned i = 0; i < guest->virtio_count; i++) {
        const struct guest_virtio *slot = &guest->virtio[i];

        if (slot->mmio)
            virtio_mmio_shutdown(slot->mmio, drained, guest);
        else
            virtio_pci_shutdown(slot->pci, drained, guest);
    }
}

unsigned slots_in_flight(const struct guest *guest)
{
    unsigned count = 0;

    for (unsigned i = 0; i < guest->virtio_count; i++)
        count += virtio_device_in_flight(guest->virtio[i].device);
    return count;
}

bool slots_print_undrained(const struct guest *guest, char *text, size_t size)
{
    const struct run_config *config = guest->host.config;
    unsigned i = 0;

    while (i < guest->virtio_count && !virtio_device_is_draining(guest->virtio[i].device))
        i++;
    if (i == guest->virtio_count)
        return false;
    if (i < config->disk_count) /* they come first */
        snprintf(text, size, "disk %s", config->disks[i].path);
    else
        snprintf(text, size, "%s", guest->virtio[i].name);
    return true;
}

/* The devices were drained and reset by slots_drain. */
int slots_reset(struct guest *guest, struct err *err)
{
    (void)err;
    pci_root_reset(guest->pci);
    return 0;
}
