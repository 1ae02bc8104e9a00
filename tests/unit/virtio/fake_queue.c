/* The driver's side of a virtqueue, split or packed. */
#include <criterion/criterion.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#include "fake_driver.h"

enum {
    TABLE_LEN = 128, /* descriptors in an indirect table */
    AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
    USED = 1 << VRING_PACKED_DESC_F_USED,
};

void fake_queue_create(struct fake_queue *queue, struct fake_driver *driver, uint16_t index,
                       uint16_t size)
{
    fake_queue_forget(queue);
    *queue = (struct fake_queue){.driver = driver, .index = index, .size = size};
    queue->event_idx = driver->features >> VIRTIO_RING_F_EVENT_IDX & 1;
    queue->packed = driver->features >> VIRTIO_F_RING_PACKED & 1;
    queue->desc_buffer = fake_buffer(driver->machine, 16 * size);
    queue->avail_buffer = fake_buffer(driver->machine, queue->packed ? 4 : 6 + 2 * size);
    queue->used_buffer = fake_buffer(driver->machine, queue->packed ? 4 : 6 + 8 * size);
    memset(queue->desc_buffer.host, 0, queue->desc_buffer.len);
    memset(queue->avail_buffer.host, 0, queue->avail_buffer.len);
    memset(queue->used_buffer.host, 0, queue->used_buffer.len);
    queue->desc = (void *)queue->desc_buffer.host;
    queue->ring = (void *)queue->desc_buffer.host;
    queue->avail = (void *)queue->avail_buffer.host;
    queue->driver_event = (void *)queue->avail_buffer.host;
    queue->used = (void *)queue->used_buffer.host;
    queue->device_event = (void *)queue->used_buffer.host;
    queue->avail_owner = AVAIL;
    queue->used_owner = AVAIL | USED;
    queue->free_count = size;
    /* The free list and each chain, then the length of each chain by its head. */
    queue->chain_next = calloc(2 * (size_t)size, sizeof(uint16_t));
    cr_assert_not_null(queue->chain_next);
    for (uint16_t i = 0; i < size; i++)
        queue->chain_next[i] = i + 1;
}

void fake_queue_forget(struct fake_queue *queue)
{
    free(queue->chain_next);
    *queue = (struct fake_queue){0};
}

static struct vring_packed_desc packed_make(const struct vring_desc *desc, uint16_t id)
{
    return (struct vring_packed_desc){
        .addr = desc->addr, .len = desc->len, .id = id, .flags = desc->flags};
}

static uint16_t desc_take(struct fake_queue *queue)
{
    uint16_t index = queue->free_head;

    cr_assert_gt(queue->free_count, 0, "the queue is full");
    queue->free_count--;
    queue->free_head = queue->chain_next[index];
    return index;
}

static struct vring_desc desc_make(const struct fake_buffer *buffer, uint16_t flags)
{
    return (struct vring_desc){.addr = buffer->addr.addr, .len = buffer->len, .flags = flags};
}

/* The table of the chain at `head`; returns the descriptor that refers to it. */
static struct vring_desc table_fill(struct fake_queue *queue, uint16_t head,
                                    const struct fake_buffer *buffers, uint16_t readable_count,
                                    uint16_t count)
{
    struct vring_desc *table;

    cr_assert_leq(count, TABLE_LEN);
    if (!queue->tables_buffer.len)
        queue->tables_buffer = fake_buffer(queue->driver->machine, 16 * TABLE_LEN * queue->size);
    table = (struct vring_desc *)(void *)queue->tables_buffer.host + (size_t)TABLE_LEN * head;
    for (uint16_t i = 0; i < count; i++) {
        table[i] = desc_make(&buffers[i], i < readable_count ? 0 : VRING_DESC_F_WRITE);
        table[i].next = i + 1;
        if (queue->packed)
            ((struct vring_packed_desc *)(void *)table)[i] = packed_make(&table[i], 0);
        else if (i + 1 < count)
            table[i].flags |= VRING_DESC_F_NEXT;
    }
    return (struct vring_desc){
        .addr = queue->tables_buffer.addr.addr + 16ULL * TABLE_LEN * head,
        .len = 16U * count,
        .flags = VRING_DESC_F_INDIRECT,
    };
}

