/* Between the files of the PCI transport: registers (pci_registers.c) and function (pci.c). */
#pragma once
#include "bus/msix.h"
#include "virtio/doorbells.h"
#include "virtio/pci.h"

/* The BAR that has everything: a page for each structure, then MSI-X. */
enum {
    PCI_BAR = 0,
    PCI_PORT_BAR = 1, /* notifications once more, where there are ports */
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
    bool has_ports;
    uint8_t window; /* config offset of the PCI_CFG capability */
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* A write at `offset` of the notifications: the address says which queue; the value is the same
 * number (4.1.5.2). */
void virtio_pci_notify(struct virtio_pci *pci, uint64_t offset);
/*
 * An access inside the PCI_BAR; access->offset is from its start. `may_defer`: the answer to a
 * reset may come later (BUS_DEFER).
 */
enum bus_verdict virtio_pci_bar_access(struct virtio_pci *pci, struct bus_access *access,
                                       bool may_defer);
