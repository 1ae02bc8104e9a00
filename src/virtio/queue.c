#include "virtio/queue.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ring fields are little-endian (1.4)");
_Static_assert(sizeof(struct vring_desc) == 16, "2.7.5");
_Static_assert(sizeof(struct vring_used_elem) == 8, "2.7.8");
_Static_assert(offsetof(struct vring_avail, ring) == 4, "2.7.6");
_Static_assert(offsetof(struct vring_used, ring) == 4, "2.7.8");

enum { BITMAP_BITS = 64 };

/* Descriptors of an indirect table have no alignment; volatile makes each copy one load. */
struct unaligned_u64 {
    uint64_t value;
} __attribute__((packed));

static struct vring_desc desc_copy(const struct vring_desc *desc)
{
    const volatile struct unaligned_u64 *words = (const void *)desc;
    uint64_t raw[2] = {words[0].value, words[1].value};
    struct vring_desc copy;

    memcpy(&copy, raw, sizeof(copy));
    return copy;
}

/* The event fields follow the rings (2.7.6, 2.7.8). */
static __virtio16 *used_event(const struct virtq *vq)
{
    return &vq->avail->ring[vq->size];
}

static __virtio16 *avail_event(const struct virtq *vq)
{
    return (__virtio16 *)(void *)&vq->used->ring[vq->size];
}

static int queue_break(struct virtq *vq, const char *why)
{
    vq->error = why;
    return -EINVAL;
}

int virtq_init(struct virtq *vq, const struct gmem *mem, uint16_t size_max)
{
    CHECK(is_power_of_two(size_max));
    CHECK_CMP(size_max, <=, VIRTQ_SIZE_MAX);
    *vq = (struct virtq){.mem = mem, .size_max = size_max};
    vq->in_flight = calloc((size_max + BITMAP_BITS - 1) / BITMAP_BITS, sizeof(*vq->in_flight));
    return vq->in_flight ? 0 : -ENOMEM;
}

void virtq_free(struct virtq *vq)
{
    free(vq->in_flight);
    *vq = (struct virtq){0};
}

static void *area_resolve(const struct virtq *vq, uint64_t addr, uint64_t alignment, uint64_t len)
{
    return addr % alignment ? NULL : gmem_ptr(vq->mem, gpa(addr), len);
}

int virtq_enable(struct virtq *vq, const struct virtq_config *config, uint64_t features)
{
    uint64_t size = config->size;

    CHECK_CMP(vq->size, ==, 0);
    if (!is_power_of_two(size) || size > vq->size_max)
        return -EINVAL;
    vq->desc = area_resolve(vq, config->desc, VRING_DESC_ALIGN_SIZE, 16 * size);
    vq->avail = area_resolve(vq, config->driver, VRING_AVAIL_ALIGN_SIZE, 6 + 2 * size);
    vq->used = area_resolve(vq, config->device, VRING_USED_ALIGN_SIZE, 6 + 8 * size);
    if (!vq->desc || !vq->avail || !vq->used)
        return -EINVAL;
    vq->size = config->size;
    vq->event_idx = features & 1ULL << VIRTIO_RING_F_EVENT_IDX;
    vq->indirect = features & 1ULL << VIRTIO_RING_F_INDIRECT_DESC;
    /* The driver zeroes the areas: flags 0 or avail_event 0 ask for the first notification. */
    vq->notify_enabled = true;
    return 0;
}

void virtq_disable(struct virtq *vq)
{
    uint64_t *in_flight = vq->in_flight;

    memset(in_flight, 0, (vq->size_max + BITMAP_BITS - 1) / BITMAP_BITS * sizeof(*in_flight));
    *vq = (struct virtq){.mem = vq->mem, .size_max = vq->size_max, .in_flight = in_flight};
}

/* One buffer of a chain; its descriptor is a copy. NULL or why the queue is broken. */
static const char *chain_add(const struct virtq *vq, struct virtq_chain *chain,
                             const struct vring_desc *desc, bool *writing)
{
    bool writable = desc->flags & VRING_DESC_F_WRITE;
    struct iovec *iov;
    uint32_t *len = writable ? &chain->writable_len : &chain->readable_len;

    if (*writing && !writable)
        return "a readable buffer after a writable one"; /* 2.7.4.2 */
    *writing = writable;
    if (!desc->len)
        return NULL;
    if (chain->readable_count + chain->writable_count == chain->iov_max)
        return "a chain of more buffers than the device takes";
    if (desc->len > UINT32_MAX - chain->readable_len - chain->writable_len)
        return "a chain of more than 4 GiB"; /* 2.7.5.2 */
    iov = &chain->iov[chain->readable_count + chain->writable_count];
    iov->iov_base = gmem_ptr(vq->mem, gpa(desc->addr), desc->len);
    iov->iov_len = desc->len;
    if (!iov->iov_base)
        return "a buffer outside RAM";
    *len += desc->len;
    if (writable)
        chain->writable_count++;
    else
        chain->readable_count++;
    return NULL;
}

