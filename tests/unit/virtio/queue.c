#include "virtio/queue.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

enum { LOW = 4 << 20, SIZE = 8, DESC = 0x0, AVAIL = 0x100000, USED = 0x200000, DATA = 0x300000 };

#define HIGH      0x100000000ULL
#define EVENT     (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  (1ULL << VIRTIO_RING_F_INDIRECT_DESC)
#define F_NEXT    VRING_DESC_F_NEXT
#define F_WRITE   VRING_DESC_F_WRITE
#define F_TABLE   VRING_DESC_F_INDIRECT
#define IOV_COUNT 64

struct ring {
    struct gmem *mem;
    struct virtq vq;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t size;
    struct iovec iov[IOV_COUNT];
    struct virtq_chain chain;
};

static void ring_start(struct ring *ring, uint16_t size, uint64_t features)
{
    const struct virtq_config config = {
        .size = size, .desc = DESC, .driver = AVAIL, .device = USED};

    ring->size = size;
    cr_assert_eq(virtq_enable(&ring->vq, &config, features), 0);
}

static struct ring *ring_create(uint16_t size, uint64_t features)
{
    const struct gmem_range ranges[] = {{{0}, LOW}, {{HIGH}, 0x10000}};
    struct ring *ring = calloc(1, sizeof(*ring));

    cr_assert_not_null(ring);
    cr_assert_eq(gmem_create(&ring->mem, ranges, 2, NULL), 0);
    cr_assert_eq(virtq_init(&ring->vq, ring->mem, size), 0);
    ring->desc = gmem_ptr(ring->mem, gpa(DESC), 16);
    ring->avail = gmem_ptr(ring->mem, gpa(AVAIL), 16);
    ring->used = gmem_ptr(ring->mem, gpa(USED), 16);
    ring->chain = (struct virtq_chain){.iov = ring->iov, .iov_max = IOV_COUNT};
    ring_start(ring, size, features);
    return ring;
}

static void ring_destroy(struct ring *ring)
{
    virtq_free(&ring->vq);
    gmem_destroy(ring->mem);
    free(ring);
}

static void desc_set(struct ring *ring, uint16_t index, uint64_t addr, uint32_t len, uint16_t flags,
                     uint16_t next)
{
    ring->desc[index] = (struct vring_desc){addr, len, flags, next};
}

static void make_available(struct ring *ring, uint16_t head)
{
    ring->avail->ring[ring->avail->idx % ring->size] = head;
    ring->avail->idx++;
}

static int pop(struct ring *ring)
{
    return virtq_pop(&ring->vq, &ring->chain);
}

/* The descriptors are in place: made available, the chain at 0 breaks the queue. */
static void assert_breaks(struct ring *ring, const char *why)
{
    make_available(ring, 0);
    cr_assert_eq(pop(ring), -EINVAL);
    cr_assert_str_eq(virtq_error(&ring->vq), why);
    cr_assert_eq(pop(ring), -EINVAL, "stays broken");
    cr_assert_not(virtq_has_avail(&ring->vq), "and is nothing to poll for");
    virtq_disable(&ring->vq);
    cr_assert_null(virtq_error(&ring->vq));
    memset(ring->desc, 0, 16 * ring->size);
    ring->avail->idx = 0;
    ring_start(ring, ring->size, INDIRECT);
}

