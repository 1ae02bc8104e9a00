/* The entropy device (virtio 1.2, section 5.4): fills the driver's buffers with getrandom(2). */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "virtio/device.h"

/* `name` is for messages and outlives the device. Free with virtio_device_destroy. -ENOMEM. */
must_check int virtio_rng_create(struct virtio_device **out, const struct virtio_context *context,
                                 const char *name, struct err *err);
