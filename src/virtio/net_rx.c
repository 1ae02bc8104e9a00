#include "virtio/net_rx.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "virtio/net_tx.h"
#include "virtio/tap.h"

enum { FRAME_LEN_MIN = TAP_HEADER_SIZE + ETH_HLEN };
/* How long a slot that lacks room waits for the driver to add buffers, before it goes without. A
 * frame that finds no room is lost, which costs TCP as much time as this. */
#define PATIENCE_NS (200 * NS_PER_MS)

static const char *device_name(const struct net_rx *rx)
{
    return rx->queue->device->name;
}

/* ---- slots ---- */

static bool slot_is_full(const struct net_rx *rx, const struct net_rx_slot *slot)
{
    if (!rx->params.is_mergeable)
        return slot->chain_count == 1;
    return slot->capacity >= rx->params.frame_max || slot->chain_count == NET_RX_SLOT_CHAIN_COUNT ||
           slot->iov_count > NET_RX_SLOT_CHAIN_COUNT;
}

/* Room for one more chain of any length, in a slot that is not full. */
static void slot_make_room(struct net_rx_slot *slot)
{
    uint32_t iov_end = (uint32_t)slot->iov_first + slot->iov_count;

    if (slot->chain_first + slot->chain_count < NET_RX_SLOT_CHAIN_COUNT &&
        iov_end + NET_CHAIN_MAX <= NET_RX_SLOT_IOV_COUNT)
        return;
    memmove(slot->chains, &slot->chains[slot->chain_first],
            slot->chain_count * sizeof(*slot->chains));
    memmove(slot->iov, &slot->iov[slot->iov_first], slot->iov_count * sizeof(*slot->iov));
    slot->chain_first = slot->iov_first = 0;
}

/* A chain that cannot hold the header, or has readable buffers, goes back unused. */
static bool chain_is_usable(const struct net_rx *rx, const struct virtq_chain *chain)
{
    uint32_t min = rx->params.is_mergeable ? TAP_HEADER_SIZE : FRAME_LEN_MIN;

    return !chain->readable_count && chain->writable_len >= min;
}

/* EMPTY: the ring gave all it has and the slot is not full. AGAIN: the budget of chains is spent.
 */
static enum virtio_pump_verdict slot_fill(struct net_rx *rx, struct net_rx_slot *slot, int *budget)
{
    while (!slot_is_full(rx, slot)) {
        struct virtq_chain *chain;

        if (!(*budget)--)
            return VIRTIO_PUMP_AGAIN;
        slot_make_room(slot);
        chain = &slot->chains[slot->chain_first + slot->chain_count];
        *chain = (struct virtq_chain){.iov = &slot->iov[slot->iov_first + slot->iov_count],
                                      .iov_max = NET_CHAIN_MAX};
        if (!virtio_queue_pop(rx->queue, chain))
            return VIRTIO_PUMP_EMPTY;
        if (!chain_is_usable(rx, chain)) {
            log_limited(&rx->log_limit, LOG_WARN, "%s: returned a receive buffer of %u bytes",
                        device_name(rx), chain->writable_len);
            virtio_queue_push(rx->queue, chain, 0);
            continue;
        }
        slot->chain_count++;
        slot->iov_count += chain->writable_count;
        slot->capacity += chain->writable_len;
    }
    return VIRTIO_PUMP_BLOCKED;
}

/* From the front of an idle slot to the end of another. */
static void chain_move(struct net_rx_slot *from, struct net_rx_slot *to)
{
    struct virtq_chain *chain;

    slot_make_room(to);
    chain = &to->chains[to->chain_first + to->chain_count];
    *chain = from->chains[from->chain_first];
    chain->iov = &to->iov[to->iov_first + to->iov_count];
    memcpy(chain->iov, &from->iov[from->iov_first], chain->writable_count * sizeof(*chain->iov));
    to->chain_count++;
    to->iov_count += chain->writable_count;
    to->capacity += chain->writable_len;
    from->chain_first++;
    from->chain_count--;
    from->iov_first += chain->writable_count;
    from->iov_count -= chain->writable_count;
    from->capacity -= chain->writable_len;
}

