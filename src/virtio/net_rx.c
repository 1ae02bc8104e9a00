#include "virtio/net_rx.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "virtio/tap.h"

enum {
    FRAME_LEN_MIN = TAP_HEADER_SIZE + ETH_HLEN,
    /* Of Ethernet, with a VLAN tag: fewer are expected of no frame. */
    FRAME_LEN_USUAL = FRAME_LEN_MIN + 4 + ETH_DATA_LEN,
};
/* How long a read waits for as many buffers as its frame is expected to need: about as long as it
 * takes a driver that is awake to give some back. */
#define READ_PATIENCE_NS (1 * NS_PER_MS)
/* How long a frame waits for the buffers that it does need: longer than Linux's driver takes to try
 * again if it finds no memory. */
#define FRAME_PATIENCE_NS NS_PER_S

static const char *device_name(const struct net_rx *rx)
{
    return rx->queue->device->name;
}

/* ---- slots ---- */

static bool slot_is_full(const struct net_rx *rx, const struct net_rx_slot *slot, uint32_t len)
{
    if (!rx->params.is_mergeable)
        return slot->chain_count == 1;
    return slot->capacity >= len || !net_rx_slot_has_place(slot);
}

/* A chain that cannot hold the header, or has readable buffers, goes back unused. */
static bool chain_is_usable(const struct net_rx *rx, const struct virtq_chain *chain)
{
    uint32_t min = rx->params.is_mergeable ? TAP_HEADER_SIZE : FRAME_LEN_MIN;

    return !chain->readable_count && chain->writable_len >= min;
}

/* For a frame of `len` bytes. EMPTY: the ring gave all it has and the slot is not full. AGAIN: the
 * budget of chains is spent. */
static enum virtio_pump_verdict slot_fill(struct net_rx *rx, struct net_rx_slot *slot, uint32_t len,
                                          int *budget)
{
    while (!slot_is_full(rx, slot, len)) {
        struct virtq_chain *chain;

        if (!(*budget)--)
            return VIRTIO_PUMP_AGAIN;
        chain = net_rx_slot_next(slot);
        if (!virtio_queue_pop(rx->queue, chain))
            return VIRTIO_PUMP_EMPTY;
        if (chain_is_usable(rx, chain)) {
            net_rx_slot_add(slot, chain);
            continue;
        }
        log_limited(&rx->log_limit, LOG_WARN, "%s: returned a receive buffer of %u bytes",
                    device_name(rx), chain->writable_len);
        virtio_queue_push(rx->queue, chain, 0);
    }
    return VIRTIO_PUMP_BLOCKED;
}

/* Neither is the kernel at it, nor does a frame in it wait for its turn. */
static bool slot_is_idle(const struct net_rx *rx, uint16_t index)
{
    const struct op *op = &rx->slots[index].op;

    return index < rx->done || index >= rx->started || (op_is_done(op) && op->result <= 0);
}

/* When the ring has no more: adds what frames left in other slots. */
static void slot_gather(struct net_rx *rx, struct net_rx_slot *slot, uint32_t len)
{
    for (uint16_t i = NET_RX_SLOT_COUNT; i--;) {
        struct net_rx_slot *other = &rx->slots[i];

        if (other == slot || !slot_is_idle(rx, i))
            continue;
        while (other->chain_count && !slot_is_full(rx, slot, len))
            net_rx_slot_move(other, slot);
    }
}

/* When the driver has no more either: adds those of frames that come later, which wait elsewhere
 * meanwhile. */
static void slot_rob_later(struct net_rx *rx, struct net_rx_slot *slot, uint32_t len)
{
    for (uint16_t i = rx->started; --i > rx->done;) {
        struct net_rx_slot *other = &rx->slots[i];

        if (!op_is_done(&other->op) || slot_is_full(rx, slot, len) ||
            (other->op.result > 0 && (uint32_t)other->op.result > rx->params.frame_max))
            continue;
        if (other->op.result > 0)
            net_rx_slot_evict(other, (uint32_t)other->op.result);
        while (other->chain_count && !slot_is_full(rx, slot, len))
            net_rx_slot_move(other, slot);
    }
}

/* ---- frames ---- */

static void frame_dropped(struct net_rx *rx, const struct net_rx_slot *slot)
{
    log_limited(&rx->log_limit, LOG_WARN, "%s: dropped a received frame: %d bytes, room for %llu",
                device_name(rx), slot->op.result, (unsigned long long)slot->capacity);
}

