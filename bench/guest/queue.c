#include "queue.h"

#include "guest.h"
#include "memory.h"

enum {
    DESC_SIZE = 16,
    AVAIL_BIT = 1 << VRING_PACKED_DESC_F_AVAIL,
    USED_BIT = 1 << VRING_PACKED_DESC_F_USED,
    EVENT_WRAP = 1 << VRING_PACKED_EVENT_F_WRAP_CTR,
};
_Static_assert(sizeof(struct vring_desc) == DESC_SIZE, "virtio 1.2, 2.7.5");
_Static_assert(sizeof(struct vring_packed_desc) == DESC_SIZE, "virtio 1.2, 2.8.13");

void queue_init(struct queue *queue, uint16_t size, bool is_packed, bool event_idx)
{
    *queue = (struct queue){.size = size, .is_packed = is_packed, .event_idx = event_idx};
    if (size & (size - 1))
        guest_fail("the virtqueue's size is not a power of two");
    queue->table = memory_alloc((uint64_t)DESC_SIZE * size);
    if (is_packed) {
        queue->ring = memory_alloc((uint64_t)DESC_SIZE * size);
        queue->driver_event = memory_alloc(sizeof(*queue->driver_event));
        queue->device_event = memory_alloc(sizeof(*queue->device_event));
        queue->driver_event->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
    } else {
        queue->avail = memory_alloc(6 + 2ULL * size);
        queue->used = memory_alloc(6 + 8ULL * size);
        /* With EVENT_IDX the device ignores it, and never reaches the used_event of a driver that
         * polls but once in 65536 times. */
        queue->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    }
}

struct queue_areas queue_areas(const struct queue *queue)
{
    if (queue->is_packed)
        return (struct queue_areas){queue->ring, queue->driver_event, queue->device_event};
    return (struct queue_areas){queue->table, queue->avail, queue->used};
}

void queue_desc_set(const struct queue *queue, void *table, unsigned index, const void *data,
                    uint32_t len, uint16_t flags)
{
    if (queue->is_packed)
        ((struct vring_packed_desc *)table)[index] =
            (struct vring_packed_desc){.addr = (uintptr_t)data, .len = len, .flags = flags};
    else
        ((struct vring_desc *)table)[index] =
            (struct vring_desc){(uintptr_t)data, len, flags,
                                flags & VRING_DESC_F_NEXT ? (uint16_t)(index + 1) : (uint16_t)0};
}

void queue_desc_flags_set(const struct queue *queue, void *table, unsigned index, uint16_t flags)
{
    if (queue->is_packed)
        ((struct vring_packed_desc *)table)[index].flags = flags;
    else
        ((struct vring_desc *)table)[index].flags = flags;
}

/* ---- packed ---- */

static bool wrap_of(const struct queue *queue, uint16_t count)
{
    return !(count & queue->size);
}

static struct vring_packed_desc *place_of(const struct queue *queue, uint16_t count)
{
    return &queue->ring[count & (queue->size - 1)];
}

static void packed_add(struct queue *queue, uint16_t head)
{
    struct vring_packed_desc *first = place_of(queue, queue->avail_next);
    const struct vring_packed_desc *from = (struct vring_packed_desc *)queue->table + head;
    uint16_t first_flags = 0;
    bool goes_on;

    do {
        struct vring_packed_desc *place = place_of(queue, queue->avail_next);
        uint16_t flags = from->flags | (wrap_of(queue, queue->avail_next) ? AVAIL_BIT : USED_BIT);

        place->addr = from->addr;
        place->len = from->len;
        place->id = head;
        if (place == first)
            first_flags = flags;
        else
            place->flags = flags;
        queue->avail_next++;
        goes_on = from++->flags & VRING_DESC_F_NEXT;
    } while (goes_on);
    /* The whole chain is there before its first descriptor is available (2.8.21.1). */
    __atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
}

static bool packed_has_used(const struct queue *queue)
{
    uint16_t flags = __atomic_load_n(&place_of(queue, queue->used_next)->flags, __ATOMIC_ACQUIRE);
    bool wrap = wrap_of(queue, queue->used_next);

    return !!(flags & AVAIL_BIT) == wrap && !!(flags & USED_BIT) == wrap;
}

static struct queue_used packed_take(struct queue *queue)
{
    const struct vring_packed_desc *place = place_of(queue, queue->used_next);
    const struct vring_packed_desc *from = (struct vring_packed_desc *)queue->table + place->id;

    /* One used descriptor stands for as many as the chain has. */
    do
        queue->used_next++;
    while (from++->flags & VRING_DESC_F_NEXT);
    return (struct queue_used){place->id, place->len};
}

