/*
 * Frames on virtio-net, with a peer on the host that does what the first byte of a frame says: for
 * each combination of the lists interrupts and size (and depth, of echoes) a line "net tx", "net
 * rx" or "net echo". Frames are counted when the device is done with them.
 */
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "clock.h"
#include "cmdline.h"
#include "console.h"
#include "guest.h"
#include "histogram.h"
#include "memory.h"
#include "virtio.h"

enum {
    RX = 0,
    TX = 1,
    QUEUE_COUNT = 2,
    QUEUE_SIZE = 256,
    BUFFER_SIZE = 2048, /* header and frame */
    FRAME_MIN = 60,
    FRAME_MAX = 1514,
    ETHERTYPE = 0x88b5,  /* local experiments (IEEE 802) */
    LOST_MS = 50,        /* an echo that takes longer does not come */
    ASK_COUNT_MAX = 600, /* LOST_MS each, for a flood */
    WARM_UP_SHARE = 10,
};

/* What the peer is to do with a frame. */
enum order { ORDER_IGNORE = 'i', ORDER_ECHO = 'e', ORDER_FLOOD = 'f' };

/* Ethernet's header, and what guest and peer say to each other; src/bench/net_peer.c has it too. */
struct frame {
    uint8_t to[6], from[6];
    uint8_t type[2];
    uint8_t order;
    uint8_t slot;    /* of an echo */
    uint16_t size;   /* of the flood's frames */
    uint32_t ms;     /* how long it floods */
    uint32_t serial; /* of an echo: others are late */
} __attribute__((packed));
_Static_assert(sizeof(struct frame) == 26, "as the peer has it");

struct buffer {
    struct virtio_net_hdr_v1 header;
    union {
        struct frame frame;
        uint8_t bytes[BUFFER_SIZE - sizeof(struct virtio_net_hdr_v1)];
    };
};
_Static_assert(sizeof(struct buffer) == BUFFER_SIZE, "whole pages");

struct net {
    struct virtio virtio;
    struct queue queues[QUEUE_COUNT];
    struct buffer *rx, *tx;
    bool packed;
    bool interrupts;
    bool is_flood_asked;
    uint32_t size; /* of frames */
    /* Of the case. */
    uint64_t frames, lost, interrupts_before;
};

/* An echo: one buffer, sent again and again. */
struct echo {
    uint64_t sent_at;
    uint32_t serial;
    bool is_busy;   /* the device has its buffer */
    bool is_wanted; /* as soon as it gives it back */
};

static struct histogram histogram;
static struct net net;
static struct echo echoes[QUEUE_SIZE];

/* ---- set-up ---- */

static void buffers_make(void)
{
    net.rx = memory_alloc((uint64_t)QUEUE_SIZE * BUFFER_SIZE);
    net.tx = memory_alloc((uint64_t)QUEUE_SIZE * BUFFER_SIZE);
    for (unsigned i = 0; i < net.queues[RX].size; i++) {
        queue_desc_set(&net.queues[RX], net.queues[RX].table, i, &net.rx[i], BUFFER_SIZE,
                       VRING_DESC_F_WRITE);
        queue_add(&net.queues[RX], (uint16_t)i);
    }
    for (unsigned i = 0; i < net.queues[TX].size; i++) {
        struct frame *frame = &net.tx[i].frame;

        memset(frame->to, 0xff, sizeof(frame->to));
        frame->from[0] = 2;
        frame->type[0] = ETHERTYPE >> 8;
        frame->type[1] = ETHERTYPE & 0xff;
    }
}

static void net_start(void)
{
    const struct virtio_setup setup = {
        .features = 1ULL << VIRTIO_RING_F_EVENT_IDX,
        .queue_count = QUEUE_COUNT,
        .queue_size_max = QUEUE_SIZE,
        .packed = net.packed,
        .interrupts = net.interrupts,
    };

    memory_free_all();
    virtio_start(&net.virtio, &setup, net.queues);
    buffers_make();
    queue_publish(&net.queues[RX]);
    /* What is lost does not interrupt. */
    tick_set(net.interrupts);
}

static void net_stop(void)
{
    tick_set(false);
    virtio_reset(&net.virtio);
}

/* The next case, or the part of it that counts. */
static void counters_clear(void)
{
    histogram_clear(&histogram);
    net.frames = net.lost = net.queues[TX].kicks = 0;
    net.interrupts_before = interrupt_count;
}