/* Gives `count` chains with `len` bytes of frame back, and slides the window past them. */
static void slot_return(struct net_rx *rx, struct net_rx_slot *slot, uint16_t count, uint32_t len)
{
    for (; count; count--) {
        const struct virtq_chain *chain = &slot->chains[slot->chain_first];
        uint32_t part = (uint32_t)u64_min(len, chain->writable_len);

        slot->chain_first++;
        slot->chain_count--;
        slot->iov_first += chain->writable_count;
        slot->iov_count -= chain->writable_count;
        slot->capacity -= chain->writable_len;
        len -= part;
        virtio_queue_push(rx->queue, chain, part);
    }
}

/* 5.1.6.4: the kernel leaves num_buffers alone. It may lie across two buffers. */
static void slot_set_num_buffers(struct net_rx_slot *slot, uint16_t count)
{
    const uint8_t bytes[] = {(uint8_t)count, (uint8_t)(count >> 8)};
    const struct iovec *iov = &slot->iov[slot->iov_first];
    size_t offset = offsetof(struct virtio_net_hdr_v1, num_buffers);

    for (size_t i = 0; i < sizeof(bytes); i++, offset++) {
        while (offset >= iov->iov_len)
            offset -= iov++->iov_len;
        ((uint8_t *)iov->iov_base)[offset] = bytes[i];
    }
}

static void slot_deliver(struct net_rx *rx, struct net_rx_slot *slot, uint32_t len)
{
    uint64_t room = 0;
    uint16_t count = 0;

    CHECK_CMP(len, <=, slot->capacity);
    if (rx->limit)
        rate_limit_charge(rx->limit, rx->queue->device->context.executor, 1,
                          len - (uint32_t)u64_min(len, TAP_HEADER_SIZE));
    if (len < FRAME_LEN_MIN ||
        (rx->params.is_mergeable && len == slot->capacity && len < rx->params.frame_max)) {
        log_limited(&rx->log_limit, LOG_WARN,
                    "%s: dropped a received frame: %u bytes, room for %llu", device_name(rx), len,
                    (unsigned long long)slot->capacity);
        return;
    }
    while (room < len)
        room += slot->chains[slot->chain_first + count++].writable_len;
    slot_set_num_buffers(slot, count);
    slot_return(rx, slot, count, len);
    rx->frames++;
}

/* When the ring has no more: fills the first slot with what frames left in the others. */
static void slots_gather(struct net_rx *rx)
{
    struct net_rx_slot *first = &rx->slots[0];

    for (uint16_t i = NET_RX_SLOT_COUNT - 1; i; i--) {
        while (rx->slots[i].chain_count && !slot_is_full(rx, first))
            chain_move(&rx->slots[i], first);
    }
}

/* ---- reading ---- */

static void read_start(struct net_rx *rx, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        struct net_rx_slot *slot = &rx->slots[i];

        (i + 1 < count ? op_readv_nowait : op_readv)(&slot->op, &rx->task, rx->file,
                                                     &slot->iov[slot->iov_first], slot->iov_count,
                                                     UINT64_MAX);
    }
    rx->started = count;
    rx->done = rx->frames = 0;
    timer_cancel(&rx->patience);
}

/* Whether to read into a slot that lacks room for a largest frame, which would be dropped. */
static bool reads_short(struct net_rx *rx, const struct net_rx_slot *slot)
{
    const struct virtq *vq = &rx->queue->vq;

    if (!slot->capacity)
        return false;
    /* A driver that keeps most of the ring filled has no more to give. */
    if (vq->in_flight_count >= vq->size - vq->size / 8 || timer_has_fired(&rx->patience))
        return slot->capacity >= FRAME_LEN_MIN;
    if (!timer_is_armed(&rx->patience))
        timer_arm(&rx->patience, &rx->queue->pump,
                  executor_now_ns(rx->queue->device->context.executor) + PATIENCE_NS);
    return false;
}

enum virtio_pump_verdict net_rx_pump(struct net_rx *rx)
{
    enum virtio_pump_verdict verdict = VIRTIO_PUMP_BLOCKED;
    int budget = VIRTIO_PUMP_BATCH;
    uint16_t full = 0;

