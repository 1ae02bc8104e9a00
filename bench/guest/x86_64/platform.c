/* The chips that every PC has: first serial port, PCI configuration ports. */
#include "../arch.h"

enum {
    COM1 = 0x3f8,
    COM1_STATUS = COM1 + 5,
    COM1_STATUS_ROOM = 0x20,
    PCI_ADDRESS = 0xcf8,
    PCI_DATA = 0xcfc,
};
#define PCI_ENABLE 0x80000000U

void console_put(char c)
{
    while (!(in8(COM1_STATUS) & COM1_STATUS_ROOM))
        cpu_relax();
    out8(COM1, (uint8_t)c);
}

uint32_t pci_config_read(uint32_t function, uint32_t offset)
{
    out32(PCI_ADDRESS, PCI_ENABLE | function << 8 | offset);
    return in32(PCI_DATA);
}

void pci_config_write(uint32_t function, uint32_t offset, uint32_t value)
{
    out32(PCI_ADDRESS, PCI_ENABLE | function << 8 | offset);
    out32(PCI_DATA, value);
}

bool pci_config_exists(void)
{
    out32(PCI_ADDRESS, PCI_ENABLE);
    return in32(PCI_ADDRESS) == PCI_ENABLE;
}

/* The address register: reading and writing it does nothing else. */
void exit_port_read(void)
{
    (void)in32(PCI_ADDRESS);
}

void exit_port_write(void)
{
    out32(PCI_ADDRESS, PCI_ENABLE);
}
