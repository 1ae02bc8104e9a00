#include "virtio/net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_driver.h"

#define BIT(feature)  (1ULL << (feature))
#define RING_FEATURES (BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define MERGEABLE     BIT(VIRTIO_NET_F_MRG_RXBUF)
#define CONTROL       (BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))

enum { HEADER = TAP_HEADER_SIZE, BUFFER_LEN = 1526, FRAME_MAX = 65562 + HEADER };
enum { RX, TX };

/*
 * A machine with a network device. Its tap is one end of a socket pair, which keeps frames apart
 * as a tap does; the test has the other end.
 */
struct rig {
    struct fake_machine *machine;
    struct fake_driver *driver;
    struct fake_queue *rx, *tx, *control;
    int peer;
    uint8_t frame[FRAME_MAX];
};

static const struct net_config default_config = {
    .name = "net0", .mac = {2, 0, 0, 1, 2, 3}, .has_mac = true};

static void rig_attach(struct rig *rig, const struct net_config *config, const struct tap *tap)
{
    struct virtio_device *device;
    struct err err;

    rig->machine = fake_machine_create();
    cr_assert_eq(virtio_net_create(&device, &rig->machine->context, config, tap, &err), 0, "%s",
                 err.text);
    rig->driver = fake_driver_attach(rig->machine, device);
    rig->rx = &rig->driver->queues[RX];
    rig->tx = &rig->driver->queues[TX];
    rig->control = &rig->driver->queues[2];
}

static void rig_socket(struct rig *rig, const struct net_config *config)
{
    struct tap tap = {.name = "socket", .queue_count = 1, .attached_count = 1, .mtu = 1500};
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    tap.fds[0] = fds[0];
    rig->peer = fds[1];
    rig_attach(rig, config, &tap);
}

static void rig_start(struct rig *rig, uint64_t features)
{
    rig_socket(rig, &default_config);
    fake_driver_start(rig->driver, features | RING_FEATURES, 0);
}

static void rig_end(struct rig *rig)
{
    fake_driver_detach(rig->driver);
    fake_machine_destroy(rig->machine);
    close(rig->peer);
}

/* Bytes that tell which frame they are of. */
static void fill_frame(uint8_t *frame, size_t len, uint32_t seed)
{
    memset(frame, 0, HEADER);
    for (size_t i = HEADER; i < len; i++)
        frame[i] = (uint8_t)((i + 7UL * seed) * 2654435761U >> 11);
}

static bool is_frame(const uint8_t *bytes, size_t len, uint32_t seed)
{
    static uint8_t expected[FRAME_MAX];

    fill_frame(expected, len, seed);
    return !memcmp(bytes + HEADER, expected + HEADER, len - HEADER);
}

/* From the network to the tap. `len` includes the header. */
static void peer_send(struct rig *rig, size_t len, uint32_t seed)
{
    fill_frame(rig->frame, len, seed);
    cr_assert_eq(send(rig->peer, rig->frame, len, 0), (ssize_t)len);
}

/* What the tap gave to the network; -1: nothing. */
static ssize_t peer_receive(struct rig *rig)
{
    return recv(rig->peer, rig->frame, sizeof(rig->frame), 0);
}

static struct fake_buffer part(struct fake_buffer buffer, uint32_t offset, uint32_t len)
{
    return (struct fake_buffer){gpa(buffer.addr.addr + offset), len, buffer.host + offset};
}

static struct fake_buffer tx_frame(struct rig *rig, uint32_t len, uint32_t seed)
{
    struct fake_buffer buffer = fake_buffer(rig->machine, len);

    fill_frame(buffer.host, len, seed);
    return buffer;
}

static void rx_post(struct rig *rig, struct fake_buffer buffer)
{
    fake_queue_add(rig->rx, &buffer, 0, 1);
}

static uint16_t num_buffers(struct fake_buffer buffer)
{
    return (uint16_t)(buffer.host[10] | buffer.host[11] << 8);
}

/* ---- what the driver is told ---- */

