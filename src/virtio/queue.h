/*
 * Virtqueues (virtio 1.2, sections 2.6, 2.7: split, and 2.8: packed; which of the two, the driver
 * negotiates). The driver's three areas are resolved to host memory once, when the queue is
 * enabled; guest RAM never moves. Chains come out as vectors that point straight into guest memory:
 * no payload is copied.
 *
 * Everything in the areas is hostile and changes under the reader's feet:
 *  1. What hands a chain over is a single 16-bit atomic: an index (split) or a descriptor's flags
 *     (packed), read with acquire and written with release order.
 *  2. A descriptor is copied once, then the copy is validated. A chain is bounded by the queue
 *     size, whatever its indirect table claims.
 *  3. Heads (packed: buffer ids) in flight are tracked: the same twice is the driver's error. So
 *     are the entries of a packed ring that the driver did not get back.
 *  4. A queue that the driver broke stays broken (virtq_error says why) until it is disabled;
 *     chains that are in flight may still be pushed, which then does nothing.
 *
 * Executor thread only, or any one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/limits.h"
#include "mem/gmem.h"

/* What the driver wrote; part of the device's guest-visible state. */
struct virtq_config {
    uint16_t size; /* at most VIRTQ_SIZE_MAX; of a split queue a power of two */
    uint64_t desc; /* guest addresses of descriptor area, driver area and device area */
    uint64_t driver;
    uint64_t device;
};

/*
 * One request of the driver: a readable part, then a writable part. The vectors are the device's
 * own copy: it may shorten and advance them. `iov` and `iov_max` are set by the owner before the
 * pop; the rest by the pop.
 */
struct virtq_chain {
    struct iovec *iov; /* room for iov_max elements; readable and writable point into it */
    uint16_t iov_max;
    uint16_t head;       /* identifies the chain to the driver; packed: its buffer id */
    uint16_t slot_count; /* private: entries of the descriptor ring or table that it takes */
    uint16_t turn;       /* private: its place in the order, if the queue keeps one */
    uint16_t readable_count;
    uint16_t writable_count;
    struct iovec *readable;
    struct iovec *writable;
    uint32_t readable_len; /* bytes; both together fit in 32 bits */
    uint32_t writable_len;
};

/* 2.7 */
struct virtq_split {
    uint16_t avail_next;     /* the next entry of the avail ring to take */
    uint16_t avail_seen;     /* avail idx when last read; bounds a batch */
    uint16_t used_next;      /* the next entry of the used ring to fill */
    uint16_t used_published; /* used idx as the driver sees it */
    struct vring_desc *desc; /* host memory of the three areas */
    struct vring_avail *avail;
    struct vring_used *used;
};

/* 2.8 */
struct virtq_packed {
    struct vring_packed_desc *ring; /* host memory of the three areas */
    struct vring_packed_desc_event *driver_event;
    struct vring_packed_desc_event *device_event;
    uint16_t avail_next;        /* the next entry to take */
    uint16_t avail_flags;       /* bits AVAIL and USED of an entry that is available there */
    uint16_t used_next;         /* the next entry to overwrite */
    uint16_t used_flags;        /* bits AVAIL and USED of what is used there */
    uint16_t slots_held;        /* entries that were taken and that the driver did not see used */
    uint16_t slots_unpublished; /* of these, what was pushed and not flushed */
    uint16_t first;             /* the first of them, whose flags are withheld until the flush */
    uint16_t first_flags;
};

/* What was pushed before its turn. */
struct virtq_early {
    uint32_t len;
    uint16_t head, slot_count;
    bool is_pushed;
};

struct virtq {
    const struct gmem *mem;    /* read-only */
    uint16_t size_max;         /* read-only */
    uint16_t size;             /* read-only: 0 while disabled */
    bool is_packed;            /* private: VIRTIO_F_RING_PACKED was negotiated */
    bool event_idx;            /* private: VIRTIO_F_EVENT_IDX was negotiated */
    bool indirect;             /* private: VIRTIO_F_INDIRECT_DESC was negotiated */
    bool notify_enabled;       /* private: the driver was asked for notifications */
    uint16_t in_flight_count;  /* read-only: chains popped and not pushed */
    uint32_t in_flight_slots;  /* read-only: their descriptors; a broken driver's may share some */
    uint64_t *in_flight;       /* private: bitmap of heads */
    const char *error;         /* private */
    bool in_order;             /* private: VIRTIO_F_IN_ORDER was negotiated */
    uint16_t turn_next;        /* private: of the next chain to be popped */
    uint16_t turn_due;         /* private: of the next chain to be given back */
    struct virtq_early *early; /* private: size_max of them, by turn; NULL: none are kept */
    union {                    /* private */
        struct virtq_split split;
        struct virtq_packed packed;
    };
};

/* `size_max` is a power of two up to VIRTQ_SIZE_MAX; allocates the bitmap. -ENOMEM. */
must_check int virtq_init(struct virtq *vq, const struct gmem *mem, uint16_t size_max);
/* Before VIRTIO_F_IN_ORDER is offered: room for chains that are pushed before their turn. -ENOMEM.
 */
must_check int virtq_init_order(struct virtq *vq);
/* A zeroed queue is allowed. */
void virtq_free(struct virtq *vq);

/* Whether the driver may choose this size. */
bool virtq_size_is_possible(const struct virtq *vq, uint16_t size, uint64_t features);
/*
 * Resolves the areas (2.7: alignment 16, 2 and 4; 2.8.10.1: 16, 4 and 4; wholly in RAM) and starts
 * at the first entry. `features` are the negotiated ones. -EINVAL when the driver's set-up is
 * impossible: guest error.
 */
