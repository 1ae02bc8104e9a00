/* Frames both ways, resets and commands, over a socket in place of a tap. */
#include "virtio/net.h"

#include <criterion/criterion.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <unistd.h>

#include "net_rig.h"

/* ---- what the driver is told ---- */

Test(virtio_net, configuration_describes_the_interface)
{
    struct net_config config = net_default_config;
    struct net_rig rig;
    uint64_t mac;

    config.mtu = 4000;
    net_rig_socket(&rig, &config);
    fake_driver_start(rig.driver, UINT64_MAX, 0);
    mac = fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 0, 4);
    cr_assert_eq(mac, 0x01000002);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 4, 2), 0x0302);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 6, 2),
                 VIRTIO_NET_S_LINK_UP);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 8, 2), 1);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 10, 2), 4000);
    cr_assert_eq(rig.driver->queue_count, 3);
    net_rig_end(&rig);
}

Test(virtio_net, only_what_works_is_offered)
{
    struct net_config config = net_default_config;
    uint64_t features;
    struct net_rig rig;

    config.has_mac = false;
    net_rig_socket(&rig, &config);
    fake_driver_start(rig.driver, UINT64_MAX, 0);
    features = rig.driver->features;
    cr_assert(features & BIT(VIRTIO_NET_F_MRG_RXBUF));
    cr_assert(features & BIT(VIRTIO_NET_F_CTRL_VQ));
    cr_assert_not(features & BIT(VIRTIO_NET_F_MAC));
    cr_assert_not(features & BIT(VIRTIO_NET_F_MTU));
    cr_assert_not(features & BIT(VIRTIO_NET_F_MQ));
    cr_assert_not(features & BIT(VIRTIO_NET_F_CSUM), "a socket finishes no checksums");
    cr_assert_not(features & BIT(VIRTIO_NET_F_HOST_TSO4));
    cr_assert_not(features & BIT(VIRTIO_NET_F_GUEST_TSO4));
    net_rig_end(&rig);
}

/* ---- transmit ---- */

Test(virtio_net, frame_goes_out_whole_however_it_is_split)
{
    struct fake_buffer frame, buffers[4];
    struct net_rig rig;

    net_rig_start(&rig, MERGEABLE);
    frame = net_tx_frame(&rig, HEADER + 1514, 1);
    buffers[0] = net_part(frame, 0, 5);
    buffers[1] = net_part(frame, 5, 20);
    buffers[2] = net_part(frame, 25, 1);
    buffers[3] = net_part(frame, 26, 1500);
    fake_queue_add(rig.tx, buffers, 4, 0);
    fake_queue_kick(rig.tx);
    cr_assert_eq(fake_queue_wait(rig.tx), 0);
    cr_assert_eq(net_peer_receive(&rig), HEADER + 1514);
    cr_assert(net_is_frame(rig.frame, HEADER + 1514, 1));
    net_rig_end(&rig);
}

Test(virtio_net, frames_go_out_in_order_with_few_interrupts)
{
    struct fake_buffer frame;
    struct net_rig rig;

    net_rig_start(&rig, MERGEABLE);
    for (uint32_t i = 0; i < 150; i++) {
        frame = net_tx_frame(&rig, HEADER + 60 + i, i);
        fake_queue_add(rig.tx, &frame, 1, 0);
    }
    fake_queue_kick(rig.tx);
    for (uint32_t i = 0; i < 150; i++) {
        fake_queue_wait(rig.tx);
        cr_assert_eq(net_peer_receive(&rig), HEADER + 60 + i);
        cr_assert(net_is_frame(rig.frame, HEADER + 60 + i, i));
    }
    cr_assert_leq(fake_driver_messages(rig.driver, TX + 1), 3, "one a batch");
    net_rig_end(&rig);
}

Test(virtio_net, hostile_10_frames_of_impossible_size_are_dropped)
{
    struct fake_buffer frame, huge;
    struct net_rig rig;

    net_rig_start(&rig, MERGEABLE);
    huge = (struct fake_buffer){.addr = gpa(1 << 20), .len = 32 << 20};
    fake_queue_add(rig.tx, &huge, 1, 0);
    huge.len = HEADER + 14 + 65536;
    fake_queue_add(rig.tx, &huge, 1, 0);
    frame = net_tx_frame(&rig, HEADER + 13, 0);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_add(rig.tx, &frame, 0, 1);
    frame = net_tx_frame(&rig, HEADER + 60, 2);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_kick(rig.tx);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(fake_queue_wait(rig.tx), 0);
    cr_assert_eq(net_peer_receive(&rig), HEADER + 60);
    cr_assert(net_is_frame(rig.frame, HEADER + 60, 2));
    cr_assert_eq(net_peer_receive(&rig), -1);
    net_rig_end(&rig);
}

