/*
 * The driver's side of a split virtqueue (virtio 1.2, 2.7). Requests and their buffers are the
 * caller's; so is which descriptors are free.
 */
#pragma once
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

struct queue {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    volatile void *notify;  /* virtio_start's */
    uint32_t notify_value;  /* the queue's number */
    bool notify_is_32_bits; /* virtio-mmio; else 16 */
    bool event_idx;
    uint16_t size;
    uint16_t avail_next; /* of the next entry */
    uint16_t published;  /* what avail->idx says */
    uint16_t used_next;
    uint64_t kicks;
};

void queue_init(struct queue *queue, uint16_t size, bool event_idx);

/* Puts a chain of descriptors into the ring, where the device sees it after queue_publish. */
static inline void queue_add(struct queue *queue, uint16_t head)
{
    queue->avail->ring[queue->avail_next++ & (queue->size - 1)] = head;
}

/* Kicks the device, if it asks for that. */
void queue_publish(struct queue *queue);
/* Kicks it in any case. */
void queue_kick(struct queue *queue);

static inline bool queue_has_used(const struct queue *queue)
{
    return __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE) != queue->used_next;
}

/* After queue_has_used. */
static inline struct vring_used_elem queue_take(struct queue *queue)
{
    return queue->used->ring[queue->used_next++ & (queue->size - 1)];
}

/* Sleeps until the device has used a buffer. */
void queue_sleep(struct queue *queue);
