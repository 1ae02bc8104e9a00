/*
 * Virtqueues (virtio 1.2, sections 2.6 and 2.7: split). The driver's three areas are resolved to
 * host memory once, when the queue is enabled; guest RAM never moves. Chains come out as vectors
 * that point straight into guest memory: no payload is copied.
 *
 * Everything in the areas is hostile and changes under the reader's feet:
 *  1. Ring indices are single 16-bit atomics; avail idx is read with acquire, used idx written with
 *     release order.
 *  2. A descriptor is copied once, then the copy is validated. A chain is bounded by the queue
 *     size, whatever its indirect table claims.
 *  3. Heads in flight are tracked: the same head twice is the driver's error.
 *  4. A queue that the driver broke stays broken (virtq_error says why) until it is disabled;
 *     chains that are in flight may still be pushed, which then does nothing.
 *
 * Executor thread only, or any one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/limits.h"
#include "mem/gmem.h"

/* What the driver wrote; part of the device's guest-visible state. */
struct virtq_config {
    uint16_t size; /* power of two, at most VIRTQ_SIZE_MAX */
    uint64_t desc; /* guest addresses: descriptor area, driver area (avail), device area (used) */
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
    uint16_t head; /* identifies the chain to the driver */
    uint16_t readable_count;
    uint16_t writable_count;
    struct iovec *readable;
    struct iovec *writable;
    uint32_t readable_len; /* bytes; both together fit in 32 bits */
    uint32_t writable_len;
};

struct virtq {
    const struct gmem *mem;   /* read-only */
    uint16_t size_max;        /* read-only */
    uint16_t size;            /* read-only: 0 while disabled */
    bool event_idx;           /* private: VIRTIO_F_EVENT_IDX was negotiated */
    bool indirect;            /* private: VIRTIO_F_INDIRECT_DESC was negotiated */
    bool notify_enabled;      /* private: the driver was asked for notifications */
    uint16_t avail_next;      /* private: the next entry of the avail ring to take */
    uint16_t avail_seen;      /* private: avail idx when last read; bounds a batch */
    uint16_t used_next;       /* private: the next entry of the used ring to fill */
    uint16_t used_published;  /* private: used idx as the driver sees it */
    uint16_t in_flight_count; /* read-only: chains popped and not pushed */
    struct vring_desc *desc;  /* private: host memory of the three areas */
    struct vring_avail *avail;
    struct vring_used *used;
    uint64_t *in_flight; /* private: bitmap of heads */
    const char *error;   /* private */
};

/* `size_max` is a power of two up to VIRTQ_SIZE_MAX; allocates the bitmap. -ENOMEM. */
must_check int virtq_init(struct virtq *vq, const struct gmem *mem, uint16_t size_max);
/* A zeroed queue is allowed. */
void virtq_free(struct virtq *vq);

/*
 * Resolves the areas (2.7: alignment 16, 2 and 4; wholly in RAM) and starts at index 0.
 * `features` are the negotiated ones. -EINVAL when the driver's set-up is impossible: guest error.
 */
must_check int virtq_enable(struct virtq *vq, const struct virtq_config *config, uint64_t features);
/* Forgets everything but size_max: chains in flight as well, so nothing may use them any more. */
void virtq_disable(struct virtq *vq);

/*
 * Takes the next chain. 1: *chain is filled; 0: none is available; -EINVAL: the driver broke the
 * queue, now or earlier. Batches by itself: avail idx is read again only when what it showed is
 * used up.
 */
must_check int virtq_pop(struct virtq *vq, struct virtq_chain *chain);
/* Gives a chain back with `len` bytes written to its writable part. Seen by the driver after
 * virtq_flush. */
void virtq_push(struct virtq *vq, const struct virtq_chain *chain, uint32_t len);
/*
 * Publishes everything pushed since the last flush, with one index store. True when the driver
 * wants an interrupt for it (2.7.7): the one notification decision of the batch.
 */
must_check bool virtq_flush(struct virtq *vq);

/*
 * Asks the driver for no notifications (2.7.10): a hint. It stays off until virtq_notify_enable.
 * Costs nothing when it is off already.
 */
void virtq_notify_disable(struct virtq *vq);
/*
 * Asks for a notification of the next chain, then looks again, with a full fence between the two:
 * true when chains are available already, for which none may come.
 */
must_check bool virtq_notify_enable(struct virtq *vq);
/* A look at the ring for pollers; false while the queue is broken or disabled. */
bool virtq_has_avail(const struct virtq *vq);

/* Why the queue is broken, a static string; NULL while it is not. */
const char *virtq_error(const struct virtq *vq);

/*
 * Views on a chain, for headers and trailers; message framing is the driver's choice (2.7.4.1), so
 * nothing here assumes where a descriptor ends.
 */
/* Takes `len` bytes off the front of the readable part into `buffer`: the one copy. False, with
 * nothing taken, when there are fewer. */
must_check bool virtq_chain_pull(struct virtq_chain *chain, void *buffer, uint32_t len);
/* Takes `len` bytes, which are there, off the front of the readable part. */
void virtq_chain_skip(struct virtq_chain *chain, uint32_t len);
/* Takes the last byte off the writable part; NULL when there is none. */
must_check uint8_t *virtq_chain_take_last(struct virtq_chain *chain);
/* Copies up to `len` bytes to the front of the writable part and takes them off. Returns how many
 * found room. */
uint32_t virtq_chain_put(struct virtq_chain *chain, const void *buffer, uint32_t len);