Test(virtio_net, frames_that_the_host_refuses_are_dropped)
{
    struct fake_buffer frame;
    struct net_rig rig;

    net_rig_start(&rig, MERGEABLE);
    frame = net_tx_frame(&rig, HEADER + 60, 5);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_kick(rig.tx);
    fake_queue_wait(rig.tx);
    cr_assert_eq(net_peer_receive(&rig), HEADER + 60);
    /* The other end goes: every write fails. */
    close(rig.peer);
    for (int i = 0; i < 20; i++) {
        fake_queue_add(rig.tx, &frame, 1, 0);
        fake_queue_kick(rig.tx);
        cr_assert_eq(fake_queue_wait(rig.tx), 0);
    }
    cr_assert_not(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    rig.peer = -1;
    net_rig_end(&rig);
}

/* Fills the socket, so that later frames wait in flight. Returns how many were given back. */
static uint32_t tx_block(struct net_rig *rig)
{
    struct fake_buffer frame = net_tx_frame(rig, HEADER + 40000, 9);
    uint32_t used = 0;
    uint16_t head;
    uint32_t len;

    for (int i = 0; i < 32; i++)
        fake_queue_add(rig->tx, &frame, 1, 0);
    fake_queue_kick(rig->tx);
    fake_machine_run(rig->machine, 50);
    while (fake_queue_take(rig->tx, &head, &len))
        used++;
    cr_assert_lt(used, 32, "the socket takes all of them at once");
    return used;
}

Test(virtio_net, frames_wait_while_the_tap_takes_no_more)
{
    struct net_rig rig;
    uint32_t used;

    net_rig_start(&rig, MERGEABLE);
    used = tx_block(&rig);
    for (uint32_t received = 0; received < 32;) {
        ssize_t len = net_peer_receive(&rig);

        if (len < 0) {
            fake_machine_run(rig.machine, 20);
            continue;
        }
        cr_assert_eq(len, HEADER + 40000);
        cr_assert(net_is_frame(rig.frame, HEADER + 40000, 9));
        received++;
    }
    for (; used < 32; used++)
        fake_queue_wait(rig.tx);
    net_rig_end(&rig);
}

/* ---- receive ---- */

Test(virtio_net, frame_comes_into_one_buffer)
{
    struct fake_buffer buffer;
    struct net_rig rig;

    net_rig_start(&rig, 0);
    buffer = fake_buffer(rig.machine, BUFFER_LEN);
    memset(buffer.host, 0xff, BUFFER_LEN);
    net_rx_post(&rig, buffer);
    fake_queue_kick(rig.rx);
    net_peer_send(&rig, HEADER + 1514, 3);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 1514);
    cr_assert(net_is_frame(buffer.host, HEADER + 1514, 3));
    cr_assert_eq(net_num_buffers(buffer), 1);
    net_rig_end(&rig);
}

Test(virtio_net, frame_spans_mergeable_buffers)
{
    const uint32_t lens[] = {BUFFER_LEN, 1, BUFFER_LEN, BUFFER_LEN, BUFFER_LEN, BUFFER_LEN};
    struct net_config config = net_default_config;
    struct fake_buffer buffers[6], all;
    struct net_rig rig;
    uint32_t len, offset = 0;

    config.mtu = 6000;
    net_rig_socket(&rig, &config);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 8);
    all = fake_buffer(rig.machine, 5 * BUFFER_LEN + 1);
    for (int i = 0; i < 6; i++) {
        buffers[i] = net_part(all, offset, lens[i]);
        offset += lens[i];
        /* Too small for a header of its own, so it joins the one before. */
        if (i == 1)
            continue;
        net_rx_post(&rig, buffers[i]);
    }
    fake_queue_kick(rig.rx);
    net_peer_send(&rig, 5000, 4);
    len = 5000;
    for (int i = 0; i < 4; i++) {
        uint32_t expected = len < BUFFER_LEN ? len : BUFFER_LEN;

        cr_assert_eq(fake_queue_wait(rig.rx), expected);
        len -= expected;
    }
    cr_assert_eq(len, 0);
    cr_assert_eq(net_num_buffers(buffers[0]), 4);
    memmove(buffers[1].host, buffers[2].host, 3UL * BUFFER_LEN);
    cr_assert(net_is_frame(all.host, 5000, 4));
    net_rig_end(&rig);
}