Test(virtio_net, configuration_describes_the_interface)
{
    struct net_config config = default_config;
    struct rig rig;
    uint64_t mac;

    config.mtu = 4000;
    rig_socket(&rig, &config);
    fake_driver_start(rig.driver, UINT64_MAX, 0);
    mac = fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 0, 4);
    cr_assert_eq(mac, 0x01000002);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 4, 2), 0x0302);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 6, 2),
                 VIRTIO_NET_S_LINK_UP);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 8, 2), 1);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 10, 2), 4000);
    cr_assert_eq(rig.driver->queue_count, 3);
    rig_end(&rig);
}

Test(virtio_net, only_what_works_is_offered)
{
    struct net_config config = default_config;
    uint64_t features;
    struct rig rig;

    config.has_mac = false;
    rig_socket(&rig, &config);
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
    rig_end(&rig);
}

/* ---- transmit ---- */

Test(virtio_net, frame_goes_out_whole_however_it_is_split)
{
    struct fake_buffer frame, buffers[4];
    struct rig rig;

    rig_start(&rig, MERGEABLE);
    frame = tx_frame(&rig, HEADER + 1514, 1);
    buffers[0] = part(frame, 0, 5);
    buffers[1] = part(frame, 5, 20);
    buffers[2] = part(frame, 25, 1);
    buffers[3] = part(frame, 26, 1500);
    fake_queue_add(rig.tx, buffers, 4, 0);
    fake_queue_kick(rig.tx);
    cr_assert_eq(fake_queue_wait(rig.tx), 0);
    cr_assert_eq(peer_receive(&rig), HEADER + 1514);
    cr_assert(is_frame(rig.frame, HEADER + 1514, 1));
    rig_end(&rig);
}

Test(virtio_net, frames_go_out_in_order_with_few_interrupts)
{
    struct fake_buffer frame;
    struct rig rig;

    rig_start(&rig, MERGEABLE);
    for (uint32_t i = 0; i < 150; i++) {
        frame = tx_frame(&rig, HEADER + 60 + i, i);
        fake_queue_add(rig.tx, &frame, 1, 0);
    }
    fake_queue_kick(rig.tx);
    for (uint32_t i = 0; i < 150; i++) {
        fake_queue_wait(rig.tx);
        cr_assert_eq(peer_receive(&rig), HEADER + 60 + i);
        cr_assert(is_frame(rig.frame, HEADER + 60 + i, i));
    }
    cr_assert_leq(fake_driver_messages(rig.driver, TX + 1), 3, "one a batch");
    rig_end(&rig);
}

Test(virtio_net, hostile_10_frames_of_impossible_size_are_dropped)
{
    struct fake_buffer frame, huge;
    struct rig rig;

    rig_start(&rig, MERGEABLE);
    huge = (struct fake_buffer){.addr = gpa(1 << 20), .len = 32 << 20};
    fake_queue_add(rig.tx, &huge, 1, 0);
    huge.len = HEADER + 14 + 65536;
    fake_queue_add(rig.tx, &huge, 1, 0);
    frame = tx_frame(&rig, HEADER + 13, 0);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_add(rig.tx, &frame, 0, 1);
    frame = tx_frame(&rig, HEADER + 60, 2);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_kick(rig.tx);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(fake_queue_wait(rig.tx), 0);
    cr_assert_eq(peer_receive(&rig), HEADER + 60);
    cr_assert(is_frame(rig.frame, HEADER + 60, 2));
    cr_assert_eq(peer_receive(&rig), -1);
    rig_end(&rig);
}

