#include "pci.h"

#include <stddef.h>

enum {
    ADDRESS_COUNT = 32 << 3,
    CONFIG_ID = 0x00,
    CONFIG_COMMAND = 0x04,
    COMMAND_MEMORY = 1 << 1,
    COMMAND_MASTER = 1 << 2,
    STATUS_CAPABILITIES = 1 << 20,
    CONFIG_BAR_0 = 0x10,
    BAR_IS_IO = 1 << 0,
    BAR_IS_64 = 1 << 2,
    BAR_FLAGS = 0xf,
    CONFIG_CAPABILITIES = 0x34,
    CAPABILITY_MSIX = 0x11,
    MSIX_COUNT_MASK = 0x7ff,
    MSIX_TABLE = 4,
    MSIX_TABLE_BAR_MASK = 7,
};
#define MSIX_ENABLE (1U << 31)
#define ID_NONE     0xffffffffU

/* Where the next BAR goes that the monitor left alone. */
static uint64_t window_next = PCI_WINDOW_BASE;

/* Of the BAR at `offset`, which is put below 4 GiB if it is not. Returns how many it takes. */
static unsigned bar_map(struct pci_function *function, unsigned index)
{
    uint32_t offset = CONFIG_BAR_0 + 4 * index;
    uint32_t low = pci_config_read(function->address, offset), high = 0, size;
    bool is_64 = !(low & BAR_IS_IO) && low & BAR_IS_64;

    if (is_64)
        high = pci_config_read(function->address, offset + 4);
    pci_config_write(function->address, offset, UINT32_MAX);
    size = pci_config_read(function->address, offset) & ~(uint32_t)BAR_FLAGS;
    pci_config_write(function->address, offset, low);
    if (low & BAR_IS_IO || !size)
        return 1;
    if (high || !(low & ~(uint32_t)BAR_FLAGS)) {
        uint64_t length = -size;

        window_next = (window_next + length - 1) / length * length;
        low = (uint32_t)window_next;
        window_next += length;
        pci_config_write(function->address, offset, low);
        if (is_64)
            pci_config_write(function->address, offset + 4, 0);
    }
    function->bars[index] = (volatile uint8_t *)(uintptr_t)(low & ~(uint32_t)BAR_FLAGS);
    return is_64 ? 2 : 1;
}

bool pci_next(struct pci_function *function)
{
    for (uint32_t address = function->address + 1; address < ADDRESS_COUNT; address++) {
        uint32_t id = pci_config_read(address, CONFIG_ID);

        if (id == ID_NONE)
            continue;
        *function = (struct pci_function){
            .address = address, .vendor_id = (uint16_t)id, .device_id = (uint16_t)(id >> 16)};
        return true;
    }
    return false;
}

void pci_start(struct pci_function *function)
{
    uint32_t command = pci_config_read(function->address, CONFIG_COMMAND) & 0xffff;

    pci_config_write(function->address, CONFIG_COMMAND, command & ~(uint32_t)COMMAND_MEMORY);
    for (unsigned i = 0; i < PCI_BAR_COUNT;)
        i += bar_map(function, i);
    pci_config_write(function->address, CONFIG_COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER);
}

static uint8_t config_byte(const struct pci_function *function, uint32_t offset)
{
    return (uint8_t)(pci_config_read(function->address, offset & ~3U) >> 8 * (offset & 3));
}

uint8_t pci_capability_next(const struct pci_function *function, uint8_t id, uint8_t after)
{
    uint8_t at = config_byte(function, after ? after + 1U : CONFIG_CAPABILITIES) & 0xfc;

    if (!(pci_config_read(function->address, CONFIG_COMMAND) & STATUS_CAPABILITIES))
        return 0;
    while (at && config_byte(function, at) != id)
        at = config_byte(function, at + 1U) & 0xfc;
    return at;
}

uint32_t pci_capability_read(const struct pci_function *function, uint8_t at, uint32_t offset)
{
    return pci_config_read(function->address, at + offset);
}

bool pci_msix_enable(const struct pci_function *function, struct message message)
{
    uint8_t at = pci_capability_next(function, CAPABILITY_MSIX, 0);
    uint32_t control, table;
    volatile uint8_t *bar;

    if (!at)
        return false;
    control = pci_capability_read(function, at, 0);
    table = pci_capability_read(function, at, MSIX_TABLE);
    bar = function->bars[table & MSIX_TABLE_BAR_MASK];
    if (!bar)
        return false;
    pci_config_write(function->address, at, control | MSIX_ENABLE);
    for (uint32_t i = 0; i <= (control >> 16 & MSIX_COUNT_MASK); i++) {
        volatile uint32_t *entry =
            (volatile uint32_t *)(void *)(uintptr_t)(bar + (table & ~7U) + 16 * i);

        entry[0] = (uint32_t)message.address;
        entry[1] = (uint32_t)(message.address >> 32);
        entry[2] = message.data;
        entry[3] = 0;
    }
    return true;
}