Test(virtio_net, header_may_lie_across_buffers_of_a_chain)
{
    struct fake_buffer all, buffers[4];
    struct net_rig rig;

    for (uint32_t cut = 1; cut < HEADER; cut++) {
        net_rig_start(&rig, cut % 2 ? MERGEABLE : 0);
        all = fake_buffer(rig.machine, BUFFER_LEN);
        memset(all.host, 0xff, BUFFER_LEN);
        buffers[0] = net_part(all, 0, cut);
        buffers[1] = net_part(all, cut, 1);
        buffers[2] = net_part(all, cut + 1, 100);
        buffers[3] = net_part(all, cut + 101, BUFFER_LEN - 101 - cut);
        fake_queue_add(rig.rx, buffers, 0, 4);
        fake_queue_kick(rig.rx);
        net_peer_send(&rig, HEADER + 1000, cut);
        cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 1000);
        cr_assert(net_is_frame(all.host, HEADER + 1000, cut));
        cr_assert_eq(net_num_buffers(all), 1);
        net_rig_end(&rig);
    }
}

/* More frames than a batch or a ring holds, with buffers added as they are used. */
static void receive_many(struct net_rig *rig, uint32_t count, uint32_t buffer_len)
{
    enum { BUFFER_COUNT = 200, AT_ONCE = 40 };
    struct fake_buffer buffers[BUFFER_COUNT], by_head[256];
    uint32_t received = 0, sent = 0;

    for (int i = 0; i < BUFFER_COUNT; i++) {
        buffers[i] = fake_buffer(rig->machine, buffer_len);
        by_head[fake_queue_add(rig->rx, &buffers[i], 0, 1)] = buffers[i];
    }
    fake_queue_kick(rig->rx);
    while (received < count) {
        for (; sent < count && sent < received + AT_ONCE; sent++)
            net_peer_send(rig, HEADER + 60 + sent % 1400, sent);
        for (; received < sent; received++) {
            uint32_t len = fake_queue_wait(rig->rx);
            struct fake_buffer buffer;
            uint16_t head;

            head = rig->rx->used->ring[(uint16_t)(rig->rx->used_idx - 1) % rig->rx->size].id;
            buffer = by_head[head];
            cr_assert_eq(len, HEADER + 60 + received % 1400);
            cr_assert(net_is_frame(buffer.host, len, received), "frame %u", received);
            cr_assert_eq(net_num_buffers(buffer), 1);
            by_head[fake_queue_add(rig->rx, &buffer, 0, 1)] = buffer;
            fake_queue_kick(rig->rx);
        }
    }
}

Test(virtio_net, frames_come_in_order)
{
    struct net_rig rig;

    net_rig_start(&rig, 0);
    receive_many(&rig, 1000, BUFFER_LEN);
    net_rig_end(&rig);
}

Test(virtio_net, frames_come_in_order_into_mergeable_buffers)
{
    struct net_config config = net_default_config;
    struct net_rig rig;

    config.mtu = 9000;
    net_rig_socket(&rig, &config);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 0);
    receive_many(&rig, 1000, BUFFER_LEN);
    net_rig_end(&rig);
}

Test(virtio_net, frames_wait_for_buffers)
{
    struct fake_buffer buffers[3];
    struct net_rig rig;

    net_rig_start(&rig, MERGEABLE);
    for (uint32_t i = 0; i < 3; i++)
        net_peer_send(&rig, HEADER + 100, i);
    fake_machine_run(rig.machine, 20);
    for (uint32_t i = 0; i < 3; i++) {
        buffers[i] = fake_buffer(rig.machine, BUFFER_LEN + HEADER);
        net_rx_post(&rig, buffers[i]);
        fake_queue_kick(rig.rx);
        cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
        cr_assert(net_is_frame(buffers[i].host, HEADER + 100, i));
    }
    net_rig_end(&rig);
}

Test(virtio_net, useless_receive_buffers_are_given_back)
{
    struct fake_buffer buffer, small;
    struct net_rig rig;

    net_rig_start(&rig, MERGEABLE);
    small = fake_buffer(rig.machine, HEADER - 1);
    buffer = fake_buffer(rig.machine, BUFFER_LEN + HEADER);
    net_rx_post(&rig, small);
    fake_queue_add(rig.rx, &buffer, 1, 0);
    net_rx_post(&rig, buffer);
    fake_queue_kick(rig.rx);
    cr_assert_eq(fake_queue_wait(rig.rx), 0);
    cr_assert_eq(fake_queue_wait(rig.rx), 0);
    net_peer_send(&rig, HEADER + 100, 1);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
    net_rig_end(&rig);
}