Test(virtio_net, frames_that_the_host_refuses_are_dropped)
{
    struct fake_buffer frame;
    struct rig rig;

    rig_start(&rig, MERGEABLE);
    frame = tx_frame(&rig, HEADER + 60, 5);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_kick(rig.tx);
    fake_queue_wait(rig.tx);
    cr_assert_eq(peer_receive(&rig), HEADER + 60);
    /* The other end goes: every write fails. */
    close(rig.peer);
    for (int i = 0; i < 20; i++) {
        fake_queue_add(rig.tx, &frame, 1, 0);
        fake_queue_kick(rig.tx);
        cr_assert_eq(fake_queue_wait(rig.tx), 0);
    }
    cr_assert_not(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    rig.peer = -1;
    rig_end(&rig);
}

/* Fills the socket, so that later frames wait in flight. Returns how many were given back. */
static uint32_t tx_block(struct rig *rig)
{
    struct fake_buffer frame = tx_frame(rig, HEADER + 40000, 9);
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
    struct rig rig;
    uint32_t used;

    rig_start(&rig, MERGEABLE);
    used = tx_block(&rig);
    for (uint32_t received = 0; received < 32;) {
        ssize_t len = peer_receive(&rig);

        if (len < 0) {
            fake_machine_run(rig.machine, 20);
            continue;
        }
        cr_assert_eq(len, HEADER + 40000);
        cr_assert(is_frame(rig.frame, HEADER + 40000, 9));
        received++;
    }
    for (; used < 32; used++)
        fake_queue_wait(rig.tx);
    rig_end(&rig);
}

/* ---- receive ---- */

Test(virtio_net, frame_comes_into_one_buffer)
{
    struct fake_buffer buffer;
    struct rig rig;

    rig_start(&rig, 0);
    buffer = fake_buffer(rig.machine, BUFFER_LEN);
    memset(buffer.host, 0xff, BUFFER_LEN);
    rx_post(&rig, buffer);
    fake_queue_kick(rig.rx);
    peer_send(&rig, HEADER + 1514, 3);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 1514);
    cr_assert(is_frame(buffer.host, HEADER + 1514, 3));
    cr_assert_eq(num_buffers(buffer), 1);
    rig_end(&rig);
}

Test(virtio_net, frame_spans_mergeable_buffers)
{
    const uint32_t lens[] = {BUFFER_LEN, 1, BUFFER_LEN, BUFFER_LEN, BUFFER_LEN, BUFFER_LEN};
    struct net_config config = default_config;
    struct fake_buffer buffers[6], all;
    struct rig rig;
    uint32_t len, offset = 0;

    config.mtu = 6000;
    rig_socket(&rig, &config);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 8);
    all = fake_buffer(rig.machine, 5 * BUFFER_LEN + 1);
    for (int i = 0; i < 6; i++) {
        buffers[i] = part(all, offset, lens[i]);
        offset += lens[i];
        /* Too small for a header of its own, so it joins the one before. */
        if (i == 1)
            continue;
        rx_post(&rig, buffers[i]);
    }
    fake_queue_kick(rig.rx);
    peer_send(&rig, 5000, 4);
    len = 5000;
    for (int i = 0; i < 4; i++) {
        uint32_t expected = len < BUFFER_LEN ? len : BUFFER_LEN;

        cr_assert_eq(fake_queue_wait(rig.rx), expected);
        len -= expected;
    }
    cr_assert_eq(len, 0);
    cr_assert_eq(num_buffers(buffers[0]), 4);
    memmove(buffers[1].host, buffers[2].host, 3UL * BUFFER_LEN);
    cr_assert(is_frame(all.host, 5000, 4));
    rig_end(&rig);
}

Test(virtio_net, header_may_lie_across_buffers_of_a_chain)
{
    struct fake_buffer all, buffers[4];
    struct rig rig;

    for (uint32_t cut = 1; cut < HEADER; cut++) {
        rig_start(&rig, cut % 2 ? MERGEABLE : 0);
        all = fake_buffer(rig.machine, BUFFER_LEN);
        memset(all.host, 0xff, BUFFER_LEN);
        buffers[0] = part(all, 0, cut);
        buffers[1] = part(all, cut, 1);
        buffers[2] = part(all, cut + 1, 100);
        buffers[3] = part(all, cut + 101, BUFFER_LEN - 101 - cut);
        fake_queue_add(rig.rx, buffers, 0, 4);
        fake_queue_kick(rig.rx);
        peer_send(&rig, HEADER + 1000, cut);
        cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 1000);
        cr_assert(is_frame(all.host, HEADER + 1000, cut));
        cr_assert_eq(num_buffers(all), 1);
        rig_end(&rig);
    }
}

