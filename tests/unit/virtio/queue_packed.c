#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/queue.h"

enum {
    LOW = 4 << 20,
    SIZE = 5,
    SIZE_MAX_ = 8,
    RING = 0x0,
    DRIVER = 0x100000,
    DEVICE = 0x200000,
    DATA = 0x300000,
    AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
    USED = 1 << VRING_PACKED_DESC_F_USED,
    IOV_COUNT = 64,
};

#define HIGH     0x100000000ULL
#define PACKED   (1ULL << VIRTIO_F_RING_PACKED)
#define EVENT    (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (1ULL << VIRTIO_RING_F_INDIRECT_DESC)
#define F_NEXT   VRING_DESC_F_NEXT
#define F_WRITE  VRING_DESC_F_WRITE
#define F_TABLE  VRING_DESC_F_INDIRECT

struct ring {
    struct gmem *mem;
    struct virtq vq;
    struct vring_packed_desc *desc;
    struct vring_packed_desc_event *driver, *device;
    uint16_t size;
    struct iovec iov[IOV_COUNT];
    struct virtq_chain chain;
};

static void ring_start(struct ring *ring, uint16_t size, uint64_t features)
{
    const struct virtq_config config = {
        .size = size, .desc = RING, .driver = DRIVER, .device = DEVICE};

    ring->size = size;
    cr_assert_eq(virtq_enable(&ring->vq, &config, features | PACKED), 0);
}

static struct ring *ring_create(uint64_t features)
{
    const struct gmem_range ranges[] = {{{0}, LOW}, {{HIGH}, 0x10000}};
    struct ring *ring = calloc(1, sizeof(*ring));

    cr_assert_not_null(ring);
    cr_assert_eq(gmem_create(&ring->mem, ranges, 2, NULL), 0);
    cr_assert_eq(virtq_init(&ring->vq, ring->mem, SIZE_MAX_), 0);
    ring->desc = gmem_ptr(ring->mem, gpa(RING), 16);
    ring->driver = gmem_ptr(ring->mem, gpa(DRIVER), 4);
    ring->device = gmem_ptr(ring->mem, gpa(DEVICE), 4);
    ring->chain = (struct virtq_chain){.iov = ring->iov, .iov_max = IOV_COUNT};
    ring_start(ring, SIZE, features);
    return ring;
}

static void ring_destroy(struct ring *ring)
{
    virtq_free(&ring->vq);
    gmem_destroy(ring->mem);
    free(ring);
}

/* As in the first lap. */
static void desc_set(struct ring *ring, uint16_t index, uint64_t addr, uint32_t len, uint16_t id,
                     uint16_t flags)
{
    ring->desc[index] = (struct vring_packed_desc){addr, len, id, flags | AVAIL};
}

static int pop(struct ring *ring)
{
    return virtq_pop(&ring->vq, &ring->chain);
}

/* The descriptors are in place: the queue breaks. */
static void assert_breaks(struct ring *ring, const char *why)
{
    cr_assert_eq(pop(ring), -EINVAL);
    cr_assert_str_eq(virtq_error(&ring->vq), why);
    cr_assert_eq(pop(ring), -EINVAL, "stays broken");
    cr_assert_not(virtq_has_avail(&ring->vq), "and is nothing to poll for");
    cr_assert_not(virtq_notify_enable(&ring->vq), "nor to be woken for");
    virtq_disable(&ring->vq);
    cr_assert_null(virtq_error(&ring->vq));
    memset(ring->desc, 0, 16 * SIZE_MAX_);
    ring_start(ring, SIZE, INDIRECT);
}