Test(virtq, areas_must_be_aligned_in_ram_and_of_a_possible_size)
{
    struct ring *ring = ring_create(SIZE, 0);
    const struct virtq_config bad[] = {
        {.size = 0, .desc = DESC, .driver = AVAIL, .device = USED},
        {.size = 3, .desc = DESC, .driver = AVAIL, .device = USED},
        {.size = 16, .desc = DESC, .driver = AVAIL, .device = USED},
        {.size = 8, .desc = DESC + 8, .driver = AVAIL, .device = USED},
        {.size = 8, .desc = DESC, .driver = AVAIL + 1, .device = USED},
        {.size = 8, .desc = DESC, .driver = AVAIL, .device = USED + 2},
        {.size = 8, .desc = LOW, .driver = AVAIL, .device = USED},
        {.size = 8, .desc = LOW - 112, .driver = AVAIL, .device = USED},
        {.size = 8, .desc = DESC, .driver = LOW - 20, .device = USED},
        {.size = 8, .desc = DESC, .driver = AVAIL, .device = LOW - 68},
        {.size = 8, .desc = UINT64_MAX - 15, .driver = AVAIL, .device = USED},
        {.size = 8, .desc = DESC, .driver = UINT64_MAX - 1, .device = USED},
        {.size = 8, .desc = DESC, .driver = AVAIL, .device = 0xfee00000},
    };
    const struct virtq_config last_bytes = {
        .size = 8, .desc = LOW - 128, .driver = LOW - 22, .device = HIGH + 0x10000 - 72};

    virtq_disable(&ring->vq);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(virtq_enable(&ring->vq, &bad[i], 0), -EINVAL, "case %zu", i);
        cr_assert_eq(ring->vq.size, 0);
        cr_assert_eq(pop(ring), 0, "a disabled queue is empty");
    }
    cr_assert_eq(virtq_enable(&ring->vq, &last_bytes, 0), 0);
    ring_destroy(ring);
}

Test(virtq, chain_comes_out_as_vectors_on_guest_memory)
{
    struct ring *ring = ring_create(SIZE, 0);

    desc_set(ring, 5, DATA, 16, F_NEXT, 2);
    desc_set(ring, 2, HIGH + 0xff00, 0x100, F_NEXT, 7);
    desc_set(ring, 7, DATA + 0x1000, 512, F_NEXT | F_WRITE, 0);
    desc_set(ring, 0, DATA + 0x2000, 1, F_WRITE, 3);
    cr_assert_eq(pop(ring), 0);
    make_available(ring, 5);
    cr_assert(virtq_has_avail(&ring->vq));
    cr_assert_eq(pop(ring), 1);
    cr_assert_not(virtq_has_avail(&ring->vq));
    cr_assert_eq(ring->chain.head, 5);
    cr_assert_eq(ring->chain.readable_count, 2);
    cr_assert_eq(ring->chain.readable_len, 0x110);
    cr_assert_eq(ring->chain.writable_count, 2);
    cr_assert_eq(ring->chain.writable_len, 513);
    cr_assert_eq(ring->chain.readable[0].iov_base, gmem_ptr(ring->mem, gpa(DATA), 16));
    cr_assert_eq(ring->chain.readable[1].iov_base, gmem_ptr(ring->mem, gpa(HIGH + 0xff00), 0x100));
    cr_assert_eq(ring->chain.readable[1].iov_len, 0x100);
    cr_assert_eq(ring->chain.writable[0].iov_len, 512);
    cr_assert_eq(ring->chain.writable[1].iov_base, gmem_ptr(ring->mem, gpa(DATA + 0x2000), 1));
    cr_assert_eq(pop(ring), 0);
    ring_destroy(ring);
}

Test(virtq, buffers_without_bytes_count_for_nothing)
{
    struct ring *ring = ring_create(SIZE, 0);

    desc_set(ring, 0, UINT64_MAX, 0, F_NEXT, 1);
    desc_set(ring, 1, DATA, 4, F_NEXT, 2);
    desc_set(ring, 2, 0xfee00000, 0, F_WRITE, 0);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1);
    cr_assert_eq(ring->chain.readable_count, 1);
    cr_assert_eq(ring->chain.writable_count, 0);
    ring_destroy(ring);
}

Test(virtq, hostile_1_head_available_twice_while_in_flight_breaks)
{
    struct ring *ring = ring_create(SIZE, 0);

    desc_set(ring, 0, DATA, 4, 0, 0);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1);
    virtq_push(&ring->vq, &ring->chain, 0);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1, "after its completion a head is free again");
    assert_breaks(ring, "a head made available twice");
    make_available(ring, 0);
    desc_set(ring, 0, DATA, 4, 0, 0);
    cr_assert_eq(pop(ring), 1, "a reset forgets what was in flight");
    ring_destroy(ring);
}