/* Buffers may overlap, so that a small guest posts a chain of 4 GiB. */
Test(virtio_net, hostile_10_receive_buffers_of_gigabytes_are_not_taken_for_small_ones)
{
    enum { FIRST_LEN = 100, FRAME_LEN = 400, PIECE_LEN = 48 << 20, PIECE_COUNT_MAX = 96 };
    struct fake_buffer first, pieces[PIECE_COUNT_MAX];
    uint32_t left = UINT32_MAX;
    struct net_rig rig;
    uint16_t count = 0;

    net_rig_start(&rig, MERGEABLE);
    first = fake_buffer(rig.machine, FIRST_LEN);
    net_rx_post(&rig, first);
    for (; left; left -= pieces[count++].len)
        pieces[count] =
            (struct fake_buffer){.addr = gpa(8 << 20), .len = left < PIECE_LEN ? left : PIECE_LEN};
    rig.rx->indirect = true;
    fake_queue_add(rig.rx, pieces, 0, count);
    fake_queue_kick(rig.rx);
    net_peer_send(&rig, FRAME_LEN, 1);
    cr_assert_eq(fake_queue_wait(rig.rx), FIRST_LEN);
    cr_assert_eq(fake_queue_wait(rig.rx), FRAME_LEN - FIRST_LEN);
    cr_assert_eq(net_num_buffers(first), 2);
    net_rig_end(&rig);
}

Test(virtio_net, tap_that_goes_away_ends_reception_only)
{
    struct fake_buffer buffer, frame;
    struct net_rig rig;

    net_rig_start(&rig, 0);
    buffer = fake_buffer(rig.machine, BUFFER_LEN);
    net_rx_post(&rig, buffer);
    fake_queue_kick(rig.rx);
    fake_machine_run(rig.machine, 5);
    close(rig.peer);
    rig.peer = -1;
    fake_machine_run(rig.machine, 20);
    frame = net_tx_frame(&rig, HEADER + 60, 5);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_kick(rig.tx);
    cr_assert_eq(fake_queue_wait(rig.tx), 0);
    net_rig_end(&rig);
}

static uint64_t enters(const struct net_rig *rig)
{
    struct executor_stats stats;

    executor_stats_read(rig->machine->executor, &stats);
    return stats.enters;
}

static uint64_t enters_of_transmits(struct net_rig *rig, uint32_t count)
{
    uint64_t before = enters(rig);

    for (uint32_t i = 0; i < count; i++) {
        struct fake_buffer frame = net_tx_frame(rig, HEADER + 60, i);

        fake_queue_add(rig->tx, &frame, 1, 0);
    }
    fake_queue_kick(rig->tx);
    for (uint32_t i = 0; i < count; i++)
        fake_queue_wait(rig->tx);
    while (net_peer_receive(rig) > 0)
        ;
    return enters(rig) - before;
}

static uint64_t enters_of_receives(struct net_rig *rig, uint32_t count)
{
    uint64_t before = enters(rig);

    for (uint32_t i = 0; i < count; i++) {
        net_rx_post(rig, fake_buffer(rig->machine, BUFFER_LEN + HEADER));
        net_peer_send(rig, HEADER + 60, i);
    }
    fake_queue_kick(rig->rx);
    for (uint32_t i = 0; i < count; i++)
        fake_queue_wait(rig->rx);
    return enters(rig) - before;
}

/* One for a batch, and a few to be woken and to sleep. */
Test(virtio_net, batches_of_frames_cost_a_system_call_each)
{
    uint64_t one, many;
    struct net_rig rig;

    net_rig_start(&rig, MERGEABLE);
    (void)enters_of_transmits(&rig, 1);
    one = enters_of_transmits(&rig, 1);
    many = enters_of_transmits(&rig, 128);
    cr_assert_leq(many, one + 4, "%llu for 128 frames, %llu for one", (unsigned long long)many,
                  (unsigned long long)one);
    /* The size of a batch of reads follows the traffic. */
    (void)enters_of_receives(&rig, 64);
    many = enters_of_receives(&rig, 64);
    cr_assert_leq(many, 64 / 4, "%llu for 64 frames", (unsigned long long)many);
    net_rig_end(&rig);
}

/* ---- reset ---- */

