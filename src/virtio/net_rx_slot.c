#include "virtio/net_rx_slot.h"

#include <linux/virtio_net.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "virtio/net_tx.h"
#include "virtio/tap.h"

_Static_assert(NET_RX_SLOT_IOV_COUNT > NET_RX_SLOT_CHAIN_COUNT + NET_CHAIN_MAX,
               "room for a longest chain and the spill");

bool net_rx_slot_has_place(const struct net_rx_slot *slot)
{
    return slot->chain_count < NET_RX_SLOT_CHAIN_COUNT &&
           slot->iov_count <= NET_RX_SLOT_CHAIN_COUNT;
}

struct virtq_chain *net_rx_slot_next(struct net_rx_slot *slot)
{
    uint32_t iov_end = (uint32_t)slot->iov_first + slot->iov_count;
    struct virtq_chain *chain;

    if (slot->chain_first + slot->chain_count == NET_RX_SLOT_CHAIN_COUNT ||
        iov_end + NET_CHAIN_MAX >= NET_RX_SLOT_IOV_COUNT) {
        memmove(slot->chains, &slot->chains[slot->chain_first],
                slot->chain_count * sizeof(*slot->chains));
        memmove(slot->iov, &slot->iov[slot->iov_first], slot->iov_count * sizeof(*slot->iov));
        slot->chain_first = slot->iov_first = 0;
    }
    chain = &slot->chains[slot->chain_first + slot->chain_count];
    *chain = (struct virtq_chain){.iov = &slot->iov[slot->iov_first + slot->iov_count],
                                  .iov_max = NET_CHAIN_MAX};
    return chain;
}

void net_rx_slot_add(struct net_rx_slot *slot, const struct virtq_chain *chain)
{
    slot->chain_count++;
    slot->iov_count += chain->writable_count;
    slot->capacity += chain->writable_len;
}

const struct virtq_chain *net_rx_slot_take(struct net_rx_slot *slot)
{
    const struct virtq_chain *chain = &slot->chains[slot->chain_first];

    slot->chain_first++;
    slot->chain_count--;
    slot->iov_first += chain->writable_count;
    slot->iov_count -= chain->writable_count;
    slot->capacity -= chain->writable_len;
    return chain;
}

void net_rx_slot_move(struct net_rx_slot *from, struct net_rx_slot *to)
{
    const struct iovec *iov = &from->iov[from->iov_first];
    struct virtq_chain *chain = net_rx_slot_next(to);
    struct iovec *to_iov = chain->iov;

    *chain = *net_rx_slot_take(from);
    chain->iov = to_iov;
    memcpy(to_iov, iov, chain->writable_count * sizeof(*iov));
    net_rx_slot_add(to, chain);
}

void net_rx_slot_read(struct net_rx_slot *slot, struct task *task, struct io_file file,
                      uint32_t frame_max, bool waits)
{
    struct iovec *iov = &slot->iov[slot->iov_first];
    uint32_t count = slot->iov_count;
    uint64_t rest = slot->capacity < frame_max ? frame_max - slot->capacity : 0;

    CHECK_CMP(frame_max, <, (uint32_t)NET_RX_SPILL_SIZE);
    slot->direct = (uint32_t)u64_min(slot->capacity, UINT32_MAX);
    /* The byte more is reached by a frame that is larger than all of this, and was cut off. */
    iov[count++] = (struct iovec){slot->spill, rest + 1};
    (waits ? op_readv : op_readv_nowait)(&slot->op, task, file, iov, count, UINT64_MAX);
}

/* Between the buffers, from byte `skip` on, and the first `len` bytes of the spill. */
static void copy(struct net_rx_slot *slot, size_t skip, size_t len, bool to_buffers)
{
    const struct iovec *iov = &slot->iov[slot->iov_first];
    uint8_t *spill = slot->spill;

    for (; len; iov++) {
        size_t here = u64_min(skip, iov->iov_len);
        size_t part = u64_min(len, iov->iov_len - here);
        uint8_t *bytes = (uint8_t *)iov->iov_base + here;

        if (part)
            memcpy(to_buffers ? bytes : spill, to_buffers ? spill : bytes, part);
        skip -= here;
        spill += part;
        len -= part;
    }
}

void net_rx_slot_unspill(struct net_rx_slot *slot, uint32_t len)
{
    CHECK_CMP(len, <=, slot->capacity);
    if (len > slot->direct)
        copy(slot, slot->direct, len - slot->direct, true);
}

void net_rx_slot_evict(struct net_rx_slot *slot, uint32_t len)
{
    uint32_t direct = (uint32_t)u64_min(len, slot->direct);

    CHECK_CMP(len, <, (uint32_t)NET_RX_SPILL_SIZE);
    memmove(slot->spill + direct, slot->spill, len - direct);
    copy(slot, 0, direct, false);
    slot->direct = 0;
}

void net_rx_slot_set_num_buffers(struct net_rx_slot *slot, uint16_t count)
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
