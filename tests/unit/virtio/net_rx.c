/* Reception where frames and guest buffers do not match, over a socket in place of a tap. */
#include <criterion/criterion.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <unistd.h>

#include "net_rig.h"
#include "virtio/net_rx_slot.h"

enum { SMALL = HEADER + 100, LARGE = 9000, USUAL_LEN = HEADER + 18 + 1500 };

/* The largest frame takes forty buffers and more, as with segmentation offloads. */
static void rig_large(struct net_rig *rig, uint64_t features, uint16_t size)
{
    struct net_config config = net_default_config;

    config.mtu = UINT16_MAX;
    net_rig_socket(rig, &config);
    fake_driver_start(rig->driver, features | RING_FEATURES, size);
}

static void post(struct net_rig *rig, struct fake_buffer *buffers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        buffers[i] = fake_buffer(rig->machine, USUAL_LEN);
        net_rx_post(rig, buffers[i]);
    }
    fake_queue_kick(rig->rx);
}

/* Takes a frame out of these buffers, the first `count` of what was posted. */
static void expect_frame(struct net_rig *rig, const struct fake_buffer *buffers, uint32_t len,
                         uint32_t seed)
{
    static uint8_t bytes[FRAME_MAX];
    uint16_t count = (uint16_t)((len + USUAL_LEN - 1) / USUAL_LEN);
    uint32_t done = 0;

    for (unsigned i = 0; i < count; i++) {
        uint32_t part = fake_queue_wait(rig->rx);

        cr_assert_eq(part, i + 1U < count ? USUAL_LEN : len - done);
        memcpy(bytes + done, buffers[i].host, part);
        done += part;
    }
    cr_assert_eq(net_num_buffers(buffers[0]), count);
    cr_assert(net_is_frame(bytes, len, seed));
}

static void receive_one(struct net_rig *rig)
{
    struct fake_buffer buffer;

    post(rig, &buffer, 1);
    net_peer_send(rig, SMALL, 7);
    expect_frame(rig, &buffer, SMALL, 7);
}

static bool has_used(const struct net_rig *rig)
{
    return rig->rx->used->idx != rig->rx->used_idx;
}

/* Of the buffer that was taken last. */
static uint16_t last_head(const struct net_rig *rig)
{
    uint16_t index = (uint16_t)(rig->rx->used_idx - 1) % rig->rx->size;

    return (uint16_t)rig->rx->used->ring[index].id;
}

static uint64_t enters(const struct net_rig *rig)
{
    struct executor_stats stats;

    executor_stats_read(rig->machine->executor, &stats);
    return stats.enters;
}

/* Else a ring full of buffers would do for five reads at a time. */
Test(virtio_net_rx, small_frames_share_a_system_call_though_large_ones_may_come)
{
    enum { COUNT = 64 };
    struct fake_buffer buffers[2 * COUNT];
    struct net_rig rig;
    uint64_t before;

    rig_large(&rig, MERGEABLE, 256);
    post(&rig, buffers, 2 * COUNT);
    for (unsigned round = 0; round < 2; round++) {
        before = enters(&rig);
        for (uint32_t i = 0; i < COUNT; i++)
            net_peer_send(&rig, SMALL, i);
        for (uint32_t i = 0; i < COUNT; i++)
            cr_assert_eq(fake_queue_wait(rig.rx), SMALL);
    }
    cr_assert_leq(enters(&rig) - before, COUNT / 8);
    net_rig_end(&rig);
}

