/*
 * What the block device and its requests share: the device's state, and the type of its requests.
 * For blk.c and blk_request.c. Executor thread.
 */
#pragma once
#include <linux/virtio_blk.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"
#include "exec/op.h"
#include "virtio/blk.h"
#include "virtio/device.h"
#include "virtio/disk.h"

enum {
    BLK_QUEUE_SIZE = 256,
    /* Ranges of one discard or write-zeroes request, and sectors of each. */
    BLK_RANGE_COUNT_MAX = 32,
    BLK_DISCARD_SECTORS_MAX = 1 << 22,
    BLK_ZERO_SECTORS_MAX = 1 << 16,
    BLK_ZERO_CHUNK_SIZE = 1 << 20,
    BLK_BOUNCE_SIZE = 128 << 10,
};

_Static_assert(BLK_DISCARD_SECTORS_MAX <= UINT32_MAX / DISK_SECTOR_SIZE,
               "a range's length in bytes is 32 bits");

struct blk_request;

struct blk {
    struct virtio_device device;
    struct disk disk;
    struct io_file file;
    uint64_t sector_count;
    char id[VIRTIO_BLK_ID_BYTES];
    struct virtio_blk_config config;
    struct virtio_queue_spec queue_specs[BLK_QUEUE_COUNT_MAX];
    struct rate_limit limit;
    void *zeroes; /* BLK_ZERO_CHUNK_SIZE, read-only memory that is never filled */

    /* Direct I/O on buffers that the host cannot take: one request at a time. */
    uint8_t *bounce;
    struct blk_request *bounce_owner;
    struct list bounce_waiters;

    struct log_limit guest_limit, host_limit;
};

static inline struct blk *blk_of(struct virtio_device *device)
{
    return container_of(device, struct blk, device);
}

extern const struct virtio_request_type blk_request_type;
