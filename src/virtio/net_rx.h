/*
 * Receive half of a queue pair. A slot is one read of the tap into guest buffers that have room for
 * the largest frame; what a frame leaves unused stays in its slot for the next one. The pump fills
 * slots and starts a batch of reads; the task hands out what they brought, in order.
 *
 * All reads of a batch but the last give up when there is no frame, and the last one waits: frames
 * keep their order, and a batch costs one submission. Its size follows the traffic. A limit admits
 * batches, and is charged with what they bring; what it does not admit waits in the tap, which
 * drops what is too much.
 *
 * Executor thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "exec/op.h"
#include "exec/task.h"
#include "exec/timer.h"
#include "virtio/device.h"

enum {
    NET_RX_SLOT_COUNT = 16,
    NET_RX_SLOT_CHAIN_COUNT = 64, /* guest buffers of a slot */
    /* Room for those with one element each, or a last one that is a longest chain. */
    NET_RX_SLOT_IOV_COUNT = NET_RX_SLOT_CHAIN_COUNT + 256,
};

/* A window on two arrays, which slides as frames use buffers up; full: it moves to their start. */
struct net_rx_slot {
    struct op op;
    uint16_t chain_first, chain_count;
    uint16_t iov_first, iov_count;
    uint64_t capacity; /* bytes; one chain alone may have 4 GiB */
    struct virtq_chain chains[NET_RX_SLOT_CHAIN_COUNT];
    struct iovec iov[NET_RX_SLOT_IOV_COUNT];
};

/* What the driver negotiated. */
struct net_rx_params {
    bool is_mergeable;  /* VIRTIO_NET_F_MRG_RXBUF: a frame may span several chains */
    uint32_t frame_max; /* largest frame to expect, with its header */
};

/* All private. */
struct net_rx {
    struct task task;
    struct virtio_queue *queue;
    struct io_file file;
    struct rate_limit *limit; /* NULL: none */
    struct rate_waiter rate_waiter;
    struct net_rx_params params;
    bool is_enabled;
    bool has_failed;    /* the host's side is gone: no more reads until a reset */
    bool has_no_nowait; /* this kernel cannot read a tap without waiting: batches of one */
    uint16_t batch;     /* slots to read into at once */
    uint16_t started;   /* of the batch in flight; 0: none */
    uint16_t done;
    uint16_t frames; /* that this batch brought */
    struct timer patience;
    struct log_limit log_limit;
    struct net_rx_slot slots[NET_RX_SLOT_COUNT];
};

/* `limit` may be NULL. */
void net_rx_init(struct net_rx *rx, struct virtio_queue *queue, struct io_file file,
                 struct rate_limit *limit);
/*
 * DRIVER_OK, and the queue is enabled: spawns the task, which holds the device until net_rx_stop.
 * Reads only while enabled; guest buffers are kept meanwhile.
 */
void net_rx_start(struct net_rx *rx, const struct net_rx_params *params, bool enable);
/* No-ops unless started. */
void net_rx_enable(struct net_rx *rx, bool enable);
/* The device stops: cancels, and releases the device when drained. */
void net_rx_stop(struct net_rx *rx);
/* virtio_queue_spec.pump of its queue. */
enum virtio_pump_verdict net_rx_pump(struct net_rx *rx);
