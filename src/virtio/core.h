/* Between the files of the device core (device.c, pump.c); nothing for devices or transports. */
#pragma once
#include "base/compiler.h"
#include "virtio/device.h"

/* Allocates the ring state and the request pool. -ENOMEM. */
must_check int queue_init(struct virtio_queue *queue, struct virtio_device *device, uint16_t index);
/* A zeroed queue is allowed. */
void queue_free(struct virtio_queue *queue);
/* DRIVER_OK: starts the pump of an enabled queue; one activity of the device, which ends when the
 * pump has drained. */
void queue_start(struct virtio_queue *queue);
/* An enabled queue whose pump does not run. */
void queue_disable(struct virtio_queue *queue);
