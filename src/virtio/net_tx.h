/*
 * Transmit half of a queue pair: the pump takes a batch of frames from the ring and starts a write
 * of each; the task gives them back when they are written, and lets the pump go on. Writes of a
 * batch are served in order. Executor thread.
 */
#pragma once
#include <stdint.h>

#include "base/log.h"
#include "exec/op.h"
#include "exec/task.h"
#include "virtio/device.h"

enum {
    NET_TX_BATCH = VIRTIO_PUMP_BATCH,
    NET_CHAIN_MAX = 256,
    /* Buffers of all frames of a batch: it ends when a longest chain might not fit any more. */
    NET_TX_IOV_COUNT = 3 * NET_CHAIN_MAX,
};

struct net_tx_frame {
    struct op op;
    struct virtq_chain chain;
};

/* All private. */
struct net_tx {
    struct task task;
    struct virtio_queue *queue;
    struct io_file file;
    struct log_limit log_limit;
    uint16_t count; /* of the batch in flight; 0: none */
    uint16_t done;
    struct net_tx_frame frames[NET_TX_BATCH];
    struct iovec iov[NET_TX_IOV_COUNT];
};

void net_tx_init(struct net_tx *tx, struct virtio_queue *queue, struct io_file file);
/* DRIVER_OK, and the queue is enabled: spawns the task, which holds the queue until net_tx_stop.
 */
void net_tx_start(struct net_tx *tx);
/* The queue stops: cancels, and releases the queue when drained. A no-op unless started. */
void net_tx_stop(struct net_tx *tx);
/* virtio_queue_spec.pump of its queue. */
enum virtio_pump_verdict net_tx_pump(struct net_tx *tx);