/* Follows a chain; every step spends budget, so cycles end. NULL or why the queue is broken. */
static const char *chain_walk(const struct virtq *vq, struct virtq_chain *chain)
{
    const struct vring_desc *table = vq->desc;
    uint32_t table_count = vq->size;
    uint32_t budget = vq->size;
    uint32_t index = chain->head;
    bool writing = false;
    bool indirect = false; /* not to be told from the table: it may point at the queue itself */
    const char *error;

    for (;;) {
        struct vring_desc desc = desc_copy(&table[index]);

        if (unlikely(desc.flags & VRING_DESC_F_INDIRECT)) {
            if (!vq->indirect)
                return "an indirect descriptor without VIRTIO_F_INDIRECT_DESC";
            if (indirect)
                return "an indirect descriptor in an indirect table";
            if (desc.flags & VRING_DESC_F_NEXT) /* 2.7.5.3.1 */
                return "an indirect descriptor with a next one";
            if (!desc.len || desc.len % sizeof(desc))
                return "an indirect table of odd length";
            table = gmem_ptr(vq->mem, gpa(desc.addr), desc.len);
            if (!table)
                return "an indirect table outside RAM";
            table_count = desc.len / sizeof(desc);
            /* Linux bounds it by the device's limits, not by a queue size that it lowered. */
            budget = vq->size_max;
            index = 0;
            indirect = true;
            continue;
        }
        if (!budget--)
            return "a chain longer than the queue";
        error = chain_add(vq, chain, &desc, &writing);
        if (error)
            return error;
        if (!(desc.flags & VRING_DESC_F_NEXT))
            return NULL;
        index = desc.next;
        if (index >= table_count)
            return "a descriptor index out of range";
    }
}

/* 1: the ring has more than was taken; 0; -EINVAL. */
static int avail_refresh(struct virtq *vq)
{
    /* Pairs with the driver's release of avail idx: entries and descriptors are visible (2.7.13) */
    vq->avail_seen = __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE);
    if ((uint16_t)(vq->avail_seen - vq->avail_next) > vq->size)
        return queue_break(vq, "avail idx is ahead by more than the queue size");
    return vq->avail_seen != vq->avail_next;
}

int virtq_pop(struct virtq *vq, struct virtq_chain *chain)
{
    uint16_t head;
    uint64_t bit;
    int ret;

    if (unlikely(vq->error))
        return -EINVAL;
    if (!vq->size)
        return 0;
    if (vq->avail_next == vq->avail_seen) {
        ret = avail_refresh(vq);
        if (ret <= 0)
            return ret;
    }
    head = __atomic_load_n(&vq->avail->ring[vq->avail_next & (vq->size - 1)], __ATOMIC_RELAXED);
    if (head >= vq->size)
        return queue_break(vq, "an avail ring entry out of range");
    bit = 1ULL << head % BITMAP_BITS;
    if (vq->in_flight[head / BITMAP_BITS] & bit)
        return queue_break(vq, "a head made available twice");

    chain->head = head;
    chain->readable_count = chain->writable_count = 0;
    chain->readable_len = chain->writable_len = 0;
    vq->error = chain_walk(vq, chain);
    if (vq->error)
        return -EINVAL;
    chain->readable = chain->iov;
    chain->writable = chain->iov + chain->readable_count;
    vq->in_flight[head / BITMAP_BITS] |= bit;
    vq->in_flight_count++;
    vq->avail_next++;
    return 1;
}

void virtq_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t len)
{
    uint64_t *word = &vq->in_flight[chain->head / BITMAP_BITS];
    uint64_t bit = 1ULL << chain->head % BITMAP_BITS;
    struct vring_used_elem *elem;

    CHECK(*word & bit);
    *word &= ~bit;
    vq->in_flight_count--;
    if (vq->error)
        return;
    elem = &vq->used->ring[vq->used_next & (vq->size - 1)];
    elem->id = chain->head;
    elem->len = len;
    vq->used_next++;
}

bool virtq_flush(struct virtq *vq)
{
    uint16_t old = vq->used_published;
    uint16_t new = vq->used_next;

    if (old == new)
        return false;
    /*
     * Pairs with the driver's acquire of used idx: it sees the entries and the payload (2.7.8).
     * The driver asks for interrupts, then looks at used idx; we store used idx, then look at what
     * it asked for. Sequentially consistent store and load: a full fence lies between the two, or
     * both sides could look too early (2.7.7.2).
     */
    __atomic_store_n(&vq->used->idx, new, __ATOMIC_SEQ_CST);
    vq->used_published = new;
    if (vq->event_idx) {
        uint16_t event = __atomic_load_n(used_event(vq), __ATOMIC_SEQ_CST);

        return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    }
    return !(__atomic_load_n(&vq->avail->flags, __ATOMIC_SEQ_CST) & VRING_AVAIL_F_NO_INTERRUPT);
}

void virtq_notify_disable(struct virtq *vq)
{
    if (!vq->notify_enabled)
        return;
    vq->notify_enabled = false;
    if (vq->event_idx) /* an entry that is taken already: passed only after 65535 more */
        __atomic_store_n(avail_event(vq), (uint16_t)(vq->avail_next - 1), __ATOMIC_RELAXED);
    else
        __atomic_store_n(&vq->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool virtq_notify_enable(struct virtq *vq)
{
    vq->notify_enabled = true;
    /*
     * The driver stores avail idx, then looks at what we asked for; we ask, then look at avail idx.
     * With the full fence of a sequentially consistent store and load between the two, one side
     * sees the other's store: no kick is lost (2.7.10, hostile-guest class 15). The test that hangs
     * without: virtq/hostile_15_no_notification_is_lost_between_two_threads.
     */
    if (vq->event_idx)
        __atomic_store_n(avail_event(vq), vq->avail_next, __ATOMIC_SEQ_CST);
    else
        __atomic_store_n(&vq->used->flags, 0, __ATOMIC_SEQ_CST);
    return !vq->error && __atomic_load_n(&vq->avail->idx, __ATOMIC_SEQ_CST) != vq->avail_next;
}

bool virtq_has_avail(const struct virtq *vq)
{
    return vq->size && !vq->error &&
           __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE) != vq->avail_next;
}

const char *virtq_error(const struct virtq *vq)
{
    return vq->error;
}
