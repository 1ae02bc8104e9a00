/*
 * The packed virtqueue (virtio 1.2, section 2.8): one ring, whose entries the driver makes
 * available and the device overwrites as used. Bits AVAIL and USED of an entry's flags say which,
 * and change their meaning with each lap.
 *
 * A chain takes as many entries as it has descriptors (an indirect one takes one), its used entry
 * leaves as many behind. So whoever counts them knows how many the driver can have got back: what
 * it makes available beyond is its error.
 */
#include "virtio/queue_private.h"

_Static_assert(sizeof(struct vring_packed_desc) == 16, "2.8.13");
_Static_assert(sizeof(struct vring_packed_desc_event) == 4, "2.8.14");

enum {
    AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
    USED = 1 << VRING_PACKED_DESC_F_USED,
    OWNER = AVAIL | USED,

    /* 2.8.14 */
    EVENT_FLAGS = 3,
    EVENT_WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,

    RING_ALIGNMENT = 16, /* 2.8.10.1 */
    EVENT_ALIGNMENT = 4,
};

int virtq_packed_enable(struct virtq *vq, const struct virtq_config *config)
{
    struct virtq_packed *packed = &vq->packed;

    *packed = (struct virtq_packed){
        .ring = virtq_area(vq, config->desc, RING_ALIGNMENT, 16ULL * config->size),
        .driver_event = virtq_area(vq, config->driver, EVENT_ALIGNMENT, 4),
        .device_event = virtq_area(vq, config->device, EVENT_ALIGNMENT, 4),
        /* Both wrap counters are 1 at first (2.8.1). */
        .avail_flags = AVAIL,
        .used_flags = OWNER,
    };
    return packed->ring && packed->driver_event && packed->device_event ? 0 : -EINVAL;
}

/* `count` entries on from *next; in a new lap the bits of the entry's owner are the others. */
static void advance(const struct virtq *vq, uint16_t *next, uint16_t *flags, uint16_t count)
{
    uint32_t sum = (uint32_t)*next + count;

    if (sum >= vq->size) {
        sum -= vq->size;
        *flags ^= OWNER;
    }
    *next = (uint16_t)sum;
}

static bool entry_is_available(const struct virtq_packed *packed, uint16_t flags)
{
    return (flags & OWNER) == packed->avail_flags;
}

/* What the flags of an entry, or of one in an indirect table, come with. The table has no
 * alignment; volatile makes each field's copy one load. */
struct unaligned_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t id;
    uint16_t flags;
} __attribute__((packed));
_Static_assert(sizeof(struct unaligned_desc) == sizeof(struct vring_packed_desc), "2.8.13");

/* 2.8.7: only WRITE counts in there. NULL or why the queue is broken. */
static const char *table_walk(const struct virtq *vq, struct virtq_chain *chain, uint64_t addr,
                              uint32_t len)
{
    const volatile struct unaligned_desc *table;
    const char *error = NULL;
    bool writing = false;
    uint32_t count = len / sizeof(*table);

    if (!vq->indirect)
        return "an indirect descriptor without VIRTIO_F_INDIRECT_DESC";
    if (!len || len % sizeof(*table))
        return "an indirect table of odd length";
    if (count > vq->size_max)
        return "a chain longer than the queue";
    table = gmem_ptr(vq->mem, gpa(addr), len);
    if (!table)
        return "an indirect table outside RAM";
    for (uint32_t i = 0; i < count && !error; i++)
        error = virtq_chain_add(vq, chain, table[i].addr, table[i].len, table[i].flags, &writing);
    return error;
}

/* Follows a chain whose first entry is available with `flags`. NULL or why the queue is broken. */
static const char *chain_walk(const struct virtq *vq, struct virtq_chain *chain, uint16_t flags)
{
    const struct virtq_packed *packed = &vq->packed;
    uint16_t slots_free = vq->size - packed->slots_held;
    uint16_t index = packed->avail_next;
    bool writing = false;
    const char *error;

    if (!slots_free)
        return "more descriptors made available than the queue has";
    chain->slot_count = 1;
    for (;;) {
        const volatile struct vring_packed_desc *entry = &packed->ring[index];
        uint64_t addr = entry->addr;
        uint32_t len = entry->len;
        uint16_t id = entry->id;

        chain->head = id; /* the last one's (2.8.6) */
        if (flags & VRING_DESC_F_INDIRECT) {
            if (flags & VRING_DESC_F_NEXT || chain->slot_count > 1) /* 2.8.19 */
                return "an indirect descriptor among others";
            return table_walk(vq, chain, addr, len);
        }
        error = virtq_chain_add(vq, chain, addr, len, flags, &writing);
        if (error || !(flags & VRING_DESC_F_NEXT))
            return error;
        if (chain->slot_count == slots_free)
            return "a chain longer than the queue";
        chain->slot_count++;
        index = index + 1 < vq->size ? index + 1 : 0;
        /* Visible since the first one's are, whatever AVAIL and USED say here. */
        flags = ((const volatile struct vring_packed_desc *)packed->ring)[index].flags;
    }
}

