/*
 * What the files of the PCI code share: pci_root.c (the root bus and the ways into configuration
 * space), pci_function.c (configuration space of one function), pci_bar.c (who decodes what).
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/log.h"
#include "bus/pci.h"

struct pci_root {
    struct pci_root_config config;
    struct pci_function *functions[PCI_SLOT_COUNT];
    struct pci_function host_bridge;
    struct bus_range address_range; /* CF8 */
    struct bus_range data_range;    /* CFC */
    struct bus_range ecam_range;
    uint32_t address;                    /* what the guest wrote to CF8 */
    uint32_t intx_slots[PCI_INTX_COUNT]; /* a bit for each slot that drives the root pin */
    struct log_limit log_limit;
};

/* Registers in config space bytes. */
uint16_t pci_get16(const uint8_t *bytes);
void pci_put16(uint8_t *bytes, uint16_t value);
uint32_t pci_get32(const uint8_t *bytes);
void pci_put32(uint8_t *bytes, uint32_t value);

/* Config space by the guest; offset + access->size <= 4096, size 1, 2 or 4. */
void pci_function_config_access(struct pci_function *function, uint32_t offset,
                                struct bus_access *access);
/* Fills in the header; the BARs are assigned before. */
void pci_function_attach(struct pci_function *function, struct pci_root *root, uint8_t slot);
void pci_function_detach(struct pci_function *function);

/* Gives the BARs, before attach, addresses from the windows that no function was given; -ENOSPC. */
must_check int pci_bars_assign(struct pci_root *root, struct pci_function *function,
                               struct err *err);
/* Makes both buses follow the registers of all functions. */
void pci_bars_update(struct pci_root *root);
