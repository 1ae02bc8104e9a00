/*
 * The doorbells of a device's queues, for the transports: an eventfd each, and where the guest's
 * write rings it, which may be a port as well as a place in memory. Executor thread, or before it
 * runs.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "bus/doorbell.h"
#include "virtio/device.h"

enum virtio_doorbell_kind { VIRTIO_DOORBELL_MEMORY, VIRTIO_DOORBELL_PORT, VIRTIO_DOORBELL_KINDS };

/* Embedded in the transport. */
struct virtio_doorbells {
    int fds[VIRTIO_QUEUE_COUNT_MAX]; /* read-only, for virtio_device_attach */
    /* private */
    struct doorbell_chip chip;
    struct doorbell doorbells[VIRTIO_DOORBELL_KINDS][VIRTIO_QUEUE_COUNT_MAX];
    bool is_added[VIRTIO_DOORBELL_KINDS][VIRTIO_QUEUE_COUNT_MAX];
    uint16_t count;
};

/* An eventfd for each queue of `device`; none rings yet. A chip without ops takes none. -EMFILE and
 * the like, with a line. */
must_check int virtio_doorbells_open(struct virtio_doorbells *doorbells,
                                     const struct virtio_device *device, struct doorbell_chip chip,
                                     struct err *err);
/* Nothing rings any more. */
void virtio_doorbells_close(struct virtio_doorbells *doorbells);
/*
 * From now on the write that `where` describes, its eventfd and kind apart, rings for queue
 * `index`; NULL: none of the kind does. What the chip refuses arrives as an access.
 */
void virtio_doorbells_set(struct virtio_doorbells *doorbells, enum virtio_doorbell_kind kind,
                          uint16_t index, const struct doorbell *where);