/* Until the device has done something in one of the queues, at best. */
static void net_wait(struct queue *one, struct queue *other)
{
    if (net.interrupts)
        queue_sleep_any(one, other);
    else
        cpu_relax();
}

static void frame_send(unsigned slot, enum order order, uint32_t size)
{
    struct queue *tx = &net.queues[TX];

    net.tx[slot].frame.order = (uint8_t)order;
    net.tx[slot].frame.slot = (uint8_t)slot;
    queue_desc_set(tx, tx->table, slot, &net.tx[slot], (uint32_t)sizeof(net.tx[slot].header) + size,
                   0);
    queue_add(tx, (uint16_t)slot);
}

/* The next frame that came, of the peer or anybody; NULL: none. Its buffer is the device's again
 * with the next one. */
static const struct frame *frame_take(void)
{
    struct queue *rx = &net.queues[RX];
    uint16_t slot;

    if (!queue_has_used(rx)) {
        queue_publish(rx);
        return NULL;
    }
    slot = queue_take(rx).head;
    queue_add(rx, slot);
    return &net.rx[slot].frame;
}

static bool is_ours(const struct frame *frame)
{
    return frame->type[0] == ETHERTYPE >> 8 && frame->type[1] == (ETHERTYPE & 0xff);
}

static void result_print(const char *kind, unsigned depth, uint64_t duration)
{
    console_begin("net ");
    console_begin(kind);
    console_field("size", net.size);
    console_field("depth", depth);
    console_field("interrupts", net.interrupts);
    console_field("operations", net.frames);
    console_field("lost", net.lost);
    console_field("ns", clock_ns(duration));
    console_field("kicks", net.queues[TX].kicks);
    console_field("interrupts_taken", interrupt_count - net.interrupts_before);
    console_end();
    histogram_print(&histogram);
}

/* ---- sending ---- */

/* All buffers on their way, each sent again as soon as the device is done with it. */
static void tx_until(uint64_t end_at)
{
    struct queue *tx = &net.queues[TX];
    unsigned in_flight = tx->size;

    for (unsigned slot = 0; slot < tx->size; slot++)
        frame_send(slot, ORDER_IGNORE, net.size);
    queue_publish(tx);
    while (in_flight) {
        uint64_t now;

        net_wait(tx, tx);
        now = cycles();
        while (queue_has_used(tx)) {
            unsigned slot = queue_take(tx).head;

            net.frames++;
            if (now < end_at)
                frame_send(slot, ORDER_IGNORE, net.size);
            else
                in_flight--;
        }
        queue_publish(tx);
    }
}

static void tx_run(uint64_t duration)
{
    uint64_t begin;

    net_start();
    tx_until(cycles() + duration / WARM_UP_SHARE);
    counters_clear();
    begin = cycles();
    tx_until(begin + duration);
    result_print("tx", net.queues[TX].size, cycles() - begin);
    net_stop();
}

/* ---- receiving ---- */

/* Longer than it is looked at: from when it runs to before its end. */
static uint32_t flood_ms(uint32_t ms)
{
    return ms + ms / 2 + LOST_MS;
}

/* Unless the device still has the last request. */
static void flood_ask(uint32_t ms)
{
    struct queue *tx = &net.queues[TX];

    if (net.is_flood_asked && !queue_has_used(tx))
        return;
    if (net.is_flood_asked)
        (void)queue_take(tx);
    net.is_flood_asked = true;
    net.tx[0].frame.size = (uint16_t)net.size;
    net.tx[0].frame.ms = flood_ms(ms);
    frame_send(0, ORDER_FLOOD, FRAME_MIN);
    queue_publish(tx);
}

/* Until then, and for one frame at least. */
static void rx_until(uint64_t end_at, uint32_t ms)
{
    uint64_t now = cycles(), heard_at = now;
    unsigned asked = 0;

    while (now < end_at || !net.frames) {
        const struct frame *frame = frame_take();

        now = cycles();
        if (frame) {
            net.frames += is_ours(frame);
            heard_at = now;
        } else if (now - heard_at > clock_cycles_of_ms(LOST_MS)) {
            if (++asked > ASK_COUNT_MAX)
                guest_fail("nobody sends a frame: there is no peer on the host");
            flood_ask(ms);
            heard_at = now;
        } else {
            net_wait(&net.queues[RX], &net.queues[RX]);
        }
    }
}

