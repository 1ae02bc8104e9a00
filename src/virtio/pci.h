/*
 * The PCI transport (virtio 1.2, section 4.1, modern only): one BAR with the common, ISR, device
 * and notification structures and the MSI-X table, plus the PCI_CFG window. Where there are ports,
 * a second BAR has the notifications once more, and is named first (4.1.4): KVM need not look at
 * the guest's instruction to know what it wrote to a port. MSI-X with a vector per
 * queue and one for the configuration; INTx with the ISR byte where the driver has no MSI-X. Each
 * queue's notify addresses ring an eventfd through the doorbell chip; where there is none, the
 * write arrives as an access.
 *
 * Layout of BAR 0, 32 KiB, 32-bit: 0x0000 common, 0x1000 ISR, 0x2000 device, 0x3000 notify
 * (4 bytes a queue), 0x4000 MSI-X table, 0x4800 pending bits. BAR 1, ports: notify.
 *
 * Executor thread, or before it runs.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "bus/doorbell.h"
#include "bus/irq.h"
#include "bus/pci.h"
#include "virtio/device.h"

struct virtio_pci;

struct virtio_pci_config {
    struct pci_root *root;
    struct msi_chip msi;
    struct doorbell_chip doorbells; /* .ops NULL: none */
    bool no_ports;                  /* notifications in memory only */
};

/*
 * Puts `device`, which stays the caller's, on the PCI bus in the lowest free slot. -ENOSPC,
 * -EMFILE, -ENOMEM with a line. Before the guest runs.
 */
must_check int virtio_pci_create(struct virtio_pci **out, struct virtio_device *device,
                                 const struct virtio_pci_config *config, struct err *err);
/* NULL is allowed. The device is stopped; it is destroyed after this. */
void virtio_pci_destroy(struct virtio_pci *pci);

/*
 * virtio_device_shutdown, then the PCI function and its MSI-X table as after virtio_pci_create:
 * for power-off and for a reboot in place. `stopped` may be called before this returns.
 */
void virtio_pci_shutdown(struct virtio_pci *pci, void (*stopped)(void *arg), void *arg);
