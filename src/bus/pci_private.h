/* What the root and the functions know of each other. */
#pragma once
#include "bus/pci.h"

/* Config space by the guest; offset + access->size <= 4096. */
void pci_function_config_access(struct pci_function *function, uint32_t offset,
                                struct bus_access *access);
/* Fills in identity, BAR masks and addresses; before the guest sees it. */
void pci_function_attach(struct pci_function *function, struct pci_root *root, uint8_t slot,
                         const uint64_t bar_bases[PCI_BAR_COUNT]);
void pci_function_detach(struct pci_function *function);
/* Puts BARs into the bus that want to be there and are not: a range they overlapped may have gone.
 */
void pci_function_decode_retry(struct pci_function *function);

/* Bus of a BAR type; NULL where the machine has none. */
struct bus *pci_root_bus(struct pci_root *root, enum pci_bar_type type);
/* A BAR left its place: others may fit now. */
void pci_root_decode_retry(struct pci_root *root);
/* One more or one fewer function drives the root pin of `slot`. */
void pci_root_intx(struct pci_root *root, uint8_t slot, bool level);