Test(virtio_net, hostile_12_reset_with_frames_in_flight_both_ways)
{
    struct fake_buffer buffers[4];
    struct net_rig rig;

    net_rig_start(&rig, MERGEABLE);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            buffers[i] = fake_buffer(rig.machine, BUFFER_LEN + HEADER);
            net_rx_post(&rig, buffers[i]);
        }
        fake_queue_kick(rig.rx);
        tx_block(&rig);
        fake_driver_reset(rig.driver);
        for (int i = 0; i < 4; i++)
            memset(buffers[i].host, 0x5a, buffers[i].len);
        for (uint32_t i = 0; i < 4; i++)
            net_peer_send(&rig, HEADER + 100, i);
        fake_machine_run(rig.machine, 50);
        for (int i = 0; i < 4; i++)
            for (uint32_t k = 0; k < buffers[i].len; k++)
                cr_assert_eq(buffers[i].host[k], 0x5a, "guest memory changed after the reset");
        /* What came meanwhile waits in the tap for the next driver. */
        fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 0);
        for (uint32_t i = 0; i < 4; i++) {
            net_rx_post(&rig, buffers[i]);
            fake_queue_kick(rig.rx);
            cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
            cr_assert(net_is_frame(buffers[i].host, HEADER + 100, i));
        }
        while (net_peer_receive(&rig) > 0)
            fake_machine_run(rig.machine, 5);
    }
    net_rig_end(&rig);
}

/* Any frame needs several of these buffers, so that all are taken while the first is in flight. */
Test(virtio_net, hostile_01_same_head_twice_needs_a_reset_and_works_after_it)
{
    struct fake_buffer buffer;
    struct net_rig rig;
    uint16_t head;

    net_rig_start(&rig, MERGEABLE);
    buffer = fake_buffer(rig.machine, BUFFER_LEN / 2);
    head = fake_queue_add(rig.rx, &buffer, 0, 1);
    fake_queue_kick(rig.rx);
    fake_queue_add_head(rig.rx, head);
    fake_queue_publish(rig.rx);
    fake_queue_notify(rig.rx);
    net_peer_send(&rig, HEADER + 100, 1);
    net_peer_send(&rig, HEADER + 100, 2);
    fake_machine_run(rig.machine, 50);
    cr_assert(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, RING_FEATURES, 0);
    net_rx_post(&rig, buffer);
    fake_queue_kick(rig.rx);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
    net_rig_end(&rig);
}

/* ---- control queue ---- */

Test(virtio_net, commands_without_effect_are_accepted)
{
    const uint8_t table[] = {0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6};
    struct net_rig rig;
    uint8_t on = 1;

    net_rig_start(&rig, CONTROL | BIT(VIRTIO_NET_F_CTRL_RX));
    cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1),
                 VIRTIO_NET_OK);
    cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1),
                 VIRTIO_NET_OK);
    cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
                                 sizeof(table)),
                 VIRTIO_NET_OK);
    net_rig_end(&rig);
}

Test(virtio_net, address_that_the_driver_sets_lasts_until_a_reset)
{
    const uint8_t mac[] = {2, 9, 8, 7, 6, 5};
    struct net_rig rig;

    net_rig_start(&rig, CONTROL);
    cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6),
                 VIRTIO_NET_OK);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 0, 4), 0x07080902);
    fake_driver_reset(rig.driver);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 0, 4), 0x01000002);
    net_rig_end(&rig);
}

Test(virtio_net, malformed_commands_are_refused)
{
    const uint8_t zeroes[16] = {0};
    struct fake_buffer buffer;
    struct net_rig rig;

    net_rig_start(&rig, CONTROL);
    for (int class = 0; class < 256; class += 5)
        cr_assert_eq(net_control_run(&rig, (uint8_t) class, 77, zeroes, 16), VIRTIO_NET_ERR);
    cr_assert_eq(
        net_control_run(&rig, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, zeroes, 5),
        VIRTIO_NET_ERR);
    cr_assert_eq(
        net_control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, zeroes, 2),
        VIRTIO_NET_ERR, "not negotiated");
    cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                                 VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, zeroes, 8),
                 VIRTIO_NET_ERR, "not negotiated");
    /* No room for an answer; half a header. */
    buffer = fake_buffer(rig.machine, 2);
    fake_queue_add(rig.control, &buffer, 1, 0);
    buffer = fake_buffer(rig.machine, 1);
    fake_queue_add(rig.control, &buffer, 1, 0);
    fake_queue_kick(rig.control);
    cr_assert_eq(fake_queue_wait(rig.control), 0);
    cr_assert_eq(fake_queue_wait(rig.control), 0);
    net_rig_end(&rig);
}
