/* A bounded queue of bytes over the owner's buffer, whose size is a power of two. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct byte_ring {
    uint8_t *bytes;
    uint32_t size;
    uint32_t written; /* free-running, as the next; the difference is what is in the ring */
    uint32_t taken;
};

static inline size_t byte_ring_count(const struct byte_ring *ring)
{
    return ring->written - ring->taken;
}

static inline size_t byte_ring_room(const struct byte_ring *ring)
{
    return ring->size - byte_ring_count(ring);
}

/* The oldest bytes, as many as lie in one piece. */
static inline size_t byte_ring_peek(const struct byte_ring *ring, const uint8_t **bytes)
{
    uint32_t at = ring->taken & (ring->size - 1);
    size_t count = byte_ring_count(ring);

    *bytes = &ring->bytes[at];
    return count < ring->size - at ? count : ring->size - at;
}

/* Drops the `len` oldest; len <= count. */
static inline void byte_ring_drop(struct byte_ring *ring, size_t len)
{
    ring->taken += (uint32_t)len;
    /* Starting over touches as little memory as the traffic needs. */
    if (ring->taken == ring->written)
        ring->taken = ring->written = 0;
}

/* Appends what fits; returns how much. */
static inline size_t byte_ring_write(struct byte_ring *ring, const void *data, size_t len)
{
    uint32_t at = ring->written & (ring->size - 1);
    size_t room = byte_ring_room(ring), first;

    if (len > room)
        len = room;
    first = len < ring->size - at ? len : ring->size - at;
    memcpy(&ring->bytes[at], data, first);
    memcpy(ring->bytes, (const uint8_t *)data + first, len - first);
    ring->written += (uint32_t)len;
    return len;
}

/* Takes up to `len` of the oldest; returns how many. */
static inline size_t byte_ring_read(struct byte_ring *ring, void *data, size_t len)
{
    size_t done = 0;

    while (done < len && byte_ring_count(ring)) {
        const uint8_t *bytes;
        size_t piece = byte_ring_peek(ring, &bytes);

        if (piece > len - done)
            piece = len - done;
        memcpy((uint8_t *)data + done, bytes, piece);
        byte_ring_drop(ring, piece);
        done += piece;
    }
    return done;
}
