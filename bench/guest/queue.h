/*
 * The driver's side of a virtqueue, split (virtio 1.2, 2.7) or packed (2.8). Requests and their
 * buffers are the caller's; so is which descriptors are free.
 */
#pragma once
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue {
    bool is_packed;
    bool event_idx;
    uint16_t size; /* a power of two */
    /* Descriptors that the caller fills (queue_desc_set), by their index: the table of a split
     * ring; what queue_add copies into a packed one. */
    void *table;
    union {
        struct {
            struct vring_avail *avail;
            struct vring_used *used;
        };
        struct {
            struct vring_packed_desc *ring;
            struct vring_packed_desc_event *driver_event, *device_event;
        };
    };
    /* These count on, modulo 65536: entries of a split ring, descriptors of a packed one, whose
     * wrap counter (2.8.1) is the bit above the place. */
    uint16_t avail_next;
    uint16_t published; /* avail_next when the device was last told */
    uint16_t used_next;
    volatile void *notify;  /* virtio_start's */
    uint32_t notify_value;  /* the queue's number */
    bool notify_is_32_bits; /* virtio-mmio; else 16 */
    uint64_t kicks;
};

struct queue_used {
    uint16_t head;
    uint32_t len;
};

/* What the device is told of (2.6). */
struct queue_areas {
    const void *desc, *driver, *device;
};

void queue_init(struct queue *queue, uint16_t size, bool is_packed, bool event_idx);
struct queue_areas queue_areas(const struct queue *queue);

/* Descriptor `index` of queue->table, or of an indirect table: with VRING_DESC_F_NEXT the one
 * behind it goes on. */
void queue_desc_set(const struct queue *queue, void *table, unsigned index, const void *data,
                    uint32_t len, uint16_t flags);
/* Changes flags. */
void queue_desc_flags_set(const struct queue *queue, void *table, unsigned index, uint16_t flags);

/* Gives the device the chain that begins at queue->table[head]; it may see that from here on, and
 * does after queue_publish. */
void queue_add(struct queue *queue, uint16_t head);
/* Kicks the device, if it asks for that. */
void queue_publish(struct queue *queue);
/* Kicks it in any case. */
void queue_kick(struct queue *queue);

bool queue_has_used(const struct queue *queue);
/* After queue_has_used. */
struct queue_used queue_take(struct queue *queue);

/* Sleeps until the device has used a buffer. */
void queue_sleep(struct queue *queue);
/* Until it has in one of these, or something else interrupts. */
void queue_sleep_any(struct queue *one, struct queue *other);
