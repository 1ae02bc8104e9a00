/* The split virtqueue (virtio 1.2, section 2.7): descriptor table, avail ring, used ring. */
#include <string.h>

#include "virtio/queue_private.h"

_Static_assert(sizeof(struct vring_desc) == 16, "2.7.5");
_Static_assert(sizeof(struct vring_used_elem) == 8, "2.7.8");
_Static_assert(offsetof(struct vring_avail, ring) == 4, "2.7.6");
_Static_assert(offsetof(struct vring_used, ring) == 4, "2.7.8");

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
    return &vq->split.avail->ring[vq->size];
}

static __virtio16 *avail_event(const struct virtq *vq)
{
    return (__virtio16 *)(void *)&vq->split.used->ring[vq->size];
}

int virtq_split_enable(struct virtq *vq, const struct virtq_config *config)
{
    uint64_t size = config->size;
    struct virtq_split *split = &vq->split;

    *split = (struct virtq_split){
        .desc = virtq_area(vq, config->desc, VRING_DESC_ALIGN_SIZE, 16 * size),
        .avail = virtq_area(vq, config->driver, VRING_AVAIL_ALIGN_SIZE, 6 + 2 * size),
        .used = virtq_area(vq, config->device, VRING_USED_ALIGN_SIZE, 6 + 8 * size),
    };
    return split->desc && split->avail && split->used ? 0 : -EINVAL;
}

/* Follows a chain; every step spends budget, so cycles end. NULL or why the queue is broken. */
static const char *chain_walk(const struct virtq *vq, struct virtq_chain *chain)
{
    const struct vring_desc *table = vq->split.desc;
    uint32_t table_count = vq->size;
    uint32_t budget = vq->size;
    uint32_t index = chain->head;
    bool writing = false;
    bool indirect = false; /* not to be told from the table: it may point at the queue itself */
    const char *error;

    chain->slot_count = 0;
    for (;;) {
        struct vring_desc desc = desc_copy(&table[index]);

        chain->slot_count += !indirect;
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
        error = virtq_chain_add(vq, chain, desc.addr, desc.len, desc.flags, &writing);
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
    struct virtq_split *split = &vq->split;

    /* Pairs with the driver's release of avail idx: entries and descriptors are visible (2.7.13) */
    split->avail_seen = __atomic_load_n(&split->avail->idx, __ATOMIC_ACQUIRE);
    if ((uint16_t)(split->avail_seen - split->avail_next) > vq->size)
        return virtq_break(vq, "avail idx is ahead by more than the queue size");
    return split->avail_seen != split->avail_next;
}

int virtq_split_pop(struct virtq *vq, struct virtq_chain *chain)
{
    struct virtq_split *split = &vq->split;
    uint16_t head;
    int ret;

    if (unlikely(vq->error))
        return -EINVAL;
    if (!vq->size)
        return 0;
    if (split->avail_next == split->avail_seen) {
        ret = avail_refresh(vq);
        if (ret <= 0)
            return ret;
    }
    head =
        __atomic_load_n(&split->avail->ring[split->avail_next & (vq->size - 1)], __ATOMIC_RELAXED);
    if (head >= vq->size)
        return virtq_break(vq, "an avail ring entry out of range");
    if (virtq_is_in_flight(vq, head))
        return virtq_break(vq, "a head made available twice");

    chain->head = head;
    virtq_chain_begin(chain);
    vq->error = chain_walk(vq, chain);
    if (vq->error)
        return -EINVAL;
    virtq_chain_end(chain);
    virtq_in_flight_begin(vq, chain);
    split->avail_next++;
    return 1;
}

void virtq_split_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t len)
{
    struct virtq_split *split = &vq->split;
    struct vring_used_elem *elem;

    virtq_in_flight_end(vq, chain);
    if (vq->error)
        return;
    elem = &split->used->ring[split->used_next & (vq->size - 1)];
    elem->id = chain->head;
    elem->len = len;
    split->used_next++;
}

bool virtq_split_flush(struct virtq *vq)
{
    struct virtq_split *split = &vq->split;
    uint16_t old = split->used_published;
    uint16_t new = split->used_next;

    if (old == new)
        return false;
    /*
     * Pairs with the driver's acquire of used idx: it sees the entries and the payload (2.7.8).
     * The driver asks for interrupts, then looks at used idx; we store used idx, then look at what
     * it asked for. A full fence lies between the two, or both sides could look too early
     * (2.7.7.2).
     */
    virtq_store_and_fence(&split->used->idx, new);
    split->used_published = new;
    if (vq->event_idx) {
        uint16_t event = __atomic_load_n(used_event(vq), __ATOMIC_SEQ_CST);

        return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    }
    return !(__atomic_load_n(&split->avail->flags, __ATOMIC_SEQ_CST) & VRING_AVAIL_F_NO_INTERRUPT);
}

void virtq_split_notify_disable(struct virtq *vq)
{
    if (vq->event_idx) /* an entry that is taken already: passed only after 65535 more */
        __atomic_store_n(avail_event(vq), (uint16_t)(vq->split.avail_next - 1), __ATOMIC_RELAXED);
    else
        __atomic_store_n(&vq->split.used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool virtq_split_notify_enable(struct virtq *vq)
{
    const struct virtq_split *split = &vq->split;

    /*
     * The driver stores avail idx, then looks at what we asked for; we ask, then look at avail idx.
     * With a full fence between the two, one side sees the other's store: no kick is lost (2.7.10,
     * hostile-guest class 15). The test that hangs without:
     * virtq/hostile_15_no_notification_is_lost_between_two_threads.
     */
    if (vq->event_idx)
        virtq_store_and_fence(avail_event(vq), split->avail_next);
    else
        virtq_store_and_fence(&split->used->flags, 0);
    return !vq->error && __atomic_load_n(&split->avail->idx, __ATOMIC_SEQ_CST) != split->avail_next;
}

bool virtq_split_has_avail(const struct virtq *vq)
{
    const struct virtq_split *split = &vq->split;

    return vq->size && !vq->error &&
           __atomic_load_n(&split->avail->idx, __ATOMIC_ACQUIRE) != split->avail_next;
}
