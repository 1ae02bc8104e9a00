#include "virtio/net_tx.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <string.h>

#include "virtio/tap.h"

/* A frame as large as segmentation offload allows: 65535 bytes behind the Ethernet header. */
enum { FRAME_LEN_MIN = TAP_HEADER_SIZE + ETH_HLEN, FRAME_LEN_MAX = FRAME_LEN_MIN + 65535 };

static const char *device_name(const struct net_tx *tx)
{
    return tx->queue->device->name;
}

enum virtio_pump_verdict net_tx_pump(struct net_tx *tx)
{
    uint32_t iov_used = 0;

    if (tx->count)
        return VIRTIO_PUMP_BLOCKED;
    for (int i = 0; i < NET_TX_BATCH && iov_used + NET_CHAIN_MAX <= NET_TX_IOV_COUNT; i++) {
        struct net_tx_frame *frame = &tx->frames[tx->count];
        struct virtq_chain *chain = &frame->chain;

        *chain = (struct virtq_chain){.iov = &tx->iov[iov_used], .iov_max = NET_CHAIN_MAX};
        if (!virtio_queue_pop(tx->queue, chain))
            return tx->count ? VIRTIO_PUMP_BLOCKED : VIRTIO_PUMP_EMPTY;
        if (chain->readable_len < FRAME_LEN_MIN || chain->readable_len > FRAME_LEN_MAX) {
            log_limited(&tx->log_limit, LOG_WARN, "%s: dropped a frame of %u bytes",
                        device_name(tx), chain->readable_len);
            virtio_queue_push(tx->queue, chain, 0);
            continue;
        }
        iov_used += chain->readable_count;
        tx->count++;
        op_writev(&frame->op, &tx->task, tx->file, chain->readable, chain->readable_count,
                  UINT64_MAX);
    }
    return tx->count ? VIRTIO_PUMP_BLOCKED : VIRTIO_PUMP_AGAIN;
}

static void frame_done(struct net_tx *tx, struct net_tx_frame *frame)
{
    if (frame->op.result < 0 && frame->op.result != -ECANCELED)
        log_limited(&tx->log_limit, LOG_WARN, "%s: dropped a frame of %u bytes: %s",
                    device_name(tx), frame->chain.readable_len, strerror(-frame->op.result));
    virtio_queue_push(tx->queue, &frame->chain, 0);
}

static enum task_verdict tx_poll(struct task *task)
{
    struct net_tx *const tx = container_of(task, struct net_tx, task);

    while (tx->done < tx->count && op_is_done(&tx->frames[tx->done].op))
        frame_done(tx, &tx->frames[tx->done++]);
    if (tx->done < tx->count)
        return TASK_PENDING;
    tx->done = tx->count = 0;
    if (virtio_queue_is_stopping(tx->queue))
        return TASK_DONE;
    task_wake(&tx->queue->pump);
    return TASK_PENDING;
}

static void tx_done(struct task *task)
{
    virtio_queue_release(container_of(task, struct net_tx, task)->queue);
}

static const struct task_type tx_type = {.name = "net tx", .poll = tx_poll, .done = tx_done};

void net_tx_init(struct net_tx *tx, struct virtio_queue *queue, struct io_file file)
{
    tx->queue = queue;
    tx->file = file;
}

void net_tx_start(struct net_tx *tx)
{
    virtio_queue_hold(tx->queue);
    task_spawn(&tx->task, tx->queue->device->context.executor, &tx_type);
}

void net_tx_stop(struct net_tx *tx)
{
    if (!task_is_live(&tx->task))
        return;
    for (uint16_t i = tx->done; i < tx->count; i++)
        op_cancel(&tx->frames[i].op);
    task_wake(&tx->task);
}
