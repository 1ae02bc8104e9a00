/*
 * Receive half of a queue pair. The pump fills slots with guest buffers, each for one frame as
 * large as the latest ones were, and starts a batch of reads; the task hands out what they brought,
 * in order. What a frame leaves unused stays in its slot for the next one. One that is larger than
 * its slot waits until the driver has given enough buffers, and those behind it wait, too; it is
 * dropped only if the driver has no more to give.
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
#include "virtio/net_rx_slot.h"

enum { NET_RX_SLOT_COUNT = 32 };

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
    bool is_short;      /* the frame that is next lacks guest buffers */
    uint16_t batch;     /* slots to read into at once */
    uint16_t burst;     /* frames that come at once, of late */
    uint16_t run;       /* that came since it was seen that there was none */
    uint16_t started;   /* of the batch in flight; 0: none */
    uint16_t done;
    uint16_t frames;   /* that this batch brought */
    uint32_t longest;  /* bytes of these */
    uint32_t expected; /* bytes of a frame, as the latest ones go */
    struct timer patience;
    struct log_limit log_limit;
    struct net_rx_slot slots[NET_RX_SLOT_COUNT];
};

/* `limit` may be NULL. */
void net_rx_init(struct net_rx *rx, struct virtio_queue *queue, struct io_file file,
                 struct rate_limit *limit);
/*
 * DRIVER_OK, and the queue is enabled: spawns the task, which holds the queue until net_rx_stop.
 * Reads only while enabled; guest buffers are kept meanwhile.
 */
void net_rx_start(struct net_rx *rx, const struct net_rx_params *params, bool enable);
/* No-ops unless started. */
void net_rx_enable(struct net_rx *rx, bool enable);
/* The queue stops: cancels, and releases the queue when drained. */
void net_rx_stop(struct net_rx *rx);
/* virtio_queue_spec.pump of its queue. */
enum virtio_pump_verdict net_rx_pump(struct net_rx *rx);