Test(virtq, hostile_3_avail_idx_beyond_the_queue_size_breaks)
{
    struct ring *ring = ring_create(SIZE, 0);

    for (uint16_t i = 0; i < SIZE; i++) {
        desc_set(ring, i, DATA, 4, 0, 0);
        make_available(ring, i);
    }
    for (int i = 0; i < SIZE; i++)
        cr_assert_eq(pop(ring), 1, "as many as the queue has are fine");
    ring->avail->idx += SIZE;
    assert_breaks(ring, "avail idx is ahead by more than the queue size");
    ring->avail->idx = UINT16_MAX - 1;
    assert_breaks(ring, "avail idx is ahead by more than the queue size");
    ring_destroy(ring);
}

Test(virtq, hostile_4_head_out_of_range_breaks)
{
    struct ring *ring = ring_create(SIZE, 0);

    make_available(ring, SIZE);
    cr_assert_eq(pop(ring), -EINVAL);
    cr_assert_str_eq(virtq_error(&ring->vq), "an avail ring entry out of range");
    ring_destroy(ring);
}

Test(virtq, hostile_4_malformed_direct_chains_break)
{
    struct ring *ring = ring_create(SIZE, INDIRECT);

    desc_set(ring, 0, DATA, 4, F_NEXT, 0);
    assert_breaks(ring, "a chain longer than the queue");
    desc_set(ring, 0, DATA, 0, F_NEXT, 1);
    desc_set(ring, 1, DATA, 0, F_NEXT, 0);
    assert_breaks(ring, "a chain longer than the queue");
    desc_set(ring, 0, DATA, 4, F_NEXT, SIZE);
    assert_breaks(ring, "a descriptor index out of range");
    desc_set(ring, 0, DATA, 4, F_NEXT, UINT16_MAX);
    assert_breaks(ring, "a descriptor index out of range");
    desc_set(ring, 0, DATA, 4, F_NEXT | F_WRITE, 1);
    desc_set(ring, 1, DATA, 4, 0, 0);
    assert_breaks(ring, "a readable buffer after a writable one");
    ring_destroy(ring);
}

Test(virtq, chain_as_long_as_the_queue_is_taken)
{
    struct ring *ring = ring_create(SIZE, 0);

    for (uint16_t i = 0; i < SIZE; i++)
        desc_set(ring, i, DATA + i, 1, i + 1 < SIZE ? F_NEXT : 0, i + 1);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1);
    cr_assert_eq(ring->chain.readable_count, SIZE);
    ring_destroy(ring);
}

Test(virtq, chain_of_more_buffers_than_the_device_takes_breaks)
{
    struct ring *ring = ring_create(SIZE, 0);

    ring->chain.iov_max = 2;
    for (uint16_t i = 0; i < 3; i++)
        desc_set(ring, i, DATA + i, 1, i < 2 ? F_NEXT : 0, i + 1);
    make_available(ring, 1);
    cr_assert_eq(pop(ring), 1, "two are fine");
    assert_breaks(ring, "a chain of more buffers than the device takes");
    ring_destroy(ring);
}

Test(virtq, hostile_6_buffers_that_wrap_or_straddle_break)
{
    struct ring *ring = ring_create(SIZE, 0);
    const struct {
        uint64_t addr;
        uint32_t len;
    } bad[] = {
        {LOW - 1, 2},  {LOW, 1},           {UINT64_MAX, 2}, {UINT64_MAX - 0xfff, 0x1000},
        {HIGH - 1, 2}, {HIGH + 0xffff, 2}, {0, UINT32_MAX}, {HIGH, UINT32_MAX},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        desc_set(ring, 0, bad[i].addr, bad[i].len, i % 2 ? F_WRITE : 0, 0);
        assert_breaks(ring, "a buffer outside RAM");
    }
    ring_destroy(ring);
}

