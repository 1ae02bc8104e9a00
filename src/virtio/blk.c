#include "virtio/blk.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arith.h"
#include "base/check.h"
#include "virtio/blk_request.h"

enum { SEGMENT_COUNT_MAX = BLK_QUEUE_SIZE - 2 }; /* of a chain: less header and status */

_Static_assert(offsetof(struct virtio_blk_config, wce) == 32, "virtio 1.2, 5.2.4");
_Static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) == 56,
               "virtio 1.2, 5.2.4");

static void blk_reset(struct virtio_device *device)
{
    blk_of(device)->config.wce = 1;
}

static void blk_config_write(struct virtio_device *device, uint32_t offset, const void *data,
                             uint32_t len)
{
    const uint8_t *byte = data;

    if (virtio_device_has(device, VIRTIO_BLK_F_CONFIG_WCE) && len == 1 &&
        offset == offsetof(struct virtio_blk_config, wce))
        blk_of(device)->config.wce = *byte & 1;
}

static void blk_destroy(struct virtio_device *device)
{
    struct blk *blk = blk_of(device);

    virtio_device_free(device);
    io_file_unregister(device->context.executor, &blk->file);
    CHECK_CMP(munmap(blk->zeroes, BLK_ZERO_CHUNK_SIZE), ==, 0);
    free(blk->bounce);
    disk_close(&blk->disk);
    free(blk);
}

static const struct virtio_device_ops blk_ops = {
    .reset = blk_reset,
    .config_write = blk_config_write,
    .destroy = blk_destroy,
};

static uint8_t exponent(uint32_t ratio)
{
    return (uint8_t)(31 - __builtin_clz(ratio));
}

static uint64_t offer(struct blk *blk, uint16_t queue_count)
{
    const struct disk *disk = &blk->disk;
    uint64_t features = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_BLK_SIZE |
                        1ULL << VIRTIO_BLK_F_TOPOLOGY | 1ULL << VIRTIO_BLK_F_MQ |
                        1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_CONFIG_WCE;

    blk->config = (struct virtio_blk_config){
        .capacity = htole64(blk->sector_count),
        .seg_max = htole32(SEGMENT_COUNT_MAX),
        .blk_size = htole32(disk->block_size),
        .physical_block_exp = exponent(disk->physical_block_size / disk->block_size),
        .min_io_size = htole16((uint16_t)u64_min(disk->io_min / disk->block_size, UINT16_MAX)),
        .opt_io_size = htole32(disk->io_opt / disk->block_size),
        .wce = 1,
        .num_queues = htole16(queue_count),
    };
    if (disk->read_only)
        return features | 1ULL << VIRTIO_BLK_F_RO;
    features |= 1ULL << VIRTIO_BLK_F_WRITE_ZEROES;
    blk->config.max_write_zeroes_sectors = htole32(BLK_ZERO_SECTORS_MAX);
    blk->config.max_write_zeroes_seg = htole32(BLK_RANGE_COUNT_MAX);
    blk->config.write_zeroes_may_unmap = disk->discard_granularity != 0;
    if (disk->discard_granularity) {
        features |= 1ULL << VIRTIO_BLK_F_DISCARD;
        blk->config.max_discard_sectors = htole32(BLK_DISCARD_SECTORS_MAX);
        blk->config.max_discard_seg = htole32(BLK_RANGE_COUNT_MAX);
        blk->config.discard_sector_alignment =
            htole32(disk->discard_granularity / DISK_SECTOR_SIZE);
    }
    return features;
}

int virtio_blk_create(struct virtio_device **out, const struct virtio_context *context,
                      const struct blk_config *config, struct err *err)
{
    struct blk *blk = calloc(1, sizeof(*blk));
    int ret;

    CHECK(config->queue_count && config->queue_count <= BLK_QUEUE_COUNT_MAX);
    if (!blk)
        return err_set(err, -ENOMEM, "%s: out of memory", config->name);
    ret = disk_open(&blk->disk, &config->disk, err);
    if (ret)
        goto fail_disk;
    ret = -ENOMEM;
    blk->zeroes = mmap(NULL, BLK_ZERO_CHUNK_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (blk->zeroes == MAP_FAILED) {
        (void)err_set(err, ret, "%s: out of memory", config->name);
        goto fail_zeroes;
    }
    if (blk->disk.memory_align > 1) {
        blk->bounce = aligned_alloc(DISK_BLOCK_SIZE_MAX, BLK_BOUNCE_SIZE);
        if (!blk->bounce) {
            (void)err_set(err, ret, "%s: out of memory", config->name);
            goto fail_bounce;
        }
    }
    list_init(&blk->bounce_waiters);
    blk->sector_count = blk->disk.size / DISK_SECTOR_SIZE;
    if (config->id)
        memcpy(blk->id, config->id, strnlen(config->id, sizeof(blk->id)));
    rate_limit_init(&blk->limit, &config->limit);
    for (uint16_t i = 0; i < config->queue_count; i++)
        blk->queue_specs[i] = (struct virtio_queue_spec){
            .name = "request",
            .size_max = BLK_QUEUE_SIZE,
            .limit = rate_limit_is_on(&blk->limit) ? &blk->limit : NULL,
            .header_len = sizeof(struct virtio_blk_outhdr) + 1, /* and the status */
            .requests = &blk_request_type,
        };
    blk->device = (struct virtio_device){
        .ops = &blk_ops,
        .name = config->name,
        .id = VIRTIO_ID_BLOCK,
        .features = offer(blk, config->queue_count),
        .config = &blk->config,
        .config_len = sizeof(blk->config),
        .queue_specs = blk->queue_specs,
        .queue_count = config->queue_count,
    };
    ret = virtio_device_init(&blk->device, context, err);
    if (ret)
        goto fail_device;
    if (config->disk.iopoll)
        ret = io_file_register_polled(context->executor, blk->disk.fd, &blk->file, err);
    else
        blk->file = io_file_register(context->executor, blk->disk.fd);
    if (ret)
        goto fail_file;
    *out = &blk->device;
    return 0;
fail_file:
    virtio_device_free(&blk->device);
fail_device:
    free(blk->bounce);
fail_bounce:
    CHECK_CMP(munmap(blk->zeroes, BLK_ZERO_CHUNK_SIZE), ==, 0);
fail_zeroes:
    disk_close(&blk->disk);
fail_disk:
    free(blk);
    return ret;
}
