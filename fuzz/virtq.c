/*
 * A virtqueue over guest memory that the fuzzer fills: descriptors, rings and indirect tables of
 * any content. The first bytes choose size and features, and so the layout. Whatever they say,
 * chains stay inside guest RAM and within their bounds, and the queue takes only so much work.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/queue.h"

/* The avail ring first: a short input already makes chains available. */
enum { RAM_SIZE = 0x4000, AVAIL = 0, DESC = 0x40, USED = 0x140, IOV_COUNT = 20, SIZE_MAX_LOG2 = 4 };

#define HIGH_BASE 0x100000000ULL

struct held {
    struct virtq_chain chain;
    struct iovec iov[IOV_COUNT];
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static uint64_t vector_check(const struct gmem *mem, const struct iovec *iov, uint16_t count)
{
    uint64_t len = 0;

    for (uint16_t i = 0; i < count; i++) {
        const uint8_t *base = iov[i].iov_base;
        bool inside = false;

        for (size_t r = 0; r < gmem_region_count(mem); r++) {
            const struct gmem_region *region = gmem_region(mem, r);

            inside |= base >= region->host && iov[i].iov_len <= region->range.size &&
                      base + iov[i].iov_len <= region->host + region->range.size;
        }
        require(inside && iov[i].iov_len);
        len += iov[i].iov_len;
    }
    return len;
}

static void chain_use(const struct gmem *mem, struct virtq *vq, struct held *held)
{
    struct virtq_chain *chain = &held->chain;
    uint8_t header[16];

    require(chain->readable_count + chain->writable_count <= IOV_COUNT);
    require(vector_check(mem, chain->readable, chain->readable_count) == chain->readable_len);
    require(vector_check(mem, chain->writable, chain->writable_count) == chain->writable_len);
    /* Views write into the same memory: the rings change while the queue runs. */
    if (virtq_chain_take_last(chain) && virtq_chain_pull(chain, header, sizeof(header)))
        virtq_chain_put(chain, header, sizeof(header));
    virtq_push(vq, chain, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gmem *mem;
    static struct held held[1 << SIZE_MAX_LOG2];
    const struct gmem_range ranges[] = {{{0}, RAM_SIZE}, {{HIGH_BASE}, RAM_SIZE}};
    struct virtq_config config = {.desc = DESC, .driver = AVAIL, .device = USED};
    struct virtq vq;
    uint64_t features;
    unsigned count = 0;

    if (size < 2)
        return 0;
    if (!mem && gmem_create(&mem, ranges, 2, NULL))
        abort();
    memset(gmem_ptr(mem, gpa(0), RAM_SIZE), 0, RAM_SIZE);
    config.size = 1U << data[0] % (SIZE_MAX_LOG2 + 1);
    features = (uint64_t)data[1] << VIRTIO_RING_F_INDIRECT_DESC;
    if (features & 1ULL << VIRTIO_F_RING_PACKED)
        config.size = 1 + data[0] % (1 << SIZE_MAX_LOG2);
    memcpy(gmem_ptr(mem, gpa(0), RAM_SIZE), data + 2, size - 2 < RAM_SIZE ? size - 2 : RAM_SIZE);
    if (virtq_init(&vq, mem, 1 << SIZE_MAX_LOG2) || virtq_init_order(&vq) ||
        virtq_enable(&vq, &config, features))
        abort();
    for (int round = 0; round < 4; round++) {
        virtq_notify_disable(&vq);
        while (count < config.size) {
            held[count].chain = (struct virtq_chain){.iov = held[count].iov, .iov_max = IOV_COUNT};
            if (virtq_pop(&vq, &held[count].chain) <= 0)
                break;
            count++;
        }
        require(vq.in_flight_count == count);
        for (; count > 3U - round; count--)
            chain_use(mem, &vq, &held[count - 1]);
        (void)virtq_flush(&vq);
        if (vq.is_packed)
            require(!vq.packed.slots_unpublished && vq.packed.slots_held <= config.size);
        else
            require(vq.split.used_published == vq.split.used_next);
        if (!virtq_notify_enable(&vq))
            break;
    }
    virtq_free(&vq);
    return 0;
}