/* The flags of the first entry of all that is unpublished are withheld. */
static void entry_put(struct fake_queue *queue, struct vring_packed_desc entry)
{
    struct vring_packed_desc *at = &queue->ring[queue->avail_next];

    entry.flags |= queue->avail_owner;
    if (!queue->withheld) {
        queue->withheld = at;
        queue->withheld_flags = entry.flags;
        entry.flags = at->flags;
    }
    *at = entry;
    queue->avail_idx++;
    if (++queue->avail_next == queue->size) {
        queue->avail_next = 0;
        queue->avail_owner ^= AVAIL | USED;
    }
}

static uint16_t packed_add(struct fake_queue *queue, const struct fake_buffer *buffers,
                           uint16_t readable_count, uint16_t count)
{
    uint16_t id = queue->free_head;
    uint16_t entry_count = queue->indirect ? 1 : count;

    cr_assert_geq(queue->free_count, entry_count, "the queue is full");
    queue->free_count -= entry_count;
    queue->free_head = queue->chain_next[id];
    queue->chain_next[queue->size + id] = entry_count;
    if (queue->indirect) {
        struct vring_desc desc = table_fill(queue, id, buffers, readable_count, count);

        entry_put(queue, packed_make(&desc, id));
        return id;
    }
    for (uint16_t i = 0; i < count; i++) {
        struct vring_desc desc =
            desc_make(&buffers[i], i < readable_count ? 0 : VRING_DESC_F_WRITE);

        if (i + 1 < count)
            desc.flags |= VRING_DESC_F_NEXT;
        entry_put(queue, packed_make(&desc, id));
    }
    return id;
}

uint16_t fake_queue_add(struct fake_queue *queue, const struct fake_buffer *buffers,
                        uint16_t readable_count, uint16_t writable_count)
{
    uint16_t count = readable_count + writable_count;
    uint16_t head, last;

    if (queue->packed)
        return packed_add(queue, buffers, readable_count, count);
    head = last = desc_take(queue);
    queue->chain_next[queue->size + head] = queue->indirect ? 1 : count;
    if (queue->indirect)
        queue->desc[head] = table_fill(queue, head, buffers, readable_count, count);
    for (uint16_t i = 0; !queue->indirect && i < count; i++) {
        if (i) {
            uint16_t index = desc_take(queue);

            queue->chain_next[last] = index;
            queue->desc[last].flags |= VRING_DESC_F_NEXT;
            queue->desc[last].next = index;
            last = index;
        }
        queue->desc[last] = desc_make(&buffers[i], i < readable_count ? 0 : VRING_DESC_F_WRITE);
    }
    fake_queue_add_head(queue, head);
    return head;
}

void fake_queue_add_head(struct fake_queue *queue, uint16_t head)
{
    queue->avail->ring[queue->avail_idx++ % queue->size] = head;
}

void fake_queue_publish(struct fake_queue *queue)
{
    if (!queue->packed) {
        __atomic_store_n(&queue->avail->idx, queue->avail_idx, __ATOMIC_SEQ_CST);
    } else if (queue->withheld) {
        __atomic_store_n(&queue->withheld->flags, queue->withheld_flags, __ATOMIC_SEQ_CST);
        queue->withheld = NULL;
    }
}

/* Sequentially consistent loads, after the stores of fake_queue_publish: see virtq_notify_enable.
 */
static bool split_kick_is_due(const struct fake_queue *queue)
{
    uint16_t *event = (uint16_t *)(void *)&queue->used->ring[queue->size];

    if (!queue->event_idx)
        return !(__atomic_load_n(&queue->used->flags, __ATOMIC_SEQ_CST) & VRING_USED_F_NO_NOTIFY);
    return vring_need_event(__atomic_load_n(event, __ATOMIC_SEQ_CST), queue->avail_idx,
                            queue->kicked_idx);
}

