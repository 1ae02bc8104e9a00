/* Vectors of buffers: where to go on after a short transfer. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

static inline size_t iov_size(const struct iovec *iov, uint32_t count)
{
    size_t size = 0;

    for (uint32_t i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size;
}

/*
 * Drops the first `done` bytes, at most all of them: *iov moves past what was transferred, the
 * first entry left is shortened in place. Returns how many entries are left; 0: all is done.
 */
static inline uint32_t iov_advance(struct iovec **iov, uint32_t count, size_t done)
{
    while (count && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++;
        count--;
    }
    if (count) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
    return count;
}