Test(virtq, hostile_7_buffers_on_device_memory_break)
{
    struct ring *ring = ring_create(SIZE, 0);

    desc_set(ring, 0, 0xfee00000, 4, F_WRITE, 0);
    assert_breaks(ring, "a buffer outside RAM");
    desc_set(ring, 0, 0xe0000000, 4, 0, 0);
    assert_breaks(ring, "a buffer outside RAM");
    ring_destroy(ring);
}

Test(virtq, hostile_10_chain_of_more_than_4_gib_breaks)
{
    const struct gmem_range ranges[] = {{{0}, 0xc0000000}};
    struct ring *ring = ring_create(SIZE, 0);
    struct gmem *mem;

    cr_assert_eq(gmem_create(&mem, ranges, 1, NULL), 0);
    virtq_disable(&ring->vq);
    ring->vq.mem = mem;
    ring->desc = gmem_ptr(mem, gpa(DESC), 16);
    ring->avail = gmem_ptr(mem, gpa(AVAIL), 16);
    ring_start(ring, SIZE, 0);
    desc_set(ring, 1, 0, 0xc0000000, F_NEXT, 2);
    desc_set(ring, 2, 0, 0x3fffffff, F_WRITE, 0);
    make_available(ring, 1);
    cr_assert_eq(pop(ring), 1);
    cr_assert_eq((uint64_t)ring->chain.readable_len + ring->chain.writable_len, UINT32_MAX);
    desc_set(ring, 0, 0, 1, F_NEXT, 1);
    assert_breaks(ring, "a chain of more than 4 GiB");
    gmem_destroy(mem);
    ring_destroy(ring);
}

static struct vring_desc *table_at(struct ring *ring, uint64_t addr, uint16_t index)
{
    return (struct vring_desc *)gmem_ptr(ring->mem, gpa(addr + 16ULL * index), 16);
}

Test(virtq, indirect_table_is_followed_wherever_it_lies)
{
    struct ring *ring = ring_create(SIZE, INDIRECT);
    struct vring_desc table[] = {
        {DATA + 0x100, 16, F_NEXT, 2},
        {DATA + 0x300, 1, F_WRITE, 0},
        {DATA + 0x200, 8, F_NEXT | F_WRITE, 1},
    };

    /* Tables need no alignment; the write flag of the descriptor itself means nothing (2.7.5.3.2).
     */
    cr_assert_eq(gmem_write(ring->mem, gpa(DATA + 3), table, sizeof(table)), 0);
    desc_set(ring, 0, DATA, 2, F_NEXT, 1);
    desc_set(ring, 1, DATA + 3, sizeof(table), F_TABLE | F_WRITE, 0);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1);
    cr_assert_eq(ring->chain.readable_count, 2);
    cr_assert_eq(ring->chain.readable_len, 18);
    cr_assert_eq(ring->chain.writable_len, 9);
    cr_assert_eq(ring->chain.writable[1].iov_base, gmem_ptr(ring->mem, gpa(DATA + 0x300), 1));
    ring_destroy(ring);
}

Test(virtq, indirect_chain_may_be_as_long_as_the_largest_queue)
{
    struct ring *ring = ring_create(SIZE, INDIRECT);

    for (uint16_t i = 0; i < SIZE; i++)
        *table_at(ring, DATA, i) = (struct vring_desc){DATA, 1, i + 1 < SIZE ? F_NEXT : 0, i + 1};
    virtq_disable(&ring->vq);
    ring_start(ring, 2, INDIRECT);
    desc_set(ring, 0, DATA, 16 * SIZE, F_TABLE, 0);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1, "though the driver made the queue smaller");
    cr_assert_eq(ring->chain.readable_count, SIZE);
    ring_destroy(ring);
}