static bool packed_kick_is_due(const struct fake_queue *queue)
{
    uint16_t flags = __atomic_load_n(&queue->device_event->flags, __ATOMIC_SEQ_CST);
    uint16_t off_wrap = __atomic_load_n(&queue->device_event->off_wrap, __ATOMIC_SEQ_CST);
    uint16_t event = off_wrap & 0x7fff, count = queue->avail_idx - queue->kicked_idx;

    if (flags != VRING_PACKED_EVENT_FLAG_DESC)
        return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
    if (off_wrap >> 15 != (queue->avail_owner == AVAIL))
        event -= queue->size;
    return vring_need_event(event, queue->avail_next, queue->avail_next - count);
}

bool fake_queue_kick(struct fake_queue *queue)
{
    bool wanted;

    fake_queue_publish(queue);
    wanted = queue->packed ? packed_kick_is_due(queue) : split_kick_is_due(queue);
    queue->kicked_idx = queue->avail_idx;
    if (wanted)
        fake_queue_notify(queue);
    return wanted;
}

static bool queue_has_used(void *arg)
{
    const struct fake_queue *queue = arg;

    if (!queue->packed)
        return __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE) != queue->used_idx;
    return (__atomic_load_n(&queue->ring[queue->used_next].flags, __ATOMIC_ACQUIRE) &
            (AVAIL | USED)) == queue->used_owner;
}

static bool packed_take(struct fake_queue *queue, uint16_t *head, uint32_t *len)
{
    const struct vring_packed_desc *entry = &queue->ring[queue->used_next];
    uint16_t count;

    if (!queue_has_used(queue))
        return false;
    cr_assert_lt(entry->id, queue->size);
    *head = entry->id;
    *len = entry->flags & VRING_DESC_F_WRITE ? entry->len : 0;
    count = queue->chain_next[queue->size + *head];
    cr_assert_gt(count, 0, "id %u was used, but is not in flight", *head);
    queue->chain_next[queue->size + *head] = 0;
    queue->chain_next[*head] = queue->free_head;
    queue->free_head = *head;
    queue->free_count += count;
    queue->used_next += count;
    if (queue->used_next >= queue->size) {
        queue->used_next -= queue->size;
        queue->used_owner ^= AVAIL | USED;
    }
    if (queue->event_idx) {
        queue->driver_event->off_wrap = queue->used_next | (queue->used_owner ? 0x8000 : 0);
        __atomic_store_n(&queue->driver_event->flags, VRING_PACKED_EVENT_FLAG_DESC,
                         __ATOMIC_SEQ_CST);
    }
    return true;
}

bool fake_queue_take(struct fake_queue *queue, uint16_t *head, uint32_t *len)
{
    const struct vring_used_elem *elem = &queue->used->ring[queue->used_idx % queue->size];
    uint16_t last, count;

    if (queue->packed)
        return packed_take(queue, head, len);
    if (!queue_has_used(queue))
        return false;
    cr_assert_lt(elem->id, queue->size);
    *head = elem->id;
    *len = elem->len;
    count = queue->chain_next[queue->size + *head];
    cr_assert_gt(count, 0, "head %u was used, but is not in flight", *head);
    queue->chain_next[queue->size + *head] = 0;
    queue->free_count += count;
    for (last = *head; count > 1; count--)
        last = queue->chain_next[last];
    queue->chain_next[last] = queue->free_head;
    queue->free_head = *head;
    queue->used_idx++;
    if (queue->event_idx)
        __atomic_store_n(&queue->avail->ring[queue->size], queue->used_idx, __ATOMIC_RELAXED);
    return true;
}

uint32_t fake_queue_wait(struct fake_queue *queue)
{
    uint16_t head;
    uint32_t len = 0;

    fake_machine_run_until(queue->driver->machine, queue_has_used, queue);
    cr_assert(fake_queue_take(queue, &head, &len));
    return len;
}
