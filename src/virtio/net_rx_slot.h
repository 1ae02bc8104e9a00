/*
 * A read of a tap: guest buffers, in a window on two arrays that slides as frames use them up, and
 * behind them memory of our own. Nobody knows how long the next frame is, so without that memory
 * each read would need guest buffers for the largest one, forty for what is most often one. What
 * spills over is copied when the driver has given enough buffers. Executor thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/op.h"
#include "virtio/queue.h"

enum {
    NET_RX_SLOT_CHAIN_COUNT = 64, /* guest buffers of a slot */
    /* Room for those with one element each, or a last one that is a longest chain, and the spill.
     */
    NET_RX_SLOT_IOV_COUNT = NET_RX_SLOT_CHAIN_COUNT + 256 + 1,
    /* The largest MTU behind its headers, and a byte more, which tells that a frame is larger. */
    NET_RX_SPILL_SIZE = 65535 + 64,
};

/* Zeroed: empty. The window moves to the start of its arrays when it reaches their end. */
struct net_rx_slot {
    struct op op; /* the read */
    uint16_t chain_first, chain_count;
    uint16_t iov_first, iov_count;
    uint64_t capacity; /* bytes of the guest's buffers; one chain alone may have 4 GiB */
    uint32_t direct;   /* of the frame that was read: bytes that are in guest buffers already */
    struct virtq_chain chains[NET_RX_SLOT_CHAIN_COUNT];
    struct iovec iov[NET_RX_SLOT_IOV_COUNT];
    uint8_t spill[NET_RX_SPILL_SIZE]; /* not touched before a frame needs it */
};

/* Whether it may take one more chain of any length. */
bool net_rx_slot_has_place(const struct net_rx_slot *slot);
/* Where the next chain goes, ready for a pop; net_rx_slot_add when that filled it. The slot has a
 * place. */
struct virtq_chain *net_rx_slot_next(struct net_rx_slot *slot);
void net_rx_slot_add(struct net_rx_slot *slot, const struct virtq_chain *chain);
/* Takes the first chain out of the window; valid until the next one is added. */
const struct virtq_chain *net_rx_slot_take(struct net_rx_slot *slot);
/* From the front of an idle slot to the end of another, which has a place. */
void net_rx_slot_move(struct net_rx_slot *from, struct net_rx_slot *to);

/*
 * Starts the read of a frame: up to `frame_max` bytes, or what the buffers take if that is more. A
 * result beyond both is a frame that was cut off. `waits`: until there is one.
 */
void net_rx_slot_read(struct net_rx_slot *slot, struct task *task, struct io_file file,
                      uint32_t frame_max, bool waits);
/* Moves what spilled over of a frame of `len` bytes, if anything, to the buffers that were added
 * since; there is room for it. */
void net_rx_slot_unspill(struct net_rx_slot *slot, uint32_t len);
/* Moves a frame of `len` bytes, at most the read's `frame_max`, out of the buffers, which are free
 * then. */
void net_rx_slot_evict(struct net_rx_slot *slot, uint32_t len);
/* 5.1.6.4: of the frame at the front; the kernel leaves it alone. It may lie across two buffers. */
void net_rx_slot_set_num_buffers(struct net_rx_slot *slot, uint16_t count);
