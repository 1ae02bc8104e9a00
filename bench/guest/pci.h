/* PCI functions on bus 0: finding them, their BARs and capabilities (PCI local bus 3.0). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "arch.h"

enum { PCI_BAR_COUNT = 6 };

struct pci_function {
    uint32_t address; /* of the configuration space: device << 3 | function */
    uint16_t vendor_id, device_id;
    volatile uint8_t *bars[PCI_BAR_COUNT]; /* NULL: none, or not of memory */
};

/* Goes on from function->address (0 at first, where the host bridge is) to the next one that
 * exists; false at the end. */
bool pci_next(struct pci_function *function);

/* Finds its BARs, and assigns those that nobody did; they are decoded, and bus mastering is on. */
void pci_start(struct pci_function *function);

/* Offset of the next capability of this kind behind the one at `after`, or of the first when that
 * is 0; 0: none. */
uint8_t pci_capability_next(const struct pci_function *function, uint8_t id, uint8_t after);
uint32_t pci_capability_read(const struct pci_function *function, uint8_t at, uint32_t offset);

/* Turns MSI-X on, with one message for all of its vectors. False: the function has none. */
bool pci_msix_enable(const struct pci_function *function, struct message message);
