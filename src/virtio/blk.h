/*
 * The block device (virtio 1.2, section 5.2) on a raw disk. Each request is a task: header copied
 * once, then io_uring operations straight on guest memory, then the status byte.
 *
 *  - A short transfer goes on from where it stopped, never from the start.
 *  - A flush is an fdatasync. A driver that accepts neither FLUSH nor CONFIG_WCE, or that turns
 *    the write cache off, gets each write made durable before it completes.
 *  - Direct I/O: a request whose sectors are not whole blocks of the disk fails with IOERR
 * (blk_size told the driver); one whose buffers are not aligned as the host needs goes through a
 * bounce buffer, one such request at a time.
 *  - A limit counts each request, and the bytes that it carries; zeroes when they are written one
 * by one. What is beyond it waits in the ring.
 *  - The host's errors end in IOERR and a rate-limited line; the disk goes on.
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "virtio/device.h"
#include "virtio/disk.h"

enum { BLK_QUEUE_COUNT_MAX = 16 };

struct blk_config {
    const char *name; /* for messages: "blk0"; outlives the device */
    struct disk_config disk;
    const char *id;                 /* answer to GET_ID, at most 20 bytes; NULL: empty */
    uint16_t queue_count;           /* 1 to BLK_QUEUE_COUNT_MAX */
    struct rate_limit_config limit; /* of all queues together */
};

/* Opens the disk: errors as disk_open, or -ENOMEM. Free with virtio_device_destroy. */
must_check int virtio_blk_create(struct virtio_device **out, const struct virtio_context *context,
                                 const struct blk_config *config, struct err *err);