/* More frames than a batch or a ring holds, with buffers added as they are used. */
static void receive_many(struct rig *rig, uint32_t count, uint32_t buffer_len)
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
            peer_send(rig, HEADER + 60 + sent % 1400, sent);
        for (; received < sent; received++) {
            uint32_t len = fake_queue_wait(rig->rx);
            struct fake_buffer buffer;
            uint16_t head;

            head = rig->rx->used->ring[(uint16_t)(rig->rx->used_idx - 1) % rig->rx->size].id;
            buffer = by_head[head];
            cr_assert_eq(len, HEADER + 60 + received % 1400);
            cr_assert(is_frame(buffer.host, len, received), "frame %u", received);
            cr_assert_eq(num_buffers(buffer), 1);
            by_head[fake_queue_add(rig->rx, &buffer, 0, 1)] = buffer;
            fake_queue_kick(rig->rx);
        }
    }
}

Test(virtio_net, frames_come_in_order)
{
    struct rig rig;

    rig_start(&rig, 0);
    receive_many(&rig, 1000, BUFFER_LEN);
    rig_end(&rig);
}

Test(virtio_net, frames_come_in_order_into_mergeable_buffers)
{
    struct net_config config = default_config;
    struct rig rig;

    config.mtu = 9000;
    rig_socket(&rig, &config);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 0);
    receive_many(&rig, 1000, BUFFER_LEN);
    rig_end(&rig);
}

Test(virtio_net, frames_wait_for_buffers)
{
    struct fake_buffer buffers[3];
    struct rig rig;

    rig_start(&rig, MERGEABLE);
    for (uint32_t i = 0; i < 3; i++)
        peer_send(&rig, HEADER + 100, i);
    fake_machine_run(rig.machine, 20);
    for (uint32_t i = 0; i < 3; i++) {
        buffers[i] = fake_buffer(rig.machine, BUFFER_LEN + HEADER);
        rx_post(&rig, buffers[i]);
        fake_queue_kick(rig.rx);
        cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
        cr_assert(is_frame(buffers[i].host, HEADER + 100, i));
    }
    rig_end(&rig);
}

Test(virtio_net, useless_receive_buffers_are_given_back)
{
    struct fake_buffer buffer, small;
    struct rig rig;

    rig_start(&rig, MERGEABLE);
    small = fake_buffer(rig.machine, HEADER - 1);
    buffer = fake_buffer(rig.machine, BUFFER_LEN + HEADER);
    rx_post(&rig, small);
    fake_queue_add(rig.rx, &buffer, 1, 0);
    rx_post(&rig, buffer);
    fake_queue_kick(rig.rx);
    cr_assert_eq(fake_queue_wait(rig.rx), 0);
    cr_assert_eq(fake_queue_wait(rig.rx), 0);
    peer_send(&rig, HEADER + 100, 1);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
    rig_end(&rig);
}

/* Few buffers for the largest frame, and a driver that adds none: small frames still come. */
Test(virtio_net, frame_larger_than_the_buffers_is_dropped_and_the_next_comes)
{
    struct net_config config = default_config;
    struct fake_buffer buffers[2];
    struct rig rig;

    config.mtu = 9000;
    rig_socket(&rig, &config);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 0);
    for (int i = 0; i < 2; i++) {
        buffers[i] = fake_buffer(rig.machine, BUFFER_LEN);
        rx_post(&rig, buffers[i]);
    }
    fake_queue_kick(rig.rx);
    peer_send(&rig, 5000, 1);
    peer_send(&rig, HEADER + 100, 2);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
    cr_assert(is_frame(buffers[0].host, HEADER + 100, 2));
    peer_send(&rig, HEADER + 200, 3);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 200);
    cr_assert(is_frame(buffers[1].host, HEADER + 200, 3));
    rig_end(&rig);
}

