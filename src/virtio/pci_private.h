/* Between the files of the PCI transport: registers (pci_registers.c) and function (pci.c). */
#pragma once
#include "bus/msix.h"
#include "virtio/doorbells.h"
#include "virtio/pci.h"

/* The one BAR: a page for each structure, then MSI-X. */
enum {
    PCI_BAR = 0,
    PCI_BAR_SIZE = 0x8000,
    PCI_COMMON_OFFSET = 0x0000,
    PCI_ISR_OFFSET = 0x1000,
    PCI_DEVICE_OFFSET = 0x2000,
    PCI_NOTIFY_OFFSET = 0x3000,
    PCI_MSIX_TABLE_OFFSET = 0x4000,
    PCI_MSIX_PENDING_OFFSET = 0x4800,
    PCI_REGION_SIZE = 0x1000,
    PCI_NOTIFY_MULTIPLIER = 4, /* bytes from one queue's notify address to the next */
};

struct virtio_pci {
    struct pci_function function;
    struct virtio_device *device;
    struct pci_root *root;
    struct msix *msix;
    struct virtio_doorbells doorbells;
    uint8_t window; /* config offset of the PCI_CFG capability */
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/*
 * An access inside the BAR; access->offset is from its start. `may_defer`: the answer to a reset
 * may come later (BUS_DEFER).
 */
enum bus_verdict virtio_pci_bar_access(struct virtio_pci *pci, struct bus_access *access,
                                       bool may_defer);
