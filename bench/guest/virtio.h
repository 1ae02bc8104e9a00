/*
 * The driver's side of virtio 1.2: a device on either transport, started with one set of queues.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "pci.h"
#include "queue.h"

struct virtio;

struct virtio_ops {
    const char *name;
    uint32_t (*features_read)(struct virtio *virtio, uint32_t word);
    void (*features_write)(struct virtio *virtio, uint32_t word, uint32_t value);
    uint8_t (*status_read)(struct virtio *virtio);
    void (*status_write)(struct virtio *virtio, uint8_t status);
    /* The largest size of a queue; 0: the device does not have it. */
    uint16_t (*queue_size_max)(struct virtio *virtio, uint16_t index);
    /* Tells where the queue is; fills queue->notify. */
    void (*queue_start)(struct virtio *virtio, uint16_t index, struct queue *queue,
                        bool interrupts);
};

struct virtio {
    const struct virtio_ops *ops;
    volatile uint8_t *config; /* device configuration structure */
    bool has_interrupts;
    volatile uint8_t *registers; /* of the transport */
    volatile uint8_t *notify;    /* PCI */
    uint32_t notify_multiplier;
    uint64_t features; /* negotiated */
};

/* The first device of this kind (VIRTIO_ID_*). Ends the run when there is none. */
void virtio_find(struct virtio *virtio, uint16_t id);
bool virtio_pci_find(struct virtio *virtio, uint16_t id);
bool virtio_mmio_find(struct virtio *virtio, uint16_t id);

struct virtio_setup {
    uint64_t features; /* as many of them as it has */
    uint16_t queue_count;
    uint16_t queue_size_max;
    bool packed; /* or the run ends */
    bool interrupts;
};

/* Resets the device and starts it with queues 0 to queue_count - 1; their memory comes from
 * memory_alloc. */
void virtio_start(struct virtio *virtio, const struct virtio_setup *setup, struct queue *queues);
void virtio_reset(struct virtio *virtio);
bool virtio_has(const struct virtio *virtio, unsigned feature);
