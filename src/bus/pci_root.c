/* The root bus: slots, host bridge, configuration access by CF8/CFC and ECAM, the four INTx pins.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/arith.h"
#include "base/check.h"
#include "bus/pci_private.h"

enum {
    CONFIG_ADDRESS_PORT = 0xcf8,
    CONFIG_DATA_PORT = 0xcfc,
    RESET_CONTROL_PORT = 0xcf9,
    /* PCI 3.0, section 3.2.2.3.2 */
    CONFIG_ADDRESS_ENABLE_SHIFT = 31,
    ECAM_FUNCTION_SHIFT = 12,
    ECAM_SLOT_SHIFT = 15,
    ECAM_BUS_SHIFT = 20,
    /* A generic host bridge that no quirk of a guest knows ("QEMU PCIe Host bridge"). */
    HOST_BRIDGE_VENDOR = 0x1b36,
    HOST_BRIDGE_DEVICE = 0x0008,
    HOST_BRIDGE_SUBSYSTEM_VENDOR = 0x1af4,
    HOST_BRIDGE_SUBSYSTEM = 0x1100,
    HOST_BRIDGE_CLASS = 0x060000,
};

/* Answers for nobody (reads keep the all ones they came with) where there is no function. */
static void config_access(struct pci_root *root, uint32_t bus, uint32_t slot, uint32_t function,
                          uint32_t offset, struct bus_access *access)
{
    if (!bus && !function && root->functions[slot])
        pci_function_config_access(root->functions[slot], offset, access);
}

static enum bus_verdict ecam_access(struct bus_range *range, struct bus_access *access)
{
    struct pci_root *root = container_of(range, struct pci_root, ecam_range);
    uint32_t offset = access->offset & ((1U << ECAM_FUNCTION_SHIFT) - 1);

    if (offset + access->size <= 1U << ECAM_FUNCTION_SHIFT)
        config_access(root, (uint32_t)(access->offset >> ECAM_BUS_SHIFT),
                      access->offset >> ECAM_SLOT_SHIFT & 31,
                      access->offset >> ECAM_FUNCTION_SHIFT & 7, offset, access);
    return BUS_DONE;
}

static enum bus_verdict address_access(struct bus_range *range, struct bus_access *access)
{
    struct pci_root *root = container_of(range, struct pci_root, address_range);
    struct bus_range *reset_control = root->config.reset_control;

    if (access->size != 4) {
        if (!reset_control || access->addr != RESET_CONTROL_PORT || access->size != 1)
            return BUS_DONE;
        access->offset = 0;
        return reset_control->ops->access(reset_control, access);
    }
    if (access->is_write)
        root->address = (uint32_t)access->value & ~3U;
    else
        access->value = root->address;
    return BUS_DONE;
}

/* Bits 27:24 continue the register number for AMD's guests that have no ECAM; reserved and 0 for
 * all others. */
static uint32_t config_register(uint32_t address)
{
    return (address & 0xfc) | (address >> 16 & 0xf00);
}

static enum bus_verdict data_access(struct bus_range *range, struct bus_access *access)
{
    struct pci_root *root = container_of(range, struct pci_root, data_range);
    uint32_t address = root->address;

    if (address >> CONFIG_ADDRESS_ENABLE_SHIFT)
        config_access(root, address >> 16 & 0xff, address >> 11 & 31, address >> 8 & 7,
                      config_register(address) + (uint32_t)access->offset, access);
    return BUS_DONE;
}

static const struct bus_range_ops ecam_ops = {.access = ecam_access};
static const struct bus_range_ops address_ops = {.access = address_access};
static const struct bus_range_ops data_ops = {.access = data_access};

static int ranges_add(struct pci_root *root, struct err *err)
{
    int ret;

    root->ecam_range = (struct bus_range){
        .ops = &ecam_ops,
        .name = "PCI ECAM",
        .base = root->config.ecam_base,
        .len = root->config.ecam_len,
        .width_max = 4,
    };
    root->address_range = (struct bus_range){
        .ops = &address_ops, .name = "PCI address", .base = CONFIG_ADDRESS_PORT, .len = 4};
    root->data_range = (struct bus_range){
        .ops = &data_ops, .name = "PCI data", .base = CONFIG_DATA_PORT, .len = 4};
    ret = root->config.ecam_len ? bus_add(root->config.mmio_bus, &root->ecam_range, err) : 0;
    if (ret || !root->config.port_bus)
        return ret;
    ret = bus_add(root->config.port_bus, &root->address_range, err);
    if (ret)
        return ret;
    return bus_add(root->config.port_bus, &root->data_range, err);
}

static void ranges_remove(struct pci_root *root)
{
    bus_remove(root->config.mmio_bus, &root->ecam_range);
    if (!root->config.port_bus)
        return;
    bus_remove(root->config.port_bus, &root->address_range);
    bus_remove(root->config.port_bus, &root->data_range);
}

int pci_root_create(struct pci_root **out, const struct pci_root_config *config, struct err *err)
{
    struct pci_root *root = calloc(1, sizeof(*root));
    int ret;

    if (!root)
        return err_set(err, -ENOMEM, "PCI root: out of memory");
    root->config = *config;
    ret = ranges_add(root, err);
    if (ret) {
        ranges_remove(root);
        free(root);
        return ret;
    }
    root->host_bridge = (struct pci_function){
        .name = "PCI host bridge",
        .vendor_id = HOST_BRIDGE_VENDOR,
        .device_id = HOST_BRIDGE_DEVICE,
        .subsystem_vendor_id = HOST_BRIDGE_SUBSYSTEM_VENDOR,
        .subsystem_id = HOST_BRIDGE_SUBSYSTEM,
        .class_code = HOST_BRIDGE_CLASS,
    };
    pci_function_attach(&root->host_bridge, root, 0);
    root->functions[0] = &root->host_bridge;
    *out = root;
    return 0;
}

bool pci_root_has_ports(const struct pci_root *root)
{
    return root->config.port_bus && root->config.io_len;
}

void pci_root_destroy(struct pci_root *root)
{
    if (!root)
        return;
    for (unsigned i = 1; i < PCI_SLOT_COUNT; i++)
        CHECK(!root->functions[i]);
    ranges_remove(root);
    free(root);
}

void pci_root_reset(struct pci_root *root)
{
    root->address = 0;
    pci_function_reset(&root->host_bridge);
}

int pci_root_add(struct pci_root *root, struct pci_function *function, struct err *err)
{
    uint8_t slot = 0;
    int ret;

    while (slot < PCI_SLOT_COUNT && root->functions[slot])
        slot++;
    if (slot == PCI_SLOT_COUNT)
        return err_set(err, -ENOSPC, "PCI root: no slot left for %s; use fewer devices",
                       function->name);
    ret = pci_bars_assign(root, function, err);
    if (ret)
        return ret;
    pci_function_attach(function, root, slot);
    root->functions[slot] = function;
    return 0;
}

void pci_root_remove(struct pci_root *root, struct pci_function *function)
{
    if (function->root != root)
        return;
    pci_function_detach(function);
    root->functions[function->slot] = NULL;
}