Test(virtq_packed, areas_must_be_aligned_in_ram_and_of_a_possible_size)
{
    struct ring *ring = ring_create(0);
    const struct virtq_config bad[] = {
        {.size = 0, .desc = RING, .driver = DRIVER, .device = DEVICE},
        {.size = 9, .desc = RING, .driver = DRIVER, .device = DEVICE},
        {.size = 5, .desc = RING + 8, .driver = DRIVER, .device = DEVICE},
        {.size = 5, .desc = RING, .driver = DRIVER + 2, .device = DEVICE},
        {.size = 5, .desc = RING, .driver = DRIVER, .device = DEVICE + 2},
        {.size = 5, .desc = LOW - 64, .driver = DRIVER, .device = DEVICE},
        {.size = 5, .desc = RING, .driver = LOW, .device = DEVICE},
        {.size = 5, .desc = RING, .driver = DRIVER, .device = HIGH + 0x10000},
        {.size = 5, .desc = UINT64_MAX - 15, .driver = DRIVER, .device = DEVICE},
        {.size = 5, .desc = RING, .driver = UINT64_MAX - 3, .device = DEVICE},
        {.size = 5, .desc = RING, .driver = DRIVER, .device = 0xfee00000},
    };
    const struct virtq_config last_bytes = {
        .size = 5, .desc = LOW - 80, .driver = LOW - 4, .device = HIGH + 0x10000 - 4};

    virtq_disable(&ring->vq);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(virtq_enable(&ring->vq, &bad[i], PACKED), -EINVAL, "case %zu", i);
        cr_assert_eq(ring->vq.size, 0);
        cr_assert_eq(pop(ring), 0, "a disabled queue is empty");
        cr_assert_not(virtq_has_avail(&ring->vq));
    }
    cr_assert_eq(virtq_enable(&ring->vq, &last_bytes, PACKED), 0);
    ring_destroy(ring);
}

Test(virtq_packed, chain_comes_out_as_vectors_with_the_id_of_its_last_descriptor)
{
    struct ring *ring = ring_create(0);

    cr_assert_eq(pop(ring), 0, "a zeroed ring is empty");
    desc_set(ring, 0, DATA, 16, 99, F_NEXT);
    desc_set(ring, 1, HIGH + 0xff00, 0x100, 99, F_NEXT);
    desc_set(ring, 2, 0xfee00000, 0, 99, F_NEXT | F_WRITE);
    desc_set(ring, 3, DATA + 0x1000, 512, 4, F_WRITE);
    cr_assert(virtq_has_avail(&ring->vq));
    cr_assert_eq(pop(ring), 1);
    cr_assert_not(virtq_has_avail(&ring->vq));
    cr_assert_eq(ring->chain.head, 4);
    cr_assert_eq(ring->chain.readable_count, 2);
    cr_assert_eq(ring->chain.readable_len, 0x110);
    cr_assert_eq(ring->chain.writable_count, 1, "an empty buffer counts for nothing");
    cr_assert_eq(ring->chain.writable_len, 512);
    cr_assert_eq(ring->chain.readable[1].iov_base, gmem_ptr(ring->mem, gpa(HIGH + 0xff00), 0x100));
    cr_assert_eq(ring->chain.writable[0].iov_base, gmem_ptr(ring->mem, gpa(DATA + 0x1000), 512));
    cr_assert_eq(pop(ring), 0);
    ring_destroy(ring);
}

Test(virtq_packed, used_entry_takes_the_place_of_the_chain_that_came_first)
{
    struct ring *ring = ring_create(0);
    struct virtq_chain first;

    desc_set(ring, 0, DATA, 1, 0, F_NEXT);
    desc_set(ring, 1, DATA, 1, 3, 0);
    desc_set(ring, 2, DATA, 1, 1, F_WRITE);
    cr_assert_eq(pop(ring), 1);
    first = ring->chain;
    cr_assert_eq(pop(ring), 1);
    virtq_push(&ring->vq, &ring->chain, 1);
    cr_assert_eq(ring->desc[0].flags, F_NEXT | AVAIL, "nothing is seen before the flush");
    cr_assert(virtq_flush(&ring->vq));
    cr_assert_eq(ring->desc[0].id, 1);
    cr_assert_eq(ring->desc[0].len, 1);
    cr_assert_eq(ring->desc[0].flags, F_WRITE | AVAIL | USED);
    virtq_push(&ring->vq, &first, 0);
    cr_assert(virtq_flush(&ring->vq));
    cr_assert_eq(ring->desc[1].id, 3);
    cr_assert_eq(ring->desc[1].flags, AVAIL | USED, "nothing was written: no WRITE (2.8.3)");
    cr_assert_eq(ring->desc[2].flags, F_WRITE | AVAIL,
                 "two entries, one used: the next is skipped");
    cr_assert_not(virtq_flush(&ring->vq), "nothing new, nothing to interrupt for");
    ring_destroy(ring);
}

