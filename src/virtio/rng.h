/*
 * The entropy device (virtio 1.2, section 5.4): fills the driver's buffers with getrandom(2). While
 * the host has no entropy yet, early in its boot, buffers wait.
 */
#pragma once
#include <sys/types.h>

#include "base/compiler.h"
#include "base/err.h"
#include "virtio/device.h"

struct rng_config {
    const char *name; /* for messages: "rng0"; outlives the device */
    /* NULL: getrandom(2), which this must behave like. */
    ssize_t (*getrandom)(void *buffer, size_t len, unsigned flags);
};

/* Free with virtio_device_destroy. -ENOMEM, or the errno of getrandom(2) where it is forbidden. */
must_check int virtio_rng_create(struct virtio_device **out, const struct virtio_context *context,
                                 const struct rng_config *config, struct err *err);