Test(virtio_net, tap_that_goes_away_ends_reception_only)
{
    struct fake_buffer buffer, frame;
    struct rig rig;

    rig_start(&rig, 0);
    buffer = fake_buffer(rig.machine, BUFFER_LEN);
    rx_post(&rig, buffer);
    fake_queue_kick(rig.rx);
    fake_machine_run(rig.machine, 5);
    close(rig.peer);
    rig.peer = -1;
    fake_machine_run(rig.machine, 20);
    frame = tx_frame(&rig, HEADER + 60, 5);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_kick(rig.tx);
    cr_assert_eq(fake_queue_wait(rig.tx), 0);
    rig_end(&rig);
}

/* ---- reset ---- */

Test(virtio_net, hostile_12_reset_with_frames_in_flight_both_ways)
{
    struct fake_buffer buffers[4];
    struct rig rig;

    rig_start(&rig, MERGEABLE);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            buffers[i] = fake_buffer(rig.machine, BUFFER_LEN + HEADER);
            rx_post(&rig, buffers[i]);
        }
        fake_queue_kick(rig.rx);
        tx_block(&rig);
        fake_driver_reset(rig.driver);
        for (int i = 0; i < 4; i++)
            memset(buffers[i].host, 0x5a, buffers[i].len);
        for (uint32_t i = 0; i < 4; i++)
            peer_send(&rig, HEADER + 100, i);
        fake_machine_run(rig.machine, 50);
        for (int i = 0; i < 4; i++)
            for (uint32_t k = 0; k < buffers[i].len; k++)
                cr_assert_eq(buffers[i].host[k], 0x5a, "guest memory changed after the reset");
        /* What came meanwhile waits in the tap for the next driver. */
        fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 0);
        for (uint32_t i = 0; i < 4; i++) {
            rx_post(&rig, buffers[i]);
            fake_queue_kick(rig.rx);
            cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
            cr_assert(is_frame(buffers[i].host, HEADER + 100, i));
        }
        while (peer_receive(&rig) > 0)
            fake_machine_run(rig.machine, 5);
    }
    rig_end(&rig);
}

/* The largest frame needs several buffers, so that all are taken while the first is in flight. */
Test(virtio_net, hostile_01_same_head_twice_needs_a_reset_and_works_after_it)
{
    struct net_config config = default_config;
    struct fake_buffer buffer;
    struct rig rig;
    uint16_t head;

    config.mtu = 9000;
    rig_socket(&rig, &config);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 0);
    buffer = fake_buffer(rig.machine, BUFFER_LEN + HEADER);
    head = fake_queue_add(rig.rx, &buffer, 0, 1);
    fake_queue_kick(rig.rx);
    fake_queue_add_head(rig.rx, head);
    fake_queue_publish(rig.rx);
    fake_queue_notify(rig.rx);
    peer_send(&rig, HEADER + 100, 1);
    peer_send(&rig, HEADER + 100, 2);
    fake_machine_run(rig.machine, 50);
    cr_assert(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, RING_FEATURES, 0);
    rx_post(&rig, buffer);
    fake_queue_kick(rig.rx);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
    rig_end(&rig);
}

/* ---- control queue ---- */

/* Runs a command; its answer, or -1 when the device wrote none. */
static int control_run(struct rig *rig, uint8_t class, uint8_t command, const void *data,
                       uint32_t len)
{
    struct fake_buffer buffers[] = {fake_buffer(rig->machine, 2 + len),
                                    fake_buffer(rig->machine, 1)};

    buffers[0].host[0] = class;
    buffers[0].host[1] = command;
    memcpy(buffers[0].host + 2, data, len);
    *buffers[1].host = 0xff;
    fake_queue_add(rig->control, buffers, 1, 1);
    fake_queue_kick(rig->control);
    return fake_queue_wait(rig->control) ? *buffers[1].host : -1;
}

Test(virtio_net, commands_without_effect_are_accepted)
{
    const uint8_t table[] = {0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6};
    struct rig rig;
    uint8_t on = 1;

    rig_start(&rig, CONTROL | BIT(VIRTIO_NET_F_CTRL_RX));
    cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1),
                 VIRTIO_NET_OK);
    cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1),
                 VIRTIO_NET_OK);
    cr_assert_eq(
        control_run(&rig, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)),
        VIRTIO_NET_OK);
    rig_end(&rig);
}

