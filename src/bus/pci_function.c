/* Configuration space of one function: header, BARs, capabilities, INTA (PCI 3.0, chapter 6). */
#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "base/arith.h"
#include "base/check.h"
#include "bus/pci_private.h"

enum { CAPABILITY_FIRST = PCI_STD_HEADER_SIZEOF, INTA = 1, IO_SPACE_SIZE = 0x10000 };

#define COMMAND_WRITABLE                                                             \
    (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | \
     PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)

static uint16_t get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static void put16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

static uint32_t get32(const uint8_t *bytes)
{
    return get16(bytes) | (uint32_t)get16(bytes + 2) << 16;
}

static void put32(uint8_t *bytes, uint32_t value)
{
    put16(bytes, (uint16_t)value);
    put16(bytes + 2, (uint16_t)(value >> 16));
}

static uint16_t command(const struct pci_function *function)
{
    return get16(&function->config[PCI_COMMAND]);
}

static uint32_t bar_offset(unsigned bar)
{
    return PCI_BASE_ADDRESS_0 + 4 * bar;
}

static uint32_t bar_flags(const struct pci_bar *bar)
{
    switch (bar->type) {
    case PCI_BAR_IO:
        return PCI_BASE_ADDRESS_SPACE_IO;
    case PCI_BAR_MEM64:
        return PCI_BASE_ADDRESS_MEM_TYPE_64 |
               (bar->prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
    case PCI_BAR_MEM32:
        return bar->prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0;
    case PCI_BAR_NONE:
        break;
    }
    return 0;
}

/* The address that the guest has written. */
static uint64_t bar_address(const struct pci_function *function, unsigned index)
{
    const struct pci_bar *bar = &function->bars[index];
    uint64_t address = get32(&function->config[bar_offset(index)]) & ~(bar->size - 1) & UINT32_MAX;

    if (bar->type == PCI_BAR_MEM64)
        address |= (uint64_t)get32(&function->config[bar_offset(index + 1)]) << 32;
    return address & ~(bar->size - 1);
}

/* Decoding is enabled, and the address is one that can be decoded; 0 and the top are what sizing
 * leaves behind. */
static bool bar_is_wanted(const struct pci_function *function, unsigned index, uint64_t address)
{
    const struct pci_bar *bar = &function->bars[index];
    uint64_t last;

    if (bar->type == PCI_BAR_NONE || !address || !u64_add(address, bar->size - 1, &last))
        return false;
    if (bar->type == PCI_BAR_IO)
        return command(function) & PCI_COMMAND_IO && last < IO_SPACE_SIZE;
    if (bar->type == PCI_BAR_MEM32 && last >= UINT32_MAX)
        return false;
    return command(function) & PCI_COMMAND_MEMORY && last != UINT64_MAX;
}

/* Brings the bus in line with config space. Returns true when a place in a bus became free. */
static bool bar_update(struct pci_function *function, unsigned index)
{
    struct pci_bar *bar = &function->bars[index];
    uint64_t address = bar_address(function, index);
    bool wanted = bar_is_wanted(function, index, address);
    bool was_decoded = bar->decoded;
    struct bus *bus = pci_root_bus(function->root, bar->type);

    if (!bus || (wanted && was_decoded && address == bar->range.base) || (!wanted && !was_decoded))
        return false;
    if (wanted) {
        /* An address that something else has: this one is not decoded until there is room. */
        bar->decoded = bus_move(bus, &bar->range, address) == 0;
    } else {
        bus_remove(bus, &bar->range);
        bar->decoded = false;
    }
    if ((was_decoded || bar->decoded) && function->ops->bar_changed)
        function->ops->bar_changed(function, index);
    return was_decoded;
}

static void decode_update(struct pci_function *function)
{
    bool freed = false;

    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        freed |= bar_update(function, i);
    if (freed)
        pci_root_decode_retry(function->root);
}

void pci_function_decode_retry(struct pci_function *function)
{
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        if (!function->bars[i].decoded)
            bar_update(function, i);
}

static void intx_update(struct pci_function *function)
{
    bool level = function->intx_wanted && !(command(function) & PCI_COMMAND_INTX_DISABLE);

    if (level == function->intx_driven)
        return;
    function->intx_driven = level;
    pci_root_intx(function->root, function->slot, level);
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

static bool overlaps(uint32_t offset, uint32_t len, uint32_t start, uint32_t end)
{
    return offset < end && offset + len > start;
}

static void config_write(struct pci_function *function, uint32_t offset, uint64_t value,
                         uint32_t len)
{
    for (uint32_t i = 0; i < len; i++, value >>= 8) {
        uint8_t mask = function->writable[offset + i];
        uint8_t *byte = &function->config[offset + i];

        *byte = (uint8_t)((*byte & ~mask) | ((uint8_t)value & mask));
    }
    if (overlaps(offset, len, PCI_COMMAND, PCI_STATUS)) {
        decode_update(function);
        intx_update(function);
    } else if (overlaps(offset, len, PCI_BASE_ADDRESS_0, PCI_CARDBUS_CIS)) {
        decode_update(function);
    }
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

void pci_function_config_access(struct pci_function *function, uint32_t offset,
                                struct bus_access *access)
{
    if (offset + access->size > PCI_CONFIG_SIZE) {
        access->value = 0;
        return;
    }
    if (function->ops && function->ops->config_access &&
        function->ops->config_access(function, offset, access))
        return;
    pci_function_config_plain(function, offset, access);
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

    put16(&config[PCI_VENDOR_ID], function->vendor_id);
    put16(&config[PCI_DEVICE_ID], function->device_id);
    put32(&config[PCI_CLASS_REVISION], function->class_code << 8 | function->revision_id);
    put16(&config[PCI_SUBSYSTEM_VENDOR_ID], function->subsystem_vendor_id);
    put16(&config[PCI_SUBSYSTEM_ID], function->subsystem_id);
    config[PCI_INTERRUPT_PIN] = function->has_intx ? INTA : 0;
    put16(&function->writable[PCI_COMMAND], COMMAND_WRITABLE);
    function->writable[PCI_CACHE_LINE_SIZE] = 0xff;
    function->writable[PCI_INTERRUPT_LINE] = 0xff;
}

static void bar_fill(struct pci_function *function, unsigned index, uint64_t base)
{
    struct pci_bar *bar = &function->bars[index];
    uint64_t mask = ~(bar->size - 1);
    uint32_t at = bar_offset(index);

    if (bar->type == PCI_BAR_NONE)
        return;
    CHECK(is_power_of_two(bar->size) && bar->size >= (bar->type == PCI_BAR_IO ? 4 : 16));
    bar->range.len = bar->size;
    bar->range.base = base;
    put32(&function->config[at], (uint32_t)base | bar_flags(bar));
    put32(&function->writable[at], (uint32_t)mask);
    if (bar->type == PCI_BAR_MEM64) {
        CHECK_CMP(index + 1, <, (unsigned)PCI_BAR_COUNT);
        CHECK(function->bars[index + 1].type == PCI_BAR_NONE);
        put32(&function->config[at + 4], (uint32_t)(base >> 32));
        put32(&function->writable[at + 4], (uint32_t)(mask >> 32));
    } else {
        CHECK_CMP(bar->size, <=, 1ULL << 31);
    }
}

void pci_function_attach(struct pci_function *function, struct pci_root *root, uint8_t slot,
                         const uint64_t bar_bases[PCI_BAR_COUNT])
{
    CHECK(!function->root);
    function->root = root;
    function->slot = slot;
    header_fill(function);
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        bar_fill(function, i, bar_bases[i]);
    memcpy(function->config_initial, function->config, PCI_CONFIG_SIZE);
}

void pci_function_reset(struct pci_function *function)
{
    CHECK(function->root);
    function->intx_wanted = false;
    memcpy(function->config, function->config_initial, PCI_CONFIG_SIZE);
    decode_update(function);
    intx_update(function);
}

void pci_function_detach(struct pci_function *function)
{
    pci_function_reset(function);
    function->root = NULL;
}
