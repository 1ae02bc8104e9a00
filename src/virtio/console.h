/*
 * The console device (virtio 1.2, section 5.3) with its one port: hvc0 of a Linux guest. Bytes go
 * to and come from a chardev. A chardev without room holds the transmit queue; without input it
 * leaves the receive queue alone.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "chardev/chardev.h"
#include "virtio/device.h"

/*
 * `name` is for messages; it and the chardev, whose client the device becomes, stay the caller's
 * and outlive the device. Free with virtio_device_destroy. -ENOMEM.
 */
must_check int virtio_console_create(struct virtio_device **out,
                                     const struct virtio_context *context, const char *name,
                                     struct chardev *chardev, struct err *err);