Test(virtio_net, address_that_the_driver_sets_lasts_until_a_reset)
{
    const uint8_t mac[] = {2, 9, 8, 7, 6, 5};
    struct rig rig;

    rig_start(&rig, CONTROL);
    cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6),
                 VIRTIO_NET_OK);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 0, 4), 0x07080902);
    fake_driver_reset(rig.driver);
    cr_assert_eq(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 0, 4), 0x01000002);
    rig_end(&rig);
}

Test(virtio_net, malformed_commands_are_refused)
{
    const uint8_t zeroes[16] = {0};
    struct fake_buffer buffer;
    struct rig rig;

    rig_start(&rig, CONTROL);
    for (int class = 0; class < 256; class += 5)
        cr_assert_eq(control_run(&rig, (uint8_t) class, 77, zeroes, 16), VIRTIO_NET_ERR);
    cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, zeroes, 5),
                 VIRTIO_NET_ERR);
    cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, zeroes, 2),
                 VIRTIO_NET_ERR, "not negotiated");
    cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
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
    rig_end(&rig);
}

/* ---- on a tap ---- */

static void rig_tap(struct rig *rig, uint16_t queue_count)
{
    const struct tap_config config = {.name = "tap0", .queue_count = queue_count};
    struct tap tap;
    struct err err;

    if (unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK))
        cr_skip_test("needs root and /dev/net/tun, to make an interface");
    cr_assert_eq(tap_open(&tap, &config, &err), 0, "%s", err.text);
    rig_attach(rig, &default_config, &tap);
    rig->control = &rig->driver->queues[2UL * queue_count];
}

/* The host's end: a packet socket on the interface. */
static void open_packet_socket(struct rig *rig)
{
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

    rig->peer = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
    cr_assert_geq(rig->peer, 0);
    addr.sll_ifindex = (int)if_nametoindex("tap0");
    cr_assert_eq(bind(rig->peer, (struct sockaddr *)&addr, sizeof(addr)), 0);
}

static uint32_t feature_of_interface(uint32_t command)
{
    struct ethtool_value value = {.cmd = command};
    struct ifreq request = {.ifr_name = "tap0", .ifr_data = (char *)&value};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(ioctl(fd, SIOCETHTOOL, &request), 0);
    close(fd);
    return value.data;
}

Test(virtio_net, offloads_of_the_tap_follow_the_driver)
{
    const uint64_t offloads = BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
                              BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | CONTROL;
    uint64_t wanted = BIT(VIRTIO_NET_F_GUEST_CSUM);
    struct rig rig = {.peer = -1};

    rig_tap(&rig, 1);
    cr_assert_eq(feature_of_interface(ETHTOOL_GTSO), 0);
    for (int round = 0; round < 2; round++) {
        fake_driver_start(rig.driver, offloads, 0);
        cr_assert_eq(rig.driver->features & offloads, offloads);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTXCSUM), 1);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTSO), 1);
        cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                                 VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wanted, 8),
                     VIRTIO_NET_OK);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTSO), 0);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTXCSUM), 1);
        fake_driver_reset(rig.driver);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTXCSUM), 0);
    }
    rig_end(&rig);
}

static void status_write(struct rig *rig, uint8_t status)
{
    fake_driver_write(rig->driver, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_STATUS, 1, status);
}

/* Every set of receive offloads that passes negotiation also starts the device. */
Test(virtio_net, any_valid_set_of_offloads_starts_the_device)
{
    const uint8_t bits[] = {VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
                            VIRTIO_NET_F_GUEST_ECN, 54, 55}; /* GUEST_USO4 and 6 */
    struct rig rig = {.peer = -1};

    rig_tap(&rig, 1);
    for (unsigned set = 0; set < 32; set++) {
        uint64_t features = BIT(VIRTIO_NET_F_GUEST_CSUM);

        for (size_t i = 0; i < sizeof(bits); i++)
            features |= set & 1U << i ? BIT(bits[i]) : 0;
        if (set & 4 && !(set & 3)) /* ECN alone is not valid */
            continue;
        fake_driver_start(rig.driver, features, 0);
        fake_driver_reset(rig.driver);
    }
    rig_end(&rig);
}