/* Reads in flight have buffers, of which a frame before them may need more. */
Test(virtio_net_rx, large_frame_among_small_ones_comes_before_those_behind_it)
{
    enum { COUNT = 20, LARGE_INDEX = 7 };
    struct fake_buffer by_head[256];
    struct net_rig rig;

    rig_large(&rig, MERGEABLE, 256);
    for (unsigned i = 0; i < 100; i++) {
        struct fake_buffer buffer = fake_buffer(rig.machine, USUAL_LEN);

        by_head[fake_queue_add(rig.rx, &buffer, 0, 1)] = buffer;
    }
    fake_queue_kick(rig.rx);
    for (uint32_t i = 0; i < COUNT; i++)
        net_peer_send(&rig, i == LARGE_INDEX ? LARGE : SMALL + i, i);
    for (uint32_t i = 0; i < COUNT; i++) {
        static uint8_t bytes[FRAME_MAX];
        uint32_t done = 0, len = i == LARGE_INDEX ? LARGE : SMALL + i;

        while (done < len) {
            uint32_t part = fake_queue_wait(rig.rx);

            memcpy(bytes + done, by_head[last_head(&rig)].host, part);
            done += part;
        }
        cr_assert_eq(done, len);
        cr_assert(net_is_frame(bytes, len, i), "frame %u", i);
    }
    net_rig_end(&rig);
}

/* Its buffers are with frames that come after it, so it could wait for ever. */
Test(virtio_net_rx, frame_gets_the_buffers_of_those_behind_it_if_there_are_no_others)
{
    enum { SIZE = 16, HUGE = 20000, COUNT = SIZE - 1 };
    static uint8_t bytes[FRAME_MAX];
    struct fake_buffer by_head[SIZE];
    struct net_rig rig;

    rig_large(&rig, MERGEABLE, SIZE);
    for (unsigned i = 0; i < SIZE; i++) {
        struct fake_buffer buffer = fake_buffer(rig.machine, USUAL_LEN);

        by_head[fake_queue_add(rig.rx, &buffer, 0, 1)] = buffer;
    }
    /* Until a batch is larger than what is left then. */
    for (uint32_t round = 0; round < 6; round++) {
        fake_queue_kick(rig.rx);
        for (uint32_t i = 0; i < COUNT; i++)
            net_peer_send(&rig, round == 5 && !i ? HUGE : SMALL + i, i);
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t len = round == 5 && !i ? HUGE : SMALL + i, done = 0;

            while (done < len) {
                uint32_t part = fake_queue_wait(rig.rx);
                struct fake_buffer buffer = by_head[last_head(&rig)];

                memcpy(bytes + done, buffer.host, part);
                by_head[fake_queue_add(rig.rx, &buffer, 0, 1)] = buffer;
                done += part;
            }
            cr_assert_eq(done, len);
            cr_assert(net_is_frame(bytes, len, i), "frame %u of round %u", i, round);
            if (round == 5)
                fake_queue_kick(rig.rx);
        }
    }
    net_rig_end(&rig);
}

Test(virtio_net_rx, frame_that_lacks_buffers_waits_until_the_driver_adds_them)
{
    struct fake_buffer buffers[8];
    struct net_rig rig;

    rig_large(&rig, MERGEABLE, 256);
    receive_one(&rig);
    net_peer_send(&rig, LARGE, 1);
    net_peer_send(&rig, SMALL, 2);
    for (unsigned i = 0; i < 5; i++) {
        post(&rig, &buffers[i], 1);
        fake_machine_run(rig.machine, 20);
        cr_assert_not(has_used(&rig), "with %u buffers", i + 1);
    }
    post(&rig, &buffers[5], 1);
    expect_frame(&rig, buffers, LARGE, 1);
    post(&rig, &buffers[6], 2);
    expect_frame(&rig, &buffers[6], SMALL, 2);
    net_rig_end(&rig);
}

Test(virtio_net_rx, driver_is_asked_to_notify_of_buffers_that_a_frame_waits_for)
{
    struct fake_buffer buffers[6];
    struct net_rig rig;

    rig_large(&rig, MERGEABLE, 256);
    receive_one(&rig);
    net_peer_send(&rig, LARGE, 1);
    post(&rig, buffers, 1);
    for (unsigned i = 1; i < 6; i++) {
        fake_machine_run(rig.machine, 200);
        buffers[i] = fake_buffer(rig.machine, USUAL_LEN);
        net_rx_post(&rig, buffers[i]);
        cr_assert(fake_queue_kick(rig.rx), "not asked for buffer %u", i);
    }
    expect_frame(&rig, buffers, LARGE, 1);
    net_rig_end(&rig);
}