Test(virtq_packed, chains_of_one_flush_appear_with_the_first_of_them)
{
    struct ring *ring = ring_create(0);
    struct virtq_chain chains[3];

    for (uint16_t i = 0; i < 3; i++) {
        desc_set(ring, i, DATA, 4, i, F_WRITE);
        cr_assert_eq(pop(ring), 1);
        chains[i] = ring->chain;
    }
    for (uint16_t i = 3; i > 0; i--)
        virtq_push(&ring->vq, &chains[i - 1], i);
    cr_assert_eq(ring->desc[0].flags, F_WRITE | AVAIL, "2.8.9: the first one last");
    cr_assert_eq(ring->desc[1].flags, F_WRITE | AVAIL | USED);
    cr_assert(virtq_flush(&ring->vq));
    for (uint16_t i = 0; i < 3; i++) {
        cr_assert_eq(ring->desc[i].flags, F_WRITE | AVAIL | USED);
        cr_assert_eq(ring->desc[i].id, 2 - i);
        cr_assert_eq(ring->desc[i].len, 3U - i);
    }
    ring_destroy(ring);
}

Test(virtq_packed, entries_change_their_meaning_with_each_lap)
{
    struct ring *ring = ring_create(0);

    for (int lap = 0; lap < 4; lap++) {
        uint16_t available = lap % 2 ? USED : AVAIL, used = lap % 2 ? 0 : AVAIL | USED;

        for (uint16_t i = 0; i < SIZE; i++) {
            cr_assert_eq(pop(ring), 0, "what the lap before left is not available");
            ring->desc[i] = (struct vring_packed_desc){DATA, 4, i, available};
            cr_assert_eq(pop(ring), 1);
            virtq_push(&ring->vq, &ring->chain, 0);
            cr_assert(virtq_flush(&ring->vq));
            cr_assert_eq(ring->desc[i].flags, used);
        }
    }
    ring_destroy(ring);
}

Test(virtq_packed, chain_goes_on_at_the_start_of_the_ring)
{
    struct ring *ring = ring_create(0);
    struct virtq_chain first;

    for (uint16_t i = 0; i < SIZE - 1; i++)
        desc_set(ring, i, DATA, 4, 1, i + 2 < SIZE ? F_NEXT : 0);
    cr_assert_eq(pop(ring), 1);
    first = ring->chain;
    virtq_push(&ring->vq, &first, 0);
    cr_assert(virtq_flush(&ring->vq));
    desc_set(ring, SIZE - 1, DATA, 1, 0, F_NEXT);
    ring->desc[0] = (struct vring_packed_desc){DATA, 2, 0, F_NEXT | USED};
    ring->desc[1] = (struct vring_packed_desc){DATA, 3, 2, F_WRITE | USED};
    cr_assert_eq(pop(ring), 1);
    cr_assert_eq(ring->chain.head, 2);
    cr_assert_eq(ring->chain.readable_len, 3);
    cr_assert_eq(ring->chain.writable_len, 3);
    virtq_push(&ring->vq, &ring->chain, 3);
    cr_assert(virtq_flush(&ring->vq));
    cr_assert_eq(ring->desc[SIZE - 1].flags, F_WRITE | AVAIL | USED);
    ring->desc[2] = (struct vring_packed_desc){DATA, 3, 2, USED};
    cr_assert_eq(pop(ring), 1, "in the next lap");
    ring_destroy(ring);
}

Test(virtq_packed, chain_as_long_as_the_queue_is_taken)
{
    struct ring *ring = ring_create(0);

    for (uint16_t i = 0; i < SIZE; i++)
        desc_set(ring, i, DATA + i, 1, 0, i + 1 < SIZE ? F_NEXT : 0);
    cr_assert_eq(pop(ring), 1);
    cr_assert_eq(ring->chain.readable_count, SIZE);
    ring_destroy(ring);
}

