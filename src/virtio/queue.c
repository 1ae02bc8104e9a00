/* Virtqueues: what comes before and after their running. */
#include "virtio/queue.h"

#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "virtio/queue_private.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ring fields are little-endian (1.4)");

static size_t bitmap_words(const struct virtq *vq)
{
    return (vq->size_max + VIRTQ_BITMAP_BITS - 1) / VIRTQ_BITMAP_BITS;
}

int virtq_init(struct virtq *vq, const struct gmem *mem, uint16_t size_max)
{
    CHECK(is_power_of_two(size_max));
    CHECK_CMP(size_max, <=, VIRTQ_SIZE_MAX);
    *vq = (struct virtq){.mem = mem, .size_max = size_max};
    vq->in_flight = calloc(bitmap_words(vq), sizeof(*vq->in_flight));
    return vq->in_flight ? 0 : -ENOMEM;
}

void virtq_free(struct virtq *vq)
{
    free(vq->in_flight);
    *vq = (struct virtq){0};
}

void *virtq_area(const struct virtq *vq, uint64_t addr, uint64_t alignment, uint64_t len)
{
    return addr % alignment ? NULL : gmem_ptr(vq->mem, gpa(addr), len);
}

bool virtq_size_is_possible(const struct virtq *vq, uint16_t size, uint64_t features)
{
    /* Only the split layout wants powers of two (2.7, 2.8.10.1). */
    return size && size <= vq->size_max &&
           (features & 1ULL << VIRTIO_F_RING_PACKED || is_power_of_two(size));
}

int virtq_enable(struct virtq *vq, const struct virtq_config *config, uint64_t features)
{
    bool is_packed = features & 1ULL << VIRTIO_F_RING_PACKED;
    int ret;

    CHECK_CMP(vq->size, ==, 0);
    if (!virtq_size_is_possible(vq, config->size, features))
        return -EINVAL;
    ret = is_packed ? virtq_packed_enable(vq, config) : virtq_split_enable(vq, config);
    if (ret)
        return ret;
    vq->size = config->size;
    vq->is_packed = is_packed;
    vq->event_idx = features & 1ULL << VIRTIO_RING_F_EVENT_IDX;
    vq->indirect = features & 1ULL << VIRTIO_RING_F_INDIRECT_DESC;
    /* The driver zeroes the areas, which asks for the first notification. */
    vq->notify_enabled = true;
    return 0;
}

void virtq_disable(struct virtq *vq)
{
    uint64_t *in_flight = vq->in_flight;

    memset(in_flight, 0, bitmap_words(vq) * sizeof(*in_flight));
    *vq = (struct virtq){.mem = vq->mem, .size_max = vq->size_max, .in_flight = in_flight};
}

const char *virtq_error(const struct virtq *vq)
{
    return vq->error;
}