Test(virtio_net, features_need_those_they_build_on)
{
    const uint64_t refused[] = {
        BIT(VIRTIO_NET_F_GUEST_TSO4), BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_ECN),
        BIT(VIRTIO_NET_F_HOST_TSO6),  BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_ECN),
        BIT(VIRTIO_NET_F_MQ),         BIT(VIRTIO_NET_F_CTRL_RX),
    };
    struct rig rig = {.peer = -1};

    rig_tap(&rig, 2);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        status_write(&rig, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
        fake_driver_features_write(rig.driver, refused[i] | BIT(VIRTIO_F_VERSION_1));
        status_write(&rig, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                               VIRTIO_CONFIG_S_FEATURES_OK);
        cr_assert_not(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_FEATURES_OK, "set %zu", i);
        status_write(&rig, 0);
    }
    fake_driver_negotiate(rig.driver, UINT64_MAX);
    cr_assert(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_FEATURES_OK);
    fake_driver_reset(rig.driver);
    rig_end(&rig);
}

/* An IPv4 and UDP frame of one flow, as far as the tap looks at it. */
static void make_flow(uint8_t *frame, uint16_t flow)
{
    static const uint8_t start[] = {2,  0, 0, 1, 2, 3,  2,  0, 0, 9,  9, 9, 8, 0,  0x45, 0, 0,
                                    46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2};

    memset(frame, 0, 60);
    memcpy(frame, start, sizeof(start));
    frame[34] = (uint8_t)(flow >> 8);
    frame[35] = (uint8_t)flow;
    frame[37] = 53;
    frame[39] = 26;
}

static bool is_flow(const uint8_t *frame)
{
    return frame[12] == 8 && frame[13] == 0 && frame[23] == 17 && frame[37] == 53;
}

static void rx_post_many(struct rig *rig, struct fake_queue *queue)
{
    for (int i = 0; i < 200; i++) {
        struct fake_buffer buffer = fake_buffer(rig->machine, 2048);

        fake_queue_add(queue, &buffer, 0, 1);
    }
    fake_queue_kick(queue);
}

/* Frames of our flows that came into this queue so far, in ascending order. */
static unsigned flows_received(struct rig *rig, struct fake_queue *queue, uint16_t *last)
{
    unsigned count = 0;
    uint16_t head;
    uint32_t len;

    while (queue->used_idx != queue->used->idx) {
        uint16_t id = queue->used->ring[queue->used_idx % queue->size].id;
        const uint8_t *bytes = gmem_ptr(rig->machine->mem, gpa(queue->desc[id].addr), 100);

        if (is_flow(bytes + HEADER)) {
            uint16_t flow = (uint16_t)(bytes[HEADER + 34] << 8 | bytes[HEADER + 35]);

            cr_assert_gt(flow, *last);
            *last = flow;
            count++;
        }
        cr_assert(fake_queue_take(queue, &head, &len));
    }
    return count;
}

static void send_flows(struct rig *rig, unsigned first, unsigned count)
{
    uint8_t frame[60];

    for (unsigned i = 0; i < count; i++) {
        make_flow(frame, (uint16_t)(first + i));
        cr_assert_eq(send(rig->peer, frame, sizeof(frame), 0), sizeof(frame));
    }
}

struct flow_wait {
    struct rig *rig;
    unsigned wanted, counts[2];
    uint16_t last[2];
};

static bool flows_came(void *arg)
{
    struct flow_wait *wait = arg;

    wait->counts[0] += flows_received(wait->rig, &wait->rig->driver->queues[0], &wait->last[0]);
    wait->counts[1] += flows_received(wait->rig, &wait->rig->driver->queues[2], &wait->last[1]);
    return wait->counts[0] + wait->counts[1] >= wait->wanted;
}

