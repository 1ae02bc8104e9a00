#include "queue.h"

#include "guest.h"
#include "memory.h"

void queue_init(struct queue *queue, uint16_t size, bool event_idx)
{
    *queue = (struct queue){.size = size, .event_idx = event_idx};
    queue->desc = memory_alloc(16ULL * size);
    queue->avail = memory_alloc(6 + 2ULL * size);
    queue->used = memory_alloc(6 + 8ULL * size);
    /* With EVENT_IDX the device ignores it, and never reaches the used_event of a driver that polls
     * but once in 65536 times. */
    queue->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
}

static bool wants_kick(const struct queue *queue, uint16_t before)
{
    const uint16_t *avail_event = (const uint16_t *)(const void *)&queue->used->ring[queue->size];

    if (queue->event_idx)
        return vring_need_event(__atomic_load_n(avail_event, __ATOMIC_RELAXED), queue->published,
                                before);
    return !(__atomic_load_n(&queue->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY);
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
    __atomic_store_n(&queue->avail->idx, queue->published, __ATOMIC_RELEASE);
    /* The index is visible before the device's wish is read (2.7.13.4.1). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (wants_kick(queue, before))
        queue_kick(queue);
}

static void interrupts_ask(struct queue *queue, bool wanted)
{
    if (queue->event_idx)
        queue->avail->ring[queue->size] = queue->used_next; /* used_event */
    else
        queue->avail->flags = wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void queue_sleep(struct queue *queue)
{
    while (!queue_has_used(queue)) {
        interrupts_ask(queue, true);
        interrupt_wait(&queue->used->idx, queue->used_next);
    }
    if (!queue->event_idx)
        interrupts_ask(queue, false);
}