/* The device says where it waits: a place and its wrap counter. */
static bool packed_wants_kick(const struct queue *queue, uint16_t before)
{
    uint32_t word =
        __atomic_load_n((const uint32_t *)(const void *)queue->device_event, __ATOMIC_RELAXED);
    uint16_t off_wrap = (uint16_t)word, flags = (uint16_t)(word >> 16);
    uint16_t event =
        (uint16_t)((queue->avail_next & ~(queue->size - 1U)) + (off_wrap & ~(uint32_t)EVENT_WRAP));

    if (flags != VRING_PACKED_EVENT_FLAG_DESC)
        return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
    if (!!(off_wrap & EVENT_WRAP) != wrap_of(queue, queue->avail_next))
        event = (uint16_t)(event - queue->size);
    return vring_need_event(event, queue->avail_next, before);
}

static void packed_interrupts_ask(struct queue *queue, bool wanted)
{
    uint16_t flags =
        queue->event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;

    queue->driver_event->off_wrap =
        (uint16_t)((queue->used_next & (queue->size - 1U)) |
                   (wrap_of(queue, queue->used_next) ? (uint32_t)EVENT_WRAP : 0));
    __atomic_store_n(&queue->driver_event->flags, wanted ? flags : VRING_PACKED_EVENT_FLAG_DISABLE,
                     __ATOMIC_RELEASE);
}

/* ---- split ---- */

static bool split_wants_kick(const struct queue *queue, uint16_t before)
{
    const uint16_t *avail_event = (const uint16_t *)(const void *)&queue->used->ring[queue->size];

    if (queue->event_idx)
        return vring_need_event(__atomic_load_n(avail_event, __ATOMIC_RELAXED), queue->published,
                                before);
    return !(__atomic_load_n(&queue->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
}

static void split_interrupts_ask(struct queue *queue, bool wanted)
{
    if (queue->event_idx)
        queue->avail->ring[queue->size] = queue->used_next; /* used_event */
    else
        queue->avail->flags = wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
}

/* ---- both ---- */

void queue_add(struct queue *queue, uint16_t head)
{
    if (queue->is_packed)
        packed_add(queue, head);
    else
        queue->avail->ring[queue->avail_next++ & (queue->size - 1)] = head;
}

void queue_kick(struct queue *queue)
{
    if (queue->notify_is_32_bits)
        *(volatile uint32_t *)queue->notify = queue->notify_value;
    else
        *(volatile uint16_t *)queue->notify = (uint16_t)queue->notify_value;
    queue->kicks++;
}

void queue_publish(struct queue *queue)
{
    uint16_t before = queue->published;

    if (before == queue->avail_next)
        return;
    queue->published = queue->avail_next;
    if (!queue->is_packed)
        __atomic_store_n(&queue->avail->idx, queue->published, __ATOMIC_RELEASE);
    /* What is new is visible before the device's wish is read (2.7.13.4.1, 2.8.21.3.1). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (queue->is_packed ? packed_wants_kick(queue, before) : split_wants_kick(queue, before))
        queue_kick(queue);
}

bool queue_has_used(const struct queue *queue)
{
    if (queue->is_packed)
        return packed_has_used(queue);
    return __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE) != queue->used_next;
}

struct queue_used queue_take(struct queue *queue)
{
    struct vring_used_elem elem;

    if (queue->is_packed)
        return packed_take(queue);
    elem = queue->used->ring[queue->used_next++ & (queue->size - 1)];
    return (struct queue_used){(uint16_t)elem.id, elem.len};
}

static void interrupts_ask(struct queue *queue, bool wanted)
{
    if (queue->is_packed)
        packed_interrupts_ask(queue, wanted);
    else
        split_interrupts_ask(queue, wanted);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* What changes when the device has used a buffer, as it is before. */
static struct sleep_watch watch_of(const struct queue *queue)
{
    if (queue->is_packed) {
        const uint16_t *flags = &place_of(queue, queue->used_next)->flags;

        return (struct sleep_watch){flags, __atomic_load_n(flags, __ATOMIC_RELAXED)};
    }
    return (struct sleep_watch){&queue->used->idx, queue->used_next};
}

/* With EVENT_IDX a split ring has nothing to turn off: its place is soon behind. */
static void interrupts_stop(struct queue *queue)
{
    if (queue->is_packed || !queue->event_idx)
        interrupts_ask(queue, false);
}

void queue_sleep_any(struct queue *one, struct queue *other)
{
    struct sleep_watch watches[SLEEP_WATCH_COUNT] = {watch_of(one), watch_of(other)};

    interrupts_ask(one, true);
    if (other != one)
        interrupts_ask(other, true);
    /* What was used before they were asked for comes without one. */
    if (!queue_has_used(one) && !queue_has_used(other))
        interrupt_wait(watches);
    interrupts_stop(one);
    if (other != one)
        interrupts_stop(other);
}

void queue_sleep(struct queue *queue)
{
    while (!queue_has_used(queue))
        queue_sleep_any(queue, queue);
}