Test(virtq_packed, what_its_flags_ask_for_decides_the_interrupt)
{
    const struct {
        uint64_t features;
        uint16_t flags;
        uint16_t off_wrap;
        bool interrupt;
    } cases[] = {
        {0, 0, 0, true},           {0, 1, 0, false},
        {EVENT, 0, 3, true},       {EVENT, 1, 0, false},
        {0, 2, 3, true},     /* not negotiated: never too few */
        {EVENT, 3, 3, true}, /* reserved: likewise */
        {EVENT, 2, 1, false},      {EVENT, 2, 0x8000, true},
        {EVENT, 2, 0x8001, false}, {EVENT, 2, 0x8004, false},
        {EVENT, 2, 0x0004, false}, {EVENT, 0xfffd, 0, false}, /* reserved bits are nobody's */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ring *ring = ring_create(cases[i].features);

        ring->driver->flags = cases[i].flags;
        ring->driver->off_wrap = cases[i].off_wrap;
        desc_set(ring, 0, DATA, 1, 0, 0);
        cr_assert_eq(pop(ring), 1);
        virtq_push(&ring->vq, &ring->chain, 0);
        cr_assert_eq(virtq_flush(&ring->vq), cases[i].interrupt, "case %zu", i);
        ring_destroy(ring);
    }
}

