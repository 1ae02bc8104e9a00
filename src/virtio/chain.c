/* Views on a chain's buffers: headers off the front, trailers off the back. */
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "virtio/queue.h"

/* Moves `len` bytes, which are there, between `buffer` and the front of `iov`, and takes them off.
 */
static void iov_take(struct iovec **iov, uint16_t *count, uint8_t *into, const uint8_t *from,
                     uint32_t len)
{
    while (len) {
        size_t part = u64_min(len, (*iov)->iov_len);

        if (into) {
            memcpy(into, (*iov)->iov_base, part);
            into += part;
        } else if (from) {
            memcpy((*iov)->iov_base, from, part);
            from += part;
        }
        len -= part;
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + part;
        (*iov)->iov_len -= part;
        if (!(*iov)->iov_len) {
            (*iov)++;
            (*count)--;
        }
    }
}

bool virtq_chain_pull_parts(struct virtq_chain *chain, void *buffer, uint32_t len)
{
    if (len > chain->readable_len)
        return false;
    chain->readable_len -= len;
    iov_take(&chain->readable, &chain->readable_count, buffer, NULL, len);
    return true;
}

void virtq_chain_skip(struct virtq_chain *chain, uint32_t len)
{
    CHECK_CMP(len, <=, chain->readable_len);
    chain->readable_len -= len;
    iov_take(&chain->readable, &chain->readable_count, NULL, NULL, len);
}

uint32_t virtq_chain_put(struct virtq_chain *chain, const void *buffer, uint32_t len)
{
    len = u64_min(len, chain->writable_len);
    chain->writable_len -= len;
    iov_take(&chain->writable, &chain->writable_count, NULL, buffer, len);
    return len;
}

uint8_t *virtq_chain_take_last(struct virtq_chain *chain)
{
    struct iovec *last;

    if (!chain->writable_len)
        return NULL;
    last = &chain->writable[chain->writable_count - 1];
    chain->writable_len--;
    last->iov_len--;
    if (!last->iov_len)
        chain->writable_count--;
    return (uint8_t *)last->iov_base + last->iov_len;
}