Test(virtio_net, queue_pairs_are_used_as_far_as_the_driver_said)
{
    const uint16_t pair_counts[] = {1, 2, 1};
    struct rig rig;
    uint16_t impossible;

    rig_tap(&rig, 2);
    fake_driver_start(rig.driver, CONTROL | BIT(VIRTIO_NET_F_MQ), 0);
    open_packet_socket(&rig);
    rx_post_many(&rig, &rig.driver->queues[0]);
    rx_post_many(&rig, &rig.driver->queues[2]);
    for (int i = 0; i < 3; i++) {
        struct flow_wait wait = {.rig = &rig, .wanted = 32};

        if (i)
            cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
                                     &pair_counts[i], 2),
                         VIRTIO_NET_OK);
        send_flows(&rig, 1000, 32);
        fake_machine_run_until(rig.machine, flows_came, &wait);
        cr_assert_eq(wait.counts[0] + wait.counts[1], 32);
        cr_assert_eq(wait.counts[1] > 0, pair_counts[i] == 2, "%u frames in pair 1",
                     wait.counts[1]);
    }
    impossible = 0;
    cr_assert_eq(
        control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &impossible, 2),
        VIRTIO_NET_ERR);
    impossible = 3;
    cr_assert_eq(
        control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &impossible, 2),
        VIRTIO_NET_ERR);
    rig_end(&rig);
}

/* virtio 1.2, 5.1.2 */
Test(virtio_net, control_queue_follows_the_first_pair_without_multiqueue)
{
    struct rig rig = {.peer = -1};
    uint8_t on = 1;

    rig_tap(&rig, 2);
    fake_driver_start(rig.driver, CONTROL | BIT(VIRTIO_NET_F_CTRL_RX), 0);
    rig.control = &rig.driver->queues[2];
    cr_assert_eq(control_run(&rig, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1),
                 VIRTIO_NET_OK);
    rig_end(&rig);
}

static bool flow_left(void *arg)
{
    struct rig *rig = arg;
    ssize_t len;

    while ((len = recv(rig->peer, rig->frame, sizeof(rig->frame), 0)) >= 0)
        if (len == 60 && is_flow(rig->frame))
            return true;
    return false;
}

Test(virtio_net, frames_reach_the_host_through_a_tap)
{
    struct fake_buffer good, bad;
    struct rig rig;

    rig_tap(&rig, 1);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES | BIT(VIRTIO_NET_F_CSUM), 0);
    open_packet_socket(&rig);
    good = fake_buffer(rig.machine, HEADER + 60);
    make_flow(good.host + HEADER, 7);
    /* A checksum far outside the frame, and segments of nothing: the kernel refuses them. */
    bad = fake_buffer(rig.machine, HEADER + 60);
    memcpy(bad.host, good.host, bad.len);
    *(struct virtio_net_hdr_v1 *)(void *)bad.host =
        (struct virtio_net_hdr_v1){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 0xfff0};
    fake_queue_add(rig.tx, &bad, 1, 0);
    bad.host[1] = VIRTIO_NET_HDR_GSO_TCPV4;
    fake_queue_add(rig.tx, &bad, 1, 0);
    fake_queue_add(rig.tx, &good, 1, 0);
    fake_queue_kick(rig.tx);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(fake_queue_wait(rig.tx), 0);
    fake_machine_run_until(rig.machine, flow_left, &rig);
    rig_end(&rig);
}

Test(virtio_net, frames_from_the_host_come_in_order_through_a_tap)
{
    struct flow_wait wait = {.wanted = 150};
    struct rig rig;

    rig_tap(&rig, 1);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 0);
    open_packet_socket(&rig);
    rx_post_many(&rig, rig.rx);
    wait.rig = &rig;
    for (int i = 0; i < 3; i++) {
        send_flows(&rig, 1000 + 50U * (unsigned)i, 50);
        wait.wanted = 50U * (unsigned)(i + 1);
        fake_machine_run_until(rig.machine, flows_came, &wait);
    }
    cr_assert_eq(wait.counts[0], 150);
    rig_end(&rig);
}