Test(virtq, hostile_4_malformed_indirect_chains_break)
{
    struct ring *ring = ring_create(SIZE, INDIRECT);

    *table_at(ring, DATA, 0) = (struct vring_desc){DATA, 16, F_TABLE, 0};
    desc_set(ring, 0, DATA, 16, F_TABLE, 0);
    assert_breaks(ring, "an indirect descriptor in an indirect table");
    /* The queue's own table as its indirect table: nested without end. */
    desc_set(ring, 0, DESC, 16, F_TABLE, 0);
    assert_breaks(ring, "an indirect descriptor in an indirect table");
    desc_set(ring, 0, DATA, 16, F_TABLE | F_NEXT, 1);
    assert_breaks(ring, "an indirect descriptor with a next one");
    desc_set(ring, 0, DATA, 17, F_TABLE, 0);
    assert_breaks(ring, "an indirect table of odd length");
    desc_set(ring, 0, DATA, 0, F_TABLE, 0);
    assert_breaks(ring, "an indirect table of odd length");
    desc_set(ring, 0, LOW - 16, 32, F_TABLE, 0);
    assert_breaks(ring, "an indirect table outside RAM");
    desc_set(ring, 0, UINT64_MAX - 15, 32, F_TABLE, 0);
    assert_breaks(ring, "an indirect table outside RAM");
    desc_set(ring, 0, 0, UINT32_MAX - 15, F_TABLE, 0);
    assert_breaks(ring, "an indirect table outside RAM");
    *table_at(ring, DATA, 0) = (struct vring_desc){DATA, 1, F_NEXT, 1};
    *table_at(ring, DATA, 1) = (struct vring_desc){DATA, 1, F_NEXT, 0};
    desc_set(ring, 0, DATA, 32, F_TABLE, 0);
    assert_breaks(ring, "a chain longer than the queue");
    *table_at(ring, DATA, 1) = (struct vring_desc){DATA, 1, F_NEXT, 2};
    desc_set(ring, 0, DATA, 32, F_TABLE, 0);
    assert_breaks(ring, "a descriptor index out of range");
    ring_destroy(ring);
}

Test(virtq, hostile_2_indirect_without_its_feature_breaks)
{
    struct ring *ring = ring_create(SIZE, 0);

    *table_at(ring, DATA, 0) = (struct vring_desc){DATA, 1, 0, 0};
    desc_set(ring, 0, DATA, 16, F_TABLE, 0);
    assert_breaks(ring, "an indirect descriptor without VIRTIO_F_INDIRECT_DESC");
    ring_destroy(ring);
}

Test(virtq, completions_of_a_broken_queue_touch_nothing)
{
    struct ring *ring = ring_create(SIZE, 0);
    struct virtq_chain first;

    desc_set(ring, 0, DATA, 4, 0, 0);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1);
    first = ring->chain;
    make_available(ring, 0);
    cr_assert_eq(pop(ring), -EINVAL);
    virtq_push(&ring->vq, &first, 4);
    cr_assert_not(virtq_flush(&ring->vq));
    cr_assert_eq(ring->used->idx, 0);
    cr_assert_eq(ring->vq.in_flight_count, 0);
    ring_destroy(ring);
}

Test(virtq, used_entries_appear_all_at_once_when_flushed)
{
    struct ring *ring = ring_create(SIZE, 0);
    struct virtq_chain chains[2];

    for (uint16_t i = 0; i < 2; i++) {
        desc_set(ring, i, DATA, 4, F_WRITE, 0);
        make_available(ring, i);
        cr_assert_eq(pop(ring), 1);
        chains[i] = ring->chain;
    }
    virtq_push(&ring->vq, &chains[1], 3);
    virtq_push(&ring->vq, &chains[0], 4);
    cr_assert_eq(ring->used->idx, 0);
    cr_assert(virtq_flush(&ring->vq));
    cr_assert_eq(ring->used->idx, 2);
    cr_assert_eq(ring->used->ring[0].id, 1);
    cr_assert_eq(ring->used->ring[0].len, 3);
    cr_assert_eq(ring->used->ring[1].id, 0);
    cr_assert_eq(ring->used->ring[1].len, 4);
    cr_assert_not(virtq_flush(&ring->vq), "nothing new, nothing to interrupt for");
    ring_destroy(ring);
}

/* Takes and completes one chain. */
static void complete_one(struct ring *ring)
{
    desc_set(ring, 0, DATA, 4, F_WRITE, 0);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1);
    virtq_push(&ring->vq, &ring->chain, 4);
}

