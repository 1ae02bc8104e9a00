/* Configuration space of one function: header, BARs, capabilities, INTA (PCI 3.0, chapter 6). */
#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "base/arith.h"
#include "base/check.h"
#include "bus/pci_private.h"

enum { CAPABILITY_FIRST = PCI_STD_HEADER_SIZEOF, INTA = 1, DWORD = 4 };

#define COMMAND_WRITABLE                                                             \
    (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | \
     PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)

uint16_t pci_get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

void pci_put16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

uint32_t pci_get32(const uint8_t *bytes)
{
    return pci_get16(bytes) | (uint32_t)pci_get16(bytes + 2) << 16;
}

void pci_put32(uint8_t *bytes, uint32_t value)
{
    pci_put16(bytes, (uint16_t)value);
    pci_put16(bytes + 2, (uint16_t)(value >> 16));
}

static uint16_t command(const struct pci_function *function)
{
    return pci_get16(&function->config[PCI_COMMAND]);
}

static void intx_update(struct pci_function *function)
{
    bool level = function->intx_wanted && !(command(function) & PCI_COMMAND_INTX_DISABLE);
    unsigned pin = function->slot % PCI_INTX_COUNT;
    uint32_t *slots = &function->root->intx_slots[pin];
    uint32_t before = *slots, bit = 1U << function->slot;

    *slots = level ? before | bit : before & ~bit;
    if (!before != !*slots)
        irq_line_set(&function->root->config.intx[pin], level);
}

void pci_function_set_intx(struct pci_function *function, bool level)
{
    CHECK(function->has_intx);
    function->intx_wanted = level;
    if (level)
        function->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
    else
        function->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    intx_update(function);
}

bool pci_function_bus_master(const struct pci_function *function)
{
    return command(function) & PCI_COMMAND_MASTER;
}

/* Everything that the command register decides. */
static void command_changed(struct pci_function *function, uint16_t before)
{
    pci_bars_update(function->root);
    intx_update(function);
    if ((before ^ command(function)) & PCI_COMMAND_MASTER && function->ops &&
        function->ops->bus_master_changed)
        function->ops->bus_master_changed(function);
}

static bool overlaps(uint32_t offset, uint32_t len, uint32_t start, uint32_t end)
{
    return offset < end && offset + len > start;
}

static void config_write(struct pci_function *function, uint32_t offset, uint64_t value,
                         uint32_t len)
{
    uint16_t command_before = command(function);

    for (uint32_t i = 0; i < len; i++, value >>= 8) {
        uint8_t mask = function->writable[offset + i];
        uint8_t *byte = &function->config[offset + i];

        *byte = (uint8_t)((*byte & ~mask) | ((uint8_t)value & mask));
    }
    if (overlaps(offset, len, PCI_COMMAND, PCI_STATUS))
        command_changed(function, command_before);
    else if (overlaps(offset, len, PCI_BASE_ADDRESS_0, PCI_CARDBUS_CIS))
        pci_bars_update(function->root);
}

void pci_function_config_plain(struct pci_function *function, uint32_t offset,
                               struct bus_access *access)
{
    CHECK_CMP(offset + access->size, <=, (uint32_t)PCI_CONFIG_SIZE);
    if (access->is_write) {
        config_write(function, offset, access->value, access->size);
        return;
    }
    access->value = 0;
    memcpy(&access->value, &function->config[offset], access->size);
}

static void dword_access(struct pci_function *function, uint32_t offset, struct bus_access *access)
{
    if (offset >= PCI_CONFIG_SIZE) {
        access->value = 0;
        return;
    }
    if (function->ops && function->ops->config_access &&
        function->ops->config_access(function, offset, access))
        return;
    pci_function_config_plain(function, offset, access);
}

/* What crosses a dword, as no PCI transaction can, is taken as bytes, lowest first. */
void pci_function_config_access(struct pci_function *function, uint32_t offset,
                                struct bus_access *access)
{
    uint64_t value = 0;

    if (offset % DWORD + access->size <= DWORD) {
        dword_access(function, offset, access);
        return;
    }
    for (unsigned i = 0; i < access->size; i++) {
        struct bus_access part = {
            .addr = access->addr + i,
            .value = access->value >> (8 * i) & 0xff,
            .size = 1,
            .is_write = access->is_write,
        };

        dword_access(function, offset + i, &part);
        value |= (part.value & 0xff) << (8 * i);
    }
    access->value = value;
}

int pci_function_add_capability(struct pci_function *function, uint8_t id, const void *body,
                                uint32_t len, const void *writable, uint8_t *offset)
{
    uint32_t at = function->capability_end ? function->capability_end : CAPABILITY_FIRST;

    CHECK(!function->root);
    CHECK_CMP(len, >=, 2U);
    if (len > PCI_CONFIG_SIZE - at)
        return -ENOSPC;
    memcpy(&function->config[at], body, len);
    function->config[at + PCI_CAP_LIST_ID] = id;
    function->config[at + PCI_CAP_LIST_NEXT] = 0;
    if (writable)
        memcpy(&function->writable[at], writable, len);
    memset(&function->writable[at], 0, 2);
    if (function->capability_last)
        function->config[function->capability_last + PCI_CAP_LIST_NEXT] = (uint8_t)at;
    else
        function->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
    function->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    function->capability_last = (uint8_t)at;
    /* A list that is full to the last byte has no next offset; the next call finds no room. */
    at = (uint32_t)u64_min(align_up(at + len, 4), PCI_CONFIG_SIZE - 1);
    function->capability_end = (uint8_t)at;
    *offset = function->capability_last;
    return 0;
}

static void header_fill(struct pci_function *function)
{
    uint8_t *config = function->config;

    pci_put16(&config[PCI_VENDOR_ID], function->vendor_id);
    pci_put16(&config[PCI_DEVICE_ID], function->device_id);
    pci_put32(&config[PCI_CLASS_REVISION], function->class_code << 8 | function->revision_id);
    pci_put16(&config[PCI_SUBSYSTEM_VENDOR_ID], function->subsystem_vendor_id);
    pci_put16(&config[PCI_SUBSYSTEM_ID], function->subsystem_id);
    config[PCI_INTERRUPT_PIN] = function->has_intx ? INTA : 0;
    pci_put16(&function->writable[PCI_COMMAND], COMMAND_WRITABLE);
    function->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    function->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_function_attach(struct pci_function *function, struct pci_root *root, uint8_t slot)
{
    CHECK(!function->root);
    function->root = root;
    function->slot = slot;
    header_fill(function);
    memcpy(function->config_initial, function->config, PCI_CONFIG_SIZE);
}

void pci_function_reset(struct pci_function *function)
{
    uint16_t command_before = command(function);

    CHECK(function->root);
    function->intx_wanted = false;
    memcpy(function->config, function->config_initial, PCI_CONFIG_SIZE);
    command_changed(function, command_before);
}

void pci_function_detach(struct pci_function *function)
{
    pci_function_reset(function);
    function->root = NULL;
}