    if (!rx->is_enabled || rx->has_failed || rx->started)
        return VIRTIO_PUMP_BLOCKED;
    if (rx->limit && !rate_limit_admits(rx->limit, &rx->rate_waiter, &rx->queue->pump))
        return VIRTIO_PUMP_BLOCKED;
    while (full < rx->batch) {
        verdict = slot_fill(rx, &rx->slots[full], &budget);
        if (verdict != VIRTIO_PUMP_BLOCKED)
            break;
        full++;
    }
    if (!full && verdict == VIRTIO_PUMP_EMPTY) {
        slots_gather(rx);
        full = slot_is_full(rx, &rx->slots[0]);
    }
    if (!full && (verdict == VIRTIO_PUMP_AGAIN || !reads_short(rx, &rx->slots[0])))
        return verdict;
    read_start(rx, full ? full : 1);
    return VIRTIO_PUMP_BLOCKED;
}

static void read_failed(struct net_rx *rx, int code)
{
    switch (code) {
    case -EAGAIN:
    case -EINTR:
    case -ECANCELED:
        break;
    case -EOPNOTSUPP:
        rx->has_no_nowait = true;
        break;
    default:
        /* Queues that are not in use are detached from the tap, and their reads end. */
        if (!rx->is_enabled || rx->has_failed)
            break;
        rx->has_failed = true;
        log_limited(&rx->log_limit, LOG_ERROR, "%s: receives no more: reading its tap failed: %s",
                    device_name(rx), code ? strerror(-code) : "it was closed");
    }
}

/* All brought a frame: there are more. Else the traffic is slow enough for a batch of so many. */
static void batch_adapt(struct net_rx *rx)
{
    if (rx->has_no_nowait)
        rx->batch = 1;
    else if (rx->frames == rx->started)
        rx->batch = (uint16_t)u64_min(2UL * rx->started, NET_RX_SLOT_COUNT);
    else
        rx->batch = (uint16_t)u64_max(rx->frames, 2);
}

static enum task_verdict rx_poll(struct task *task)
{
    struct net_rx *const rx = container_of(task, struct net_rx, task);

    while (rx->done < rx->started && op_is_done(&rx->slots[rx->done].op)) {
        struct net_rx_slot *slot = &rx->slots[rx->done++];

        if (slot->op.result > 0)
            slot_deliver(rx, slot, (uint32_t)slot->op.result);
        else
            read_failed(rx, slot->op.result);
    }
    if (rx->done < rx->started)
        return TASK_PENDING;
    if (rx->started)
        batch_adapt(rx);
    rx->started = 0;
    if (virtio_device_is_stopping(rx->queue->device))
        return TASK_DONE;
    task_wake(&rx->queue->pump);
    return TASK_PENDING;
}

static void rx_done(struct task *task)
{
    virtio_device_release(container_of(task, struct net_rx, task)->queue->device);
}

static const struct task_type rx_type = {.name = "net rx", .poll = rx_poll, .done = rx_done};

void net_rx_init(struct net_rx *rx, struct virtio_queue *queue, struct io_file file,
                 struct rate_limit *limit)
{
    rx->queue = queue;
    rx->limit = limit;
    rx->file = file;
}

void net_rx_start(struct net_rx *rx, const struct net_rx_params *params, bool enable)
{
    rx->params = *params;
    rx->is_enabled = enable;
    rx->has_failed = false;
    rx->batch = 1;
    rx->started = rx->done = 0;
    for (int i = 0; i < NET_RX_SLOT_COUNT; i++) {
        struct net_rx_slot *slot = &rx->slots[i];

        slot->chain_first = slot->chain_count = 0;
        slot->iov_first = slot->iov_count = 0;
        slot->capacity = 0;
    }
    virtio_device_hold(rx->queue->device);
    task_spawn(&rx->task, rx->queue->device->context.executor, &rx_type);
}

static void read_cancel(struct net_rx *rx)
{
    if (rx->limit)
        rate_limit_leave(rx->limit, &rx->rate_waiter);
    for (uint16_t i = rx->done; i < rx->started; i++)
        op_cancel(&rx->slots[i].op);
}

void net_rx_stop(struct net_rx *rx)
{
    if (!task_is_live(&rx->task))
        return;
    timer_cancel(&rx->patience);
    read_cancel(rx);
    task_wake(&rx->task);
}

void net_rx_enable(struct net_rx *rx, bool enable)
{
    if (!task_is_live(&rx->task) || rx->is_enabled == enable)
        return;
    rx->is_enabled = enable;
    if (enable)
        task_wake(&rx->queue->pump);
    else
        read_cancel(rx);
}