Test(virtq_packed, without_event_idx_flags_ask_for_kicks)
{
    struct ring *ring = ring_create(0);

    virtq_notify_disable(&ring->vq);
    cr_assert_eq(ring->device->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
    cr_assert_not(virtq_notify_enable(&ring->vq));
    cr_assert_eq(ring->device->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
    desc_set(ring, 0, DATA, 1, 0, 0);
    cr_assert(virtq_notify_enable(&ring->vq), "a chain that came before needs no kick");
    ring_destroy(ring);
}

Test(virtq_packed, with_event_idx_kicks_are_asked_for_at_the_next_entry)
{
    struct ring *ring = ring_create(EVENT);

    for (uint16_t i = 0; i < SIZE; i++) {
        cr_assert_not(virtq_notify_enable(&ring->vq));
        cr_assert_eq(ring->device->flags, VRING_PACKED_EVENT_FLAG_DESC);
        cr_assert_eq(ring->device->off_wrap, i | 0x8000);
        desc_set(ring, i, DATA, 1, i, 0);
        cr_assert_eq(pop(ring), 1);
    }
    cr_assert_not(virtq_notify_enable(&ring->vq));
    cr_assert_eq(ring->device->off_wrap, 0, "in the second lap");
    ring_destroy(ring);
}

static struct vring_packed_desc *table_at(struct ring *ring, uint64_t addr, uint16_t index)
{
    return (struct vring_packed_desc *)gmem_ptr(ring->mem, gpa(addr + 16ULL * index), 16);
}

Test(virtq_packed, indirect_table_is_read_in_order_wherever_it_lies)
{
    struct ring *ring = ring_create(INDIRECT);
    /* 2.8.7: of the flags in a table only WRITE counts. */
    const struct vring_packed_desc table[] = {
        {DATA + 0x100, 16, 77, F_TABLE | AVAIL | USED},
        {DATA + 0x200, 8, 77, F_WRITE},
        {DATA + 0x300, 1, 77, F_WRITE | F_NEXT},
    };

    cr_assert_eq(gmem_write(ring->mem, gpa(DATA + 3), table, sizeof(table)), 0);
    desc_set(ring, 0, DATA + 3, sizeof(table), 2, F_TABLE | F_WRITE);
    cr_assert_eq(pop(ring), 1);
    cr_assert_eq(ring->chain.head, 2);
    cr_assert_eq(ring->chain.readable_len, 16);
    cr_assert_eq(ring->chain.writable_count, 2);
    cr_assert_eq(ring->chain.writable_len, 9);
    virtq_push(&ring->vq, &ring->chain, 9);
    cr_assert(virtq_flush(&ring->vq));
    desc_set(ring, 1, DATA, 1, 2, 0);
    cr_assert_eq(pop(ring), 1, "it took one entry");
    ring_destroy(ring);
}

Test(virtq_packed, indirect_chain_may_be_as_long_as_the_largest_queue)
{
    struct ring *ring = ring_create(INDIRECT);

    for (uint16_t i = 0; i < SIZE_MAX_; i++)
        *table_at(ring, DATA, i) = (struct vring_packed_desc){DATA, 1, 0, 0};
    desc_set(ring, 0, DATA, 16 * SIZE_MAX_, 0, F_TABLE);
    cr_assert_eq(pop(ring), 1, "though the driver made the queue smaller");
    cr_assert_eq(ring->chain.readable_count, SIZE_MAX_);
    ring_destroy(ring);
}

Test(virtq_packed, hostile_1_id_available_twice_while_in_flight_breaks)
{
    struct ring *ring = ring_create(0);

    desc_set(ring, 0, DATA, 4, 0, 0);
    cr_assert_eq(pop(ring), 1);
    virtq_push(&ring->vq, &ring->chain, 0);
    desc_set(ring, 1, DATA, 4, 0, 0);
    cr_assert_eq(pop(ring), 1, "after its completion an id is free again");
    desc_set(ring, 2, DATA, 4, 0, 0);
    assert_breaks(ring, "a buffer id made available twice");
    desc_set(ring, 0, DATA, 4, 0, 0);
    cr_assert_eq(pop(ring), 1, "a reset forgets what was in flight");
    ring_destroy(ring);
}

Test(virtq_packed, hostile_3_entries_that_were_not_given_back_break)
{
    struct ring *ring = ring_create(0);

    /* All entries are held, and the driver starts a second lap all the same. */
    for (uint16_t i = 0; i < SIZE; i++)
        desc_set(ring, i, DATA, 4, i, 0);
    for (uint16_t i = 0; i < SIZE; i++)
        cr_assert_eq(pop(ring), 1);
    ring->desc[0] = (struct vring_packed_desc){DATA, 4, 0, USED};
    assert_breaks(ring, "more descriptors made available than the queue has");

    /* A chain that runs into entries that are held. */
    desc_set(ring, 0, DATA, 4, 1, 0);
    cr_assert_eq(pop(ring), 1);
    for (uint16_t i = 1; i < SIZE; i++)
        desc_set(ring, i, DATA, 4, 2, F_NEXT);
    assert_breaks(ring, "a chain longer than the queue");

    /* What was pushed and not flushed is not given back either. */
    for (uint16_t i = 0; i < SIZE; i++) {
        desc_set(ring, i, DATA, 4, i, 0);
        cr_assert_eq(pop(ring), 1);
        virtq_push(&ring->vq, &ring->chain, 0);
    }
    ring->desc[0] = (struct vring_packed_desc){DATA, 4, 0, USED};
    assert_breaks(ring, "more descriptors made available than the queue has");
    ring_destroy(ring);
}

Test(virtq_packed, hostile_4_malformed_chains_break)
{
    struct ring *ring = ring_create(INDIRECT);

    for (uint16_t i = 0; i < SIZE; i++)
        desc_set(ring, i, DATA, i % 2, 0, F_NEXT);
    assert_breaks(ring, "a chain longer than the queue");
    desc_set(ring, 0, DATA, 4, SIZE, 0);
    assert_breaks(ring, "a buffer id out of range");
    desc_set(ring, 0, DATA, 4, UINT16_MAX, 0);
    assert_breaks(ring, "a buffer id out of range");
    desc_set(ring, 0, DATA, 4, 0, F_NEXT | F_WRITE);
    desc_set(ring, 1, DATA, 4, 0, 0);
    assert_breaks(ring, "a readable buffer after a writable one");
    ring->chain.iov_max = 2;
    for (uint16_t i = 0; i < 3; i++)
        desc_set(ring, i, DATA, 4, 0, i < 2 ? F_NEXT : 0);
    assert_breaks(ring, "a chain of more buffers than the device takes");
    ring_destroy(ring);
}

Test(virtq_packed, hostile_4_malformed_indirect_chains_break)
{
    struct ring *ring = ring_create(INDIRECT);

    desc_set(ring, 0, DATA, 16, 0, F_TABLE | F_NEXT);
    assert_breaks(ring, "an indirect descriptor among others");
    desc_set(ring, 0, DATA, 16, 0, F_NEXT);
    desc_set(ring, 1, DATA, 16, 0, F_TABLE);
    assert_breaks(ring, "an indirect descriptor among others");
    desc_set(ring, 0, DATA, 17, 0, F_TABLE);
    assert_breaks(ring, "an indirect table of odd length");
    desc_set(ring, 0, DATA, 0, 0, F_TABLE);
    assert_breaks(ring, "an indirect table of odd length");
    desc_set(ring, 0, LOW - 16, 32, 0, F_TABLE);
    assert_breaks(ring, "an indirect table outside RAM");
    desc_set(ring, 0, UINT64_MAX - 15, 32, 0, F_TABLE);
    assert_breaks(ring, "an indirect table outside RAM");
    desc_set(ring, 0, 0, 16 * (SIZE_MAX_ + 1), 0, F_TABLE);
    assert_breaks(ring, "a chain longer than the queue");
    desc_set(ring, 0, 0, UINT32_MAX - 15, 0, F_TABLE);
    assert_breaks(ring, "a chain longer than the queue");
    *table_at(ring, DATA, 0) = (struct vring_packed_desc){DATA, 1, 0, F_WRITE};
    *table_at(ring, DATA, 1) = (struct vring_packed_desc){DATA, 1, 0, 0};
    desc_set(ring, 0, DATA, 32, 0, F_TABLE);
    assert_breaks(ring, "a readable buffer after a writable one");
    ring_destroy(ring);
}

Test(virtq_packed, hostile_2_indirect_without_its_feature_breaks)
{
    struct ring *ring = ring_create(0);

    desc_set(ring, 0, DATA, 16, 0, F_TABLE);
    assert_breaks(ring, "an indirect descriptor without VIRTIO_F_INDIRECT_DESC");
    ring_destroy(ring);
}

Test(virtq_packed, hostile_6_7_buffers_that_are_not_all_ram_break)
{
    struct ring *ring = ring_create(0);
    const struct {
        uint64_t addr;
        uint32_t len;
    } bad[] = {
        {LOW - 1, 2},  {LOW, 1},           {UINT64_MAX, 2}, {UINT64_MAX - 0xfff, 0x1000},
        {HIGH - 1, 2}, {HIGH + 0xffff, 2}, {0, UINT32_MAX}, {0xfee00000, 4},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        desc_set(ring, 0, bad[i].addr, bad[i].len, 0, i % 2 ? F_WRITE : 0);
        assert_breaks(ring, "a buffer outside RAM");
    }
    ring_destroy(ring);
}

/* The bits of the entries behind the first say what they like. */
Test(virtq_packed, hostile_4_owners_of_later_entries_are_not_believed)
{
    struct ring *ring = ring_create(0);
    const uint16_t lies[] = {0, USED, AVAIL | USED};

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        desc_set(ring, 0, DATA, 4, 0, F_NEXT);
        ring->desc[1] = (struct vring_packed_desc){DATA, 4, 1, lies[i]};
        cr_assert_eq(pop(ring), 1);
        cr_assert_eq(ring->vq.packed.slots_held, 2);
        virtq_disable(&ring->vq);
        ring_start(ring, SIZE, 0);
    }
    ring_destroy(ring);
}

Test(virtq_packed, completions_of_a_broken_queue_touch_nothing)
{
    struct ring *ring = ring_create(0);
    struct virtq_chain first;

    desc_set(ring, 0, DATA, 4, 0, 0);
    cr_assert_eq(pop(ring), 1);
    first = ring->chain;
    desc_set(ring, 1, DATA, 4, 0, 0);
    cr_assert_eq(pop(ring), -EINVAL);
    virtq_push(&ring->vq, &first, 4);
    cr_assert_not(virtq_flush(&ring->vq));
    cr_assert_eq(ring->desc[0].flags, AVAIL);
    cr_assert_eq(ring->vq.in_flight_count, 0);
    ring_destroy(ring);
}