/* Two buffers are given, and each frame behind the first gets one of them. */
static void first_is_dropped(uint64_t features, uint16_t queue_size, uint32_t first_len,
                             uint32_t other_len)
{
    struct fake_buffer buffers[2];
    struct net_rig rig;

    rig_large(&rig, features, queue_size);
    post(&rig, buffers, 2);
    net_peer_send(&rig, first_len, 1);
    net_peer_send(&rig, other_len, 2);
    expect_frame(&rig, &buffers[0], other_len, 2);
    net_peer_send(&rig, other_len, 3);
    expect_frame(&rig, &buffers[1], other_len, 3);
    net_rig_end(&rig);
}

Test(virtio_net_rx, frame_larger_than_all_that_the_driver_can_give_is_dropped)
{
    first_is_dropped(MERGEABLE, 2, LARGE, SMALL);
}

/* It would be waited for what cannot come. */
static void all_given(unsigned parts, bool indirect)
{
    enum { SIZE = 16, HUGE = 40000 };
    struct fake_buffer buffers[SIZE];
    struct net_rig rig;

    rig_large(&rig, MERGEABLE, SIZE);
    rig.rx->indirect = indirect;
    for (unsigned i = 0; i < SIZE / (indirect ? 1 : parts); i++) {
        struct fake_buffer pair[2];

        buffers[i] = fake_buffer(rig.machine, USUAL_LEN);
        pair[0] = net_part(buffers[i], 0, USUAL_LEN / parts);
        pair[1] = net_part(buffers[i], USUAL_LEN / parts, USUAL_LEN - USUAL_LEN / parts);
        fake_queue_add(rig.rx, pair, 0, (uint16_t)parts);
    }
    fake_queue_kick(rig.rx);
    net_peer_send(&rig, HUGE, 1);
    net_peer_send(&rig, SMALL, 2);
    fake_machine_run(rig.machine, 50);
    cr_assert(rig.rx->used->idx, "a frame waits for more than the ring has");
    expect_frame(&rig, buffers, SMALL, 2);
    net_rig_end(&rig);
}

Test(virtio_net_rx, driver_has_given_all_that_its_ring_holds_however_many_parts_a_buffer_has)
{
    all_given(1, false);
    all_given(2, false);
    all_given(2, true);
}

Test(virtio_net_rx, driver_that_adds_no_buffers_for_long_loses_the_frame_that_needs_them)
{
    first_is_dropped(MERGEABLE, 256, LARGE, SMALL);
}

Test(virtio_net_rx, one_buffer_does_for_a_small_frame_after_large_ones)
{
    struct fake_buffer buffers[7];
    struct net_rig rig;

    rig_large(&rig, MERGEABLE, 256);
    post(&rig, buffers, 6);
    net_peer_send(&rig, LARGE, 1);
    expect_frame(&rig, buffers, LARGE, 1);
    post(&rig, buffers, 1);
    net_peer_send(&rig, SMALL, 2);
    expect_frame(&rig, buffers, SMALL, 2);
    net_rig_end(&rig);
}

/* 5.1.6.3.1: without mergeable buffers each has room for every frame, or its driver is wrong. */
Test(virtio_net_rx, frame_larger_than_its_only_buffer_is_not_cut_off)
{
    first_is_dropped(0, 256, USUAL_LEN + 1, USUAL_LEN);
}

/* The interface may have got a larger MTU than the guest was told. */
Test(virtio_net_rx, frame_larger_than_expected_comes_whole_or_not_at_all)
{
    enum { LARGER = USUAL_LEN + 500 };
    const uint64_t features[] = {0, MERGEABLE};

    for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        struct fake_buffer buffers[3];
        struct net_rig rig;

        net_rig_start(&rig, features[i]);
        for (unsigned k = 0; k < 3; k++) {
            buffers[k] = fake_buffer(rig.machine, LARGER);
            net_rx_post(&rig, buffers[k]);
        }
        fake_queue_kick(rig.rx);
        net_peer_send(&rig, LARGER + 1, 1);
        net_peer_send(&rig, LARGER, 2);
        cr_assert_eq(fake_queue_wait(rig.rx), LARGER);
        cr_assert(net_is_frame(buffers[0].host, LARGER, 2), "cut off");
        net_peer_send(&rig, SMALL, 3);
        cr_assert_eq(fake_queue_wait(rig.rx), SMALL);
        cr_assert(net_is_frame(buffers[1].host, SMALL, 3));
        net_rig_end(&rig);
    }
}

