/*
 * Test side: a machine with one disk (an image in memory or in a file), and a driver for it that
 * builds requests piece by piece. Helpers assert.
 */
#pragma once
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fake_driver.h"
#include "virtio/blk.h"

#define BIT(feature)  (1ULL << (feature))
#define RING_FEATURES (BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define BLK_FEATURES                                                                      \
    (BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_DISCARD) | \
     BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_BLK_SIZE) | \
     BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_RO))

#define SECTOR       512UL
#define DISK_SIZE    (1UL << 20)
#define DISK_SECTORS (DISK_SIZE / SECTOR)

/* A machine with one disk and a driver for it. */
struct blk_rig {
    struct fake_machine *machine;
    struct fake_driver *driver;
    struct fake_queue *queue;
    int fd; /* of the image */
    char path[64];
    struct blk_config config;
};

/* A request being built: header, payload, status. */
struct blk_test_request {
    struct fake_buffer buffers[64];
    uint16_t readable, writable;
    uint8_t *status;
};

/* An image in memory, zeroed. */
void blk_rig_image(struct blk_rig *rig, off_t size);
/* An image in a file of a real file system, already unlinked. */
void blk_rig_file(struct blk_rig *rig, off_t size);
void blk_rig_attach(struct blk_rig *rig);
void blk_rig_start(struct blk_rig *rig);
void blk_rig_end(struct blk_rig *rig);
struct virtio_blk_outhdr *blk_request_header(const struct blk_test_request *request);
struct blk_test_request blk_request_make(struct blk_rig *rig, uint32_t type, uint64_t sector);
void blk_request_readable(struct blk_test_request *request, struct fake_buffer buffer);
void blk_request_writable(struct blk_test_request *request, struct fake_buffer buffer);
/* Adds the status byte and puts the chain in the ring. */
void blk_request_add(struct blk_rig *rig, struct fake_queue *queue,
                     struct blk_test_request *request);
/* The same, and waits: the status; *len is what the device says it wrote. */
uint8_t blk_request_run(struct blk_rig *rig, struct blk_test_request *request, uint32_t *len);
uint8_t blk_read(struct blk_rig *rig, uint64_t sector, struct fake_buffer buffer, uint32_t *len);
uint8_t blk_write(struct blk_rig *rig, uint64_t sector, struct fake_buffer buffer, uint32_t *len);
uint8_t blk_run_ranges(struct blk_rig *rig, uint32_t type,
                       const struct virtio_blk_discard_write_zeroes *ranges, size_t count);
uint8_t blk_run_range(struct blk_rig *rig, uint32_t type, uint64_t sector, uint32_t count,
                      uint32_t flags);
/* Bytes that tell where they belong. */
void blk_pattern(uint8_t *bytes, size_t len, uint32_t seed);
void blk_image_fill(struct blk_rig *rig, uint8_t *pattern, size_t len, uint32_t seed);
bool blk_image_is(struct blk_rig *rig, off_t offset, const void *bytes, size_t len);
uint64_t blk_image_allocated(struct blk_rig *rig);
uint64_t blk_config_get(struct blk_rig *rig, uint32_t offset, uint8_t size);

#define CONFIG(rig, field)                                         \
    blk_config_get(rig, offsetof(struct virtio_blk_config, field), \
                   sizeof(((struct virtio_blk_config *)0)->field))