static void rx_run(uint64_t duration, uint32_t ms)
{
    uint64_t begin;

    net_start();
    counters_clear();
    net.is_flood_asked = false;
    flood_ask(ms);
    rx_until(0, ms);
    rx_until(cycles() + duration / WARM_UP_SHARE, ms);
    counters_clear();
    begin = cycles();
    rx_until(begin + duration, ms);
    result_print("rx", net.queues[RX].size, cycles() - begin);
    net_stop();
    /* The next case is not to be disturbed by what is left. */
    for (uint64_t end_at = cycles() + clock_cycles_of_ms(flood_ms(ms) - ms); cycles() < end_at;)
        cpu_relax();
}

/* ---- there and back ---- */

static void echo_send(unsigned slot, uint64_t at)
{
    struct echo *echo = &echoes[slot];

    echo->sent_at = at;
    echo->is_wanted = echo->is_busy;
    if (echo->is_busy)
        return;
    echo->is_busy = true;
    net.tx[slot].frame.serial = ++echo->serial;
    frame_send(slot, ORDER_ECHO, net.size);
}

static void echo_buffers_take(uint64_t at)
{
    struct queue *tx = &net.queues[TX];

    while (queue_has_used(tx)) {
        unsigned slot = queue_take(tx).head;

        echoes[slot].is_busy = false;
        if (echoes[slot].is_wanted)
            echo_send(slot, at);
    }
}

/* The last frame of a slot of ours that came back. */
static bool echo_is_due(const struct frame *frame, unsigned depth)
{
    return is_ours(frame) && frame->order == ORDER_ECHO && frame->slot < depth &&
           frame->serial == echoes[frame->slot].serial && !echoes[frame->slot].is_wanted;
}

static void echoes_take(unsigned depth, uint64_t at)
{
    const struct frame *frame;

    while ((frame = frame_take())) {
        if (!echo_is_due(frame, depth))
            continue;
        histogram_record(&histogram, at - echoes[frame->slot].sent_at);
        net.frames++;
        echo_send(frame->slot, at);
    }
}

static void echoes_lost_send(unsigned depth, uint64_t at)
{
    uint64_t lost = clock_cycles_of_ms(LOST_MS);

    for (unsigned slot = 0; slot < depth; slot++)
        if (at - echoes[slot].sent_at > lost) {
            net.lost++;
            echo_send(slot, at);
        }
}

/* Until then, and for one of them at least. */
static void echoes_until(uint64_t end_at, unsigned depth)
{
    uint64_t now = cycles();

    for (unsigned slot = 0; slot < depth; slot++)
        echo_send(slot, now);
    queue_publish(&net.queues[TX]);
    while (now < end_at || !net.frames) {
        net_wait(&net.queues[RX], &net.queues[TX]);
        now = cycles();
        echo_buffers_take(now);
        echoes_take(depth, now);
        echoes_lost_send(depth, now);
        queue_publish(&net.queues[TX]);
    }
}

static void echo_run(unsigned depth, uint64_t duration)
{
    uint64_t begin;

    net_start();
    counters_clear();
    memset(echoes, 0, sizeof(echoes));
    if (!depth || depth > net.queues[TX].size / 2U)
        guest_fail("depth: 0, or more echoes than half of the queue");
    echoes_until(cycles() + duration / WARM_UP_SHARE, depth);
    counters_clear();
    begin = cycles();
    echoes_until(begin + duration, depth);
    result_print("echo", depth, cycles() - begin);
    net_stop();
}

void net_run(void)
{
    uint64_t ms = cmdline_number("time_ms", 1000), duration = clock_cycles_of_ms(ms);
    struct cmdline_list sizes, depths, interrupts;

    cmdline_list(&sizes, "size", FRAME_MIN);
    cmdline_list(&depths, "depth", 1);
    cmdline_list(&interrupts, "interrupts", 0);
    net.packed = cmdline_number("packed", 0);
    virtio_find(&net.virtio, VIRTIO_ID_NET);
    for (unsigned i = 0; i < interrupts.count; i++)
        for (unsigned s = 0; s < sizes.count; s++) {
            net.interrupts = interrupts.values[i] != 0;
            net.size = (uint32_t)sizes.values[s];
            if (net.size < FRAME_MIN || net.size > FRAME_MAX)
                guest_fail("size: not from 60 to 1514");
            tx_run(duration);
            rx_run(duration, (uint32_t)ms);
            for (unsigned d = 0; d < depths.count; d++)
                echo_run((unsigned)depths.values[d], duration);
        }
}