Test(virtq, without_event_idx_flags_decide_the_interrupt)
{
    struct ring *ring = ring_create(SIZE, 0);

    complete_one(ring);
    cr_assert(virtq_flush(&ring->vq));
    ring->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    complete_one(ring);
    cr_assert_not(virtq_flush(&ring->vq));
    ring->avail->flags = 0;
    complete_one(ring);
    cr_assert(virtq_flush(&ring->vq));
    ring_destroy(ring);
}

Test(virtq, with_event_idx_passing_used_event_decides_the_interrupt)
{
    struct ring *ring = ring_create(SIZE, EVENT);
    uint16_t used = 0;

    ring->avail->flags = VRING_AVAIL_F_NO_INTERRUPT; /* must be ignored (2.7.7.2) */
    /* Twice around the 16-bit index, in batches of 1 to 8, with the event at every distance. */
    for (int round = 0; used < 60000 || round < 40000; round++) {
        uint16_t batch = 1 + round % SIZE;
        int distance = round % 13 - 2;
        bool expected = distance >= 0 && distance < batch;

        ring->avail->ring[SIZE] = (uint16_t)(used + distance);
        for (int i = 0; i < batch; i++)
            complete_one(ring);
        cr_assert_eq(virtq_flush(&ring->vq), expected, "used %u batch %u distance %d", used, batch,
                     distance);
        used += batch;
        cr_assert_eq(ring->used->idx, used);
        cr_assert_eq(ring->used->ring[(uint16_t)(used - 1) % SIZE].len, 4);
    }
    ring_destroy(ring);
}

Test(virtq, without_event_idx_the_used_flag_asks_for_kicks)
{
    struct ring *ring = ring_create(SIZE, 0);

    virtq_notify_disable(&ring->vq);
    cr_assert_eq(ring->used->flags, VRING_USED_F_NO_NOTIFY);
    cr_assert_not(virtq_notify_enable(&ring->vq));
    cr_assert_eq(ring->used->flags, 0);
    make_available(ring, 0);
    cr_assert(virtq_notify_enable(&ring->vq), "a chain that came before needs no kick");
    ring_destroy(ring);
}

/* What a driver computes before it kicks (2.7.10): does moving avail idx pass avail_event? */
static bool driver_would_kick(struct ring *ring, uint16_t old, uint16_t new)
{
    uint16_t event;

    memcpy(&event, &ring->used->ring[ring->size], sizeof(event));
    return vring_need_event(event, new, old);
}

Test(virtq, with_event_idx_kicks_come_exactly_while_enabled_at_every_index)
{
    struct ring *ring = ring_create(SIZE, EVENT);

    cr_assert(driver_would_kick(ring, 0, 1), "a fresh queue wants its first kick");
    for (int round = 0; round < 70000; round++) {
        uint16_t old = ring->avail->idx;

        virtq_notify_disable(&ring->vq);
        for (uint16_t n = 1; n <= SIZE; n++)
            cr_assert_not(driver_would_kick(ring, old, old + n), "disabled at %u", old);
        cr_assert_not(virtq_notify_enable(&ring->vq));
        for (uint16_t n = 1; n <= SIZE; n++)
            cr_assert(driver_would_kick(ring, old, old + n), "enabled at %u", old);
        complete_one(ring);
        cr_assert_not(driver_would_kick(ring, old + 1, old + 2), "one kick is enough");
        cr_assert_eq(virtq_flush(&ring->vq), old == 0, "used_event is 0");
    }
    ring_destroy(ring);
}

Test(virtq, what_is_published_later_belongs_to_the_next_batch)
{
    struct ring *ring = ring_create(SIZE, 0);

    desc_set(ring, 0, DATA, 4, 0, 0);
    desc_set(ring, 1, DATA, 4, 0, 0);
    make_available(ring, 0);
    cr_assert_eq(pop(ring), 1);
    make_available(ring, 1);
    cr_assert_eq(pop(ring), 1);
    cr_assert_eq(ring->chain.head, 1);
    cr_assert_eq(pop(ring), 0);
    ring_destroy(ring);
}
