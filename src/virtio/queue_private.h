/*
 * Between the files of the virtqueue: queue.c (set-up), queue_split.c and queue_packed.c, which
 * differ in how the driver's descriptors lie in memory and agree in what a chain may be.
 */
#pragma once
#include <errno.h>
#include <linux/virtio_ring.h>

#include "base/check.h"
#include "virtio/queue.h"

enum { VIRTQ_BITMAP_BITS = 64 };

/* Host memory of an area; NULL unless it is aligned and wholly in RAM. */
void *virtq_area(const struct virtq *vq, uint64_t addr, uint64_t alignment, uint64_t len);
/* Resolve the areas and start at the first entry; config->size is possible. -EINVAL. */
must_check int virtq_split_enable(struct virtq *vq, const struct virtq_config *config);
must_check int virtq_packed_enable(struct virtq *vq, const struct virtq_config *config);

/*
 * A store with release that no later load overtakes. Not an exchange, as between our own threads
 * (base/atomic.h): on the first aarch64 processors that is a loop, and a guest that keeps writing
 * to the same cache line could hold it up.
 */
static inline void virtq_store_and_fence(__virtio16 *field, uint16_t value)
{
    __atomic_store_n(field, value, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline int virtq_break(struct virtq *vq, const char *why)
{
    vq->error = why;
    return -EINVAL;
}

/* ---- chains in flight ---- */

static inline bool virtq_is_in_flight(const struct virtq *vq, uint16_t head)
{
    return vq->in_flight[head / VIRTQ_BITMAP_BITS] >> head % VIRTQ_BITMAP_BITS & 1;
}

static inline void virtq_in_flight_flip(struct virtq *vq, uint16_t head)
{
    vq->in_flight[head / VIRTQ_BITMAP_BITS] ^= 1ULL << head % VIRTQ_BITMAP_BITS;
}

static inline void virtq_in_flight_begin(struct virtq *vq, const struct virtq_chain *chain)
{
    virtq_in_flight_flip(vq, chain->head);
    vq->in_flight_count++;
    vq->in_flight_slots += chain->slot_count;
}

static inline void virtq_in_flight_end(struct virtq *vq, const struct virtq_chain *chain)
{
    CHECK(virtq_is_in_flight(vq, chain->head));
    virtq_in_flight_flip(vq, chain->head);
    vq->in_flight_count--;
    vq->in_flight_slots -= chain->slot_count;
}

/* ---- chains ---- */

static inline void virtq_chain_begin(struct virtq_chain *chain)
{
    chain->readable_count = chain->writable_count = 0;
    chain->readable_len = chain->writable_len = 0;
}

/* One buffer of a chain, from a copy of its descriptor. NULL or why the queue is broken. */
static inline const char *virtq_chain_add(const struct virtq *vq, struct virtq_chain *chain,
                                          uint64_t addr, uint32_t len, uint16_t flags,
                                          bool *writing)
{
    bool writable = flags & VRING_DESC_F_WRITE;
    struct iovec *iov;

    if (*writing && !writable)
        return "a readable buffer after a writable one"; /* 2.7.4.2, 2.8.17 */
    *writing = writable;
    if (!len)
        return NULL;
    if (chain->readable_count + chain->writable_count == chain->iov_max)
        return "a chain of more buffers than the device takes";
    if (len > UINT32_MAX - chain->readable_len - chain->writable_len)
        return "a chain of more than 4 GiB"; /* 2.7.5.2 */
    iov = &chain->iov[chain->readable_count + chain->writable_count];
    iov->iov_base = gmem_ptr(vq->mem, gpa(addr), len);
    iov->iov_len = len;
    if (!iov->iov_base)
        return "a buffer outside RAM";
    if (writable) {
        chain->writable_len += len;
        chain->writable_count++;
    } else {
        chain->readable_len += len;
        chain->readable_count++;
    }
    return NULL;
}

static inline void virtq_chain_end(struct virtq_chain *chain)
{
    chain->readable = chain->iov;
    chain->writable = chain->iov + chain->readable_count;
}