int virtq_packed_pop(struct virtq *vq, struct virtq_chain *chain)
{
    struct virtq_packed *packed = &vq->packed;
    uint16_t flags;

    if (unlikely(vq->error))
        return -EINVAL;
    /* Pairs with the driver's release of the first entry's flags: the whole chain is visible, and
     * the payload (2.8.21.1.1). */
    flags = __atomic_load_n(&packed->ring[packed->avail_next].flags, __ATOMIC_ACQUIRE);
    if (!entry_is_available(packed, flags))
        return 0;
    virtq_chain_begin(chain);
    vq->error = chain_walk(vq, chain, flags);
    if (vq->error)
        return -EINVAL;
    virtq_chain_end(chain);
    if (chain->head >= vq->size) /* drivers number them so: the example of 2.8.22 relies on it */
        return virtq_break(vq, "a buffer id out of range");
    if (virtq_is_in_flight(vq, chain->head))
        return virtq_break(vq, "a buffer id made available twice");
    virtq_in_flight_begin(vq, chain);
    packed->slots_held += chain->slot_count;
    advance(vq, &packed->avail_next, &packed->avail_flags, chain->slot_count);
    return 1;
}

void virtq_packed_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t len)
{
    struct virtq_packed *packed = &vq->packed;
    struct vring_packed_desc *entry = &packed->ring[packed->used_next];
    /* 2.8.3: WRITE says whether anything was written, and so whether `len` means anything. */
    uint16_t flags = packed->used_flags | (len ? VRING_DESC_F_WRITE : 0);

    virtq_in_flight_end(vq, chain);
    if (vq->error)
        return;
    entry->id = chain->head;
    entry->len = len;
    if (!packed->slots_unpublished) {
        packed->first = packed->used_next;
        packed->first_flags = flags;
    } else {
        /* The driver looks at the first one only, until the flush. */
        __atomic_store_n(&entry->flags, flags, __ATOMIC_RELAXED);
    }
    packed->slots_unpublished += chain->slot_count;
    advance(vq, &packed->used_next, &packed->used_flags, chain->slot_count);
}

/* Whether the `count` entries up to used_next passed the one that the driver waits for. Positions
 * are of this lap: what lies in the one before is negative. */
static bool event_is_passed(const struct virtq *vq, uint16_t off_wrap, uint16_t count)
{
    uint16_t event = off_wrap & (uint16_t)~EVENT_WRAP;

    if (!(off_wrap & EVENT_WRAP) != !vq->packed.used_flags)
        event -= vq->size;
    return (uint16_t)(vq->packed.used_next - event - 1) < count;
}

bool virtq_packed_flush(struct virtq *vq)
{
    struct virtq_packed *packed = &vq->packed;
    uint16_t count = packed->slots_unpublished;
    uint16_t flags;

    if (!count)
        return false;
    /*
     * Pairs with the driver's acquire of the first entry's flags: it sees what is behind them, and
     * the payload. The driver asks for interrupts, then looks at these flags; we store them, then
     * look at what it asked for, with a full fence between as in virtq_split_flush.
     */
    virtq_store_and_fence(&packed->ring[packed->first].flags, packed->first_flags);
    packed->slots_held -= count;
    packed->slots_unpublished = 0;
    flags = __atomic_load_n(&packed->driver_event->flags, __ATOMIC_SEQ_CST) & EVENT_FLAGS;
    if (flags == VRING_PACKED_EVENT_FLAG_DESC && vq->event_idx)
        return event_is_passed(
            vq, __atomic_load_n(&packed->driver_event->off_wrap, __ATOMIC_SEQ_CST), count);
    return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
}

void virtq_packed_notify_disable(struct virtq *vq)
{
    __atomic_store_n(&vq->packed.device_event->flags, VRING_PACKED_EVENT_FLAG_DISABLE,
                     __ATOMIC_RELAXED);
}

bool virtq_packed_notify_enable(struct virtq *vq)
{
    const struct virtq_packed *packed = &vq->packed;
    uint16_t wrap = packed->avail_flags & AVAIL ? EVENT_WRAP : 0;
    uint16_t flags = vq->event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;

    /*
     * The driver stores an entry's flags, then looks at what we asked for; we ask, then look at the
     * entry's flags. As in virtq_split_notify_enable, one side sees the other's store. What we ask
     * is two stores: a driver that sees the second need not see the first, unless both are
     * sequentially consistent.
     */
    if (vq->event_idx)
        __atomic_store_n(&packed->device_event->off_wrap, packed->avail_next | wrap,
                         __ATOMIC_SEQ_CST);
    virtq_store_and_fence(&packed->device_event->flags, flags);
    return !vq->error &&
           entry_is_available(
               packed, __atomic_load_n(&packed->ring[packed->avail_next].flags, __ATOMIC_SEQ_CST));
}

bool virtq_packed_has_avail(const struct virtq *vq)
{
    const struct virtq_packed *packed = &vq->packed;

    return !vq->error &&
           entry_is_available(
               packed, __atomic_load_n(&packed->ring[packed->avail_next].flags, __ATOMIC_ACQUIRE));
}
