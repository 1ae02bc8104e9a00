/*
 * The MMIO transport (virtio 1.2, section 4.2, version 2), for guests without PCI: a page with
 * registers at its start and the configuration space behind, one interrupt line, high while
 * InterruptStatus is not 0. A write of a queue's number to QueueNotify rings that queue's eventfd
 * through the doorbell chip; where there is none, it arrives as an access. Nothing announces such a
 * device but what the machine tells its firmware tables.
 *
 * Executor thread, or before it runs.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/doorbell.h"
#include "bus/irq.h"
#include "virtio/device.h"

struct virtio_mmio;

enum { VIRTIO_MMIO_LEN = 0x1000 };

struct virtio_mmio_config {
    struct bus *bus;
    uint64_t base;       /* of VIRTIO_MMIO_LEN bytes of the bus, which nobody else claims */
    struct irq_line irq; /* level triggered, active high; of this device alone, or an OR's input */
    struct doorbell_chip doorbells; /* .ops NULL: none */
};

/*
 * Puts `device`, which stays the caller's, on the bus. -EEXIST, -ENOSPC, -EMFILE, -ENOMEM with a
 * line. Before the guest runs.
 */
must_check int virtio_mmio_create(struct virtio_mmio **out, struct virtio_device *device,
                                  const struct virtio_mmio_config *config, struct err *err);
/* NULL is allowed. The device is stopped; it is destroyed after this. */
void virtio_mmio_destroy(struct virtio_mmio *mmio);

/* virtio_device_shutdown: for power-off and for a reboot in place. `stopped` may be called before
 * this returns. */
void virtio_mmio_shutdown(struct virtio_mmio *mmio, void (*stopped)(void *arg), void *arg);