static void frame_deliver(struct net_rx *rx, struct net_rx_slot *slot)
{
    uint32_t len = (uint32_t)slot->op.result;
    uint64_t room = 0;
    uint16_t count = 0;

    while (room < len)
        room += slot->chains[slot->chain_first + count++].writable_len;
    net_rx_slot_unspill(slot, len);
    net_rx_slot_set_num_buffers(slot, count);
    for (; count; count--) {
        const struct virtq_chain *chain = net_rx_slot_take(slot);
        uint32_t part = (uint32_t)u64_min(len, chain->writable_len);

        len -= part;
        virtio_queue_push(rx->queue, chain, part);
    }
}

/* False: it lacks guest buffers, of which more may come. */
static bool frame_take(struct net_rx *rx, struct net_rx_slot *slot)
{
    uint32_t len = (uint32_t)slot->op.result;

    rx->frames++;
    rx->longest = (uint32_t)u64_max(rx->longest, len);
    if (rx->limit)
        rate_limit_charge(rx->limit, rx->queue->device->context.executor, 1,
                          len - (uint32_t)u64_min(len, TAP_HEADER_SIZE));
    if (len <= slot->capacity && len >= FRAME_LEN_MIN)
        frame_deliver(rx, slot);
    else if (len < FRAME_LEN_MIN || len > rx->params.frame_max || !rx->params.is_mergeable ||
             virtio_queue_is_stopping(rx->queue))
        frame_dropped(rx, slot);
    else
        return false;
    return true;
}

/* The frame that is next is done with, as are those behind it that need not wait any more. */
static void short_frame_ended(struct net_rx *rx)
{
    timer_cancel(&rx->patience);
    rx->is_short = false;
    rx->done++;
    task_wake(&rx->task);
}

/* A driver that keeps most of its ring filled has no more to give. */
static bool driver_gave_all(const struct net_rx *rx)
{
    const struct virtq *vq = &rx->queue->vq;

    return vq->in_flight_slots >= vq->size - vq->size / 8U;
}

static void patience_begin(struct net_rx *rx, uint64_t patience_ns)
{
    timer_arm(&rx->patience, &rx->queue->pump,
              executor_now_ns(rx->queue->device->context.executor) + patience_ns);
}

/* More guest buffers for the frame that is next. */
static enum virtio_pump_verdict short_frame_pump(struct net_rx *rx)
{
    struct net_rx_slot *slot = &rx->slots[rx->done];
    uint32_t len = (uint32_t)slot->op.result;
    uint64_t before = slot->capacity;
    int budget = VIRTIO_PUMP_BATCH;
    enum virtio_pump_verdict verdict = slot_fill(rx, slot, len, &budget);

    if (verdict == VIRTIO_PUMP_EMPTY)
        slot_gather(rx, slot, len);
    if (verdict == VIRTIO_PUMP_EMPTY && driver_gave_all(rx))
        slot_rob_later(rx, slot, len);
    if (slot->capacity >= len) {
        frame_deliver(rx, slot);
    } else if (verdict == VIRTIO_PUMP_AGAIN) {
        return verdict;
    } else if (slot_is_full(rx, slot, len) || driver_gave_all(rx) ||
               (timer_has_fired(&rx->patience) && slot->capacity == before)) {
        frame_dropped(rx, slot);
    } else {
        if (!timer_is_armed(&rx->patience) || slot->capacity > before)
            patience_begin(rx, FRAME_PATIENCE_NS);
        return VIRTIO_PUMP_EMPTY;
    }
    short_frame_ended(rx);
    return VIRTIO_PUMP_BLOCKED;
}

/* ---- reading ---- */

static void read_start(struct net_rx *rx, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++)
        net_rx_slot_read(&rx->slots[i], &rx->task, rx->file, rx->params.frame_max, i + 1 == count);
    rx->started = count;
    rx->done = rx->frames = 0;
    rx->longest = 0;
    timer_cancel(&rx->patience);
}

/* Whether to read into the first slot though there are fewer buffers than a frame is expected to
 * need. */
static bool reads_short(struct net_rx *rx)
{
    const struct net_rx_slot *slot = &rx->slots[0];

    if (!slot->capacity)
        return false;
    if (driver_gave_all(rx) || timer_has_fired(&rx->patience)) {
        rx->expected = (uint32_t)slot->capacity;
        return true;
    }
    if (!timer_is_armed(&rx->patience))
        patience_begin(rx, READ_PATIENCE_NS);
    return false;
}