Test(virtio_net_rx, hostile_12_reset_while_a_frame_waits_for_buffers)
{
    struct fake_buffer buffers[2];
    struct net_rig rig;

    rig_large(&rig, MERGEABLE, 256);
    for (unsigned round = 0; round < 3; round++) {
        receive_one(&rig);
        post(&rig, buffers, 2);
        net_peer_send(&rig, LARGE, 1);
        fake_machine_run(rig.machine, 50);
        fake_driver_reset(rig.driver);
        for (unsigned i = 0; i < 2; i++)
            memset(buffers[i].host, 0x5a, USUAL_LEN);
        fake_machine_run(rig.machine, 50);
        for (unsigned i = 0; i < 2; i++)
            for (unsigned k = 0; k < USUAL_LEN; k++)
                cr_assert_eq(buffers[i].host[k], 0x5a, "guest memory changed after the reset");
        fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 256);
    }
    receive_one(&rig);
    net_rig_end(&rig);
}

/* Whatever the sizes of buffers and frames, what went in comes out, in order. */
Test(virtio_net_rx, frames_of_all_sizes_come_whole_into_buffers_of_all_sizes)
{
    enum { FRAME_COUNT = 300, BUFFER_COUNT = 120 };
    static uint8_t bytes[FRAME_MAX];
    struct fake_buffer by_head[256];
    uint32_t random = 1;
    struct net_rig rig;

    rig_large(&rig, MERGEABLE, 256);
    for (unsigned i = 0; i < BUFFER_COUNT; i++) {
        struct fake_buffer buffer = fake_buffer(rig.machine, HEADER + 37 * i);

        by_head[fake_queue_add(rig.rx, &buffer, 0, 1)] = buffer;
    }
    fake_queue_kick(rig.rx);
    for (uint32_t frame = 0; frame < FRAME_COUNT; frame++) {
        uint32_t len, done = 0;
        unsigned count = 1;

        random = random * 1103515245 + 12345;
        len = HEADER + 14 + (random >> 16) % (frame % 3 ? 200 : 20000);
        net_peer_send(&rig, len, frame);
        for (unsigned i = 0; i < count; i++) {
            uint32_t part = fake_queue_wait(rig.rx);
            struct fake_buffer buffer = by_head[last_head(&rig)];

            if (!i)
                count = net_num_buffers(buffer);
            memcpy(bytes + done, buffer.host, part);
            done += part;
            by_head[fake_queue_add(rig.rx, &buffer, 0, 1)] = buffer;
        }
        fake_queue_kick(rig.rx);
        cr_assert_eq(done, len, "frame %u", frame);
        cr_assert(net_is_frame(bytes, len, frame), "frame %u", frame);
    }
    net_rig_end(&rig);
}

Test(virtio_net_rx, what_spilled_over_goes_to_the_buffers_that_were_added)
{
    static struct net_rx_slot slot;
    uint8_t memory[64], expected[64];
    const uint32_t lens[] = {10, 1, 7, 46};
    uint32_t offset = 0;

    memset(memory, 0, sizeof(memory));
    for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct virtq_chain *chain = net_rx_slot_next(&slot);

        chain->iov[0] = (struct iovec){memory + offset, lens[i]};
        chain->writable_count = 1;
        chain->writable_len = lens[i];
        net_rx_slot_add(&slot, chain);
        offset += lens[i];
        if (i == 1)
            slot.direct = (uint32_t)slot.capacity;
    }
    for (uint8_t i = 0; i < 40; i++)
        slot.spill[i] = i + 1;
    net_rx_slot_unspill(&slot, 11 + 40);
    memset(expected, 0, sizeof(expected));
    memcpy(expected + 11, slot.spill, 40);
    cr_assert_arr_eq(memory, expected, sizeof(memory));
}
