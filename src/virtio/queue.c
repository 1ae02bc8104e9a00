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

int virtq_init_order(struct virtq *vq)
{
    vq->early = calloc(vq->size_max, sizeof(*vq->early));
    return vq->early ? 0 : -ENOMEM;
}

void virtq_free(struct virtq *vq)
{
    free(vq->early);
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
    vq->in_order = features & 1ULL << VIRTIO_F_IN_ORDER;
    CHECK(!vq->in_order || vq->early);
    /* The driver zeroes the areas, which asks for the first notification. */
    vq->notify_enabled = true;
    return 0;
}

void virtq_disable(struct virtq *vq)
{
    uint64_t *in_flight = vq->in_flight;
    struct virtq_early *early = vq->early;

    memset(in_flight, 0, bitmap_words(vq) * sizeof(*in_flight));
    if (early)
        memset(early, 0, vq->size_max * sizeof(*early));
    *vq = (struct virtq){
        .mem = vq->mem, .size_max = vq->size_max, .in_flight = in_flight, .early = early};
}

/* Of each turn there is one chain at most, since no more than size_max are in flight. */
static struct virtq_early *early_of(const struct virtq *vq, uint16_t turn)
{
    return &vq->early[turn & (vq->size_max - 1)];
}

void virtq_push_in_order(struct virtq *vq, const struct virtq_chain *chain, uint32_t len)
{
    struct virtq_early *early = early_of(vq, chain->turn);

    *early = (struct virtq_early){
        .len = len, .head = chain->head, .slot_count = chain->slot_count, .is_pushed = true};
    for (; (early = early_of(vq, vq->turn_due))->is_pushed; vq->turn_due++) {
        const struct virtq_chain due = {.head = early->head, .slot_count = early->slot_count};

        early->is_pushed = false;
        if (vq->is_packed)
            virtq_packed_push(vq, &due, early->len);
        else
            virtq_split_push(vq, &due, early->len);
    }
}

const char *virtq_error(const struct virtq *vq)
{
    return vq->error;
}