enum virtio_pump_verdict net_rx_pump(struct net_rx *rx)
{
    enum virtio_pump_verdict verdict = VIRTIO_PUMP_BLOCKED;
    int budget = VIRTIO_PUMP_BATCH;
    uint16_t full = 0;

    if (!rx->is_enabled || rx->has_failed)
        return VIRTIO_PUMP_BLOCKED;
    if (rx->is_short)
        return short_frame_pump(rx);
    if (rx->started)
        return VIRTIO_PUMP_BLOCKED;
    if (rx->limit && !rate_limit_admits(rx->limit, &rx->rate_waiter, &rx->queue->pump))
        return VIRTIO_PUMP_BLOCKED;
    while (full < rx->batch) {
        verdict = slot_fill(rx, &rx->slots[full], rx->expected, &budget);
        if (verdict != VIRTIO_PUMP_BLOCKED)
            break;
        full++;
    }
    if (!full && verdict == VIRTIO_PUMP_EMPTY) {
        slot_gather(rx, &rx->slots[0], rx->expected);
        full = slot_is_full(rx, &rx->slots[0], rx->expected);
    }
    if (!full && (verdict == VIRTIO_PUMP_AGAIN || !reads_short(rx)))
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

/* All brought a frame: there are more, and twice as many get them. Else there were none left, until
 * the last one brought the first of the next burst. */
static void batch_adapt(struct net_rx *rx)
{
    rx->run = (uint16_t)u64_min((uint64_t)rx->run + rx->frames, NET_RX_SLOT_COUNT + 1);
    if (rx->has_no_nowait) {
        rx->batch = 1;
    } else if (rx->frames == rx->started) {
        rx->batch = (uint16_t)u64_min(2UL * rx->started, NET_RX_SLOT_COUNT);
    } else if (rx->frames) {
        rx->burst = (uint16_t)((rx->burst + rx->run - 1) / 2);
        rx->batch = (uint16_t)u64_max(rx->burst, 1);
        rx->run = 1;
    }
}

/* A larger frame is seldom alone. */
static void expected_adapt(struct net_rx *rx)
{
    uint32_t longest = (uint32_t)u64_min(rx->longest, rx->params.frame_max);
    uint32_t enough = (uint32_t)u64_max(longest, FRAME_LEN_USUAL);

    if (longest > rx->expected)
        rx->expected = longest;
    else if (enough < rx->expected)
        rx->expected -= (rx->expected - enough) / 8;
}

static enum task_verdict rx_poll(struct task *task)
{
    struct net_rx *const rx = container_of(task, struct net_rx, task);

    for (; rx->done < rx->started && !rx->is_short && op_is_done(&rx->slots[rx->done].op);
         rx->done += !rx->is_short) {
        struct net_rx_slot *slot = &rx->slots[rx->done];

        if (slot->op.result <= 0)
            read_failed(rx, slot->op.result);
        else
            rx->is_short = !frame_take(rx, slot);
    }
    if (rx->is_short)
        task_wake(&rx->queue->pump);
    if (rx->done < rx->started)
        return TASK_PENDING;
    if (rx->frames) {
        batch_adapt(rx);
        expected_adapt(rx);
    }
    rx->started = rx->done = 0;
    if (virtio_queue_is_stopping(rx->queue))
        return TASK_DONE;
    task_wake(&rx->queue->pump);
    return TASK_PENDING;
}

static void rx_done(struct task *task)
{
    virtio_queue_release(container_of(task, struct net_rx, task)->queue);
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
    rx->is_short = false;
    rx->batch = rx->burst = rx->run = 1;
    rx->started = rx->done = 0;
    rx->expected = FRAME_LEN_USUAL;
    for (int i = 0; i < NET_RX_SLOT_COUNT; i++) {
        struct net_rx_slot *slot = &rx->slots[i];

        if (!slot->chain_first && !slot->chain_count)
            continue; /* nor is memory touched that was not used yet */
        slot->chain_first = slot->chain_count = 0;
        slot->iov_first = slot->iov_count = 0;
        slot->capacity = 0;
    }
    virtio_queue_hold(rx->queue);
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
    if (rx->is_short)
        short_frame_ended(rx);
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