must_check int virtq_enable(struct virtq *vq, const struct virtq_config *config, uint64_t features);
/* Forgets everything but size_max: chains in flight as well, so nothing may use them any more. */
void virtq_disable(struct virtq *vq);

/*
 * Takes the next chain. 1: *chain is filled; 0: none is available; -EINVAL: the driver broke the
 * queue, now or earlier. Batches by itself: the avail idx of a split queue is read again only when
 * what it showed is used up.
 */
static inline must_check int virtq_pop(struct virtq *vq, struct virtq_chain *chain);
/*
 * Gives a chain back with `len` bytes written to its writable part. Seen by the driver after
 * virtq_flush; with VIRTIO_F_IN_ORDER (2.7.9, 2.8.9) also not before every chain that was popped
 * earlier: whoever pushes need not know.
 */
static inline void virtq_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t len);
/*
 * Publishes everything pushed since the last flush, with one 16-bit store. True when the driver
 * wants an interrupt for it (2.7.7, 2.8.10): the one notification decision of the batch.
 */
static inline must_check bool virtq_flush(struct virtq *vq);

/*
 * Asks the driver for no notifications (2.7.10, 2.8.10): a hint. It stays off until
 * virtq_notify_enable. Costs nothing when it is off already.
 */
static inline void virtq_notify_disable(struct virtq *vq);
/*
 * Asks for a notification of the next chain, then looks again, with a full fence between the two:
 * true when chains are available already, for which none may come.
 */
static inline must_check bool virtq_notify_enable(struct virtq *vq);
/* A look at the ring for pollers; false while the queue is broken or disabled. */
static inline bool virtq_has_avail(const struct virtq *vq);

/* Why the queue is broken, a static string; NULL while it is not. */
const char *virtq_error(const struct virtq *vq);

/*
 * Views on a chain, for headers and trailers; message framing is the driver's choice (2.7.4.1), so
 * nothing here assumes where a descriptor ends.
 */
/* Takes `len` bytes off the front of the readable part into `buffer`: the one copy. False, with
 * nothing taken, when there are fewer. */
static inline must_check bool virtq_chain_pull(struct virtq_chain *chain, void *buffer,
                                               uint32_t len);
/* Takes `len` bytes, which are there, off the front of the readable part. */
void virtq_chain_skip(struct virtq_chain *chain, uint32_t len);
/* Takes the last byte off the writable part; NULL when there is none. */
must_check uint8_t *virtq_chain_take_last(struct virtq_chain *chain);
/* Copies up to `len` bytes to the front of the writable part and takes them off. Returns how many
 * found room. */
uint32_t virtq_chain_put(struct virtq_chain *chain, const void *buffer, uint32_t len);

/* ---- what the functions above choose from ---- */

must_check bool virtq_chain_pull_parts(struct virtq_chain *chain, void *buffer, uint32_t len);

/* Most drivers give a header a buffer of its own; for a length that is constant this is a few
 * moves then. */
static inline bool virtq_chain_pull(struct virtq_chain *chain, void *buffer, uint32_t len)
{
    if (unlikely(!chain->readable_count || chain->readable->iov_len != len))
        return virtq_chain_pull_parts(chain, buffer, len);
    memcpy(buffer, chain->readable->iov_base, len);
    chain->readable_len -= len;
    chain->readable_count--;
    chain->readable++;
    return true;
}

must_check int virtq_split_pop(struct virtq *vq, struct virtq_chain *chain);
must_check int virtq_packed_pop(struct virtq *vq, struct virtq_chain *chain);
void virtq_push_in_order(struct virtq *vq, const struct virtq_chain *chain, uint32_t len);
void virtq_split_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t len);
void virtq_packed_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t len);
must_check bool virtq_split_flush(struct virtq *vq);
must_check bool virtq_packed_flush(struct virtq *vq);
void virtq_split_notify_disable(struct virtq *vq);
void virtq_packed_notify_disable(struct virtq *vq);
must_check bool virtq_split_notify_enable(struct virtq *vq);
must_check bool virtq_packed_notify_enable(struct virtq *vq);
bool virtq_split_has_avail(const struct virtq *vq);
bool virtq_packed_has_avail(const struct virtq *vq);

static inline int virtq_pop(struct virtq *vq, struct virtq_chain *chain)
{
    int ret = vq->is_packed ? virtq_packed_pop(vq, chain) : virtq_split_pop(vq, chain);

    if (unlikely(vq->in_order) && ret > 0)
        chain->turn = vq->turn_next++;
    return ret;
}

static inline void virtq_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t len)
{
    if (unlikely(vq->in_order))
        virtq_push_in_order(vq, chain, len);
    else if (vq->is_packed)
        virtq_packed_push(vq, chain, len);
    else
        virtq_split_push(vq, chain, len);
}

static inline bool virtq_flush(struct virtq *vq)
{
    return vq->is_packed ? virtq_packed_flush(vq) : virtq_split_flush(vq);
}

static inline void virtq_notify_disable(struct virtq *vq)
{
    if (!vq->notify_enabled)
        return;
    vq->notify_enabled = false;
    if (vq->is_packed)
        virtq_packed_notify_disable(vq);
    else
        virtq_split_notify_disable(vq);
}

static inline bool virtq_notify_enable(struct virtq *vq)
{
    vq->notify_enabled = true;
    return vq->is_packed ? virtq_packed_notify_enable(vq) : virtq_split_notify_enable(vq);
}

static inline bool virtq_has_avail(const struct virtq *vq)
{
    return vq->is_packed ? virtq_packed_has_avail(vq) : virtq_split_has_avail(vq);
}
