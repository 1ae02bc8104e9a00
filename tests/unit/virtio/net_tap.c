/* The network device on a tap interface, in a network namespace of the test's own. */
#include <criterion/criterion.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_rig.h"

static void rig_tap(struct net_rig *rig, uint16_t queue_count)
{
    net_rig_tap(rig, &net_default_config, queue_count);
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
    struct net_rig rig = {.peer = -1};

    rig_tap(&rig, 1);
    cr_assert_eq(feature_of_interface(ETHTOOL_GTSO), 0);
    for (int round = 0; round < 2; round++) {
        fake_driver_start(rig.driver, offloads, 0);
        cr_assert_eq(rig.driver->features & offloads, offloads);
        fake_machine_run(rig.machine, 5); /* they are set on another thread */
        cr_assert_eq(feature_of_interface(ETHTOOL_GTXCSUM), 1);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTSO), 1);
        cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                                     VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wanted, 8),
                     VIRTIO_NET_OK);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTSO), 0);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTXCSUM), 1);
        fake_driver_reset(rig.driver);
        cr_assert_eq(feature_of_interface(ETHTOOL_GTXCSUM), 0);
    }
    net_rig_end(&rig);
}

static void status_write(struct net_rig *rig, uint8_t status)
{
    fake_driver_write(rig->driver, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_STATUS, 1, status);
}

/* Every set of receive offloads that passes negotiation also starts the device. */
Test(virtio_net, any_valid_set_of_offloads_starts_the_device)
{
    const uint8_t bits[] = {VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
                            VIRTIO_NET_F_GUEST_ECN, 54, 55}; /* GUEST_USO4 and 6 */
    struct net_rig rig = {.peer = -1};

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
    net_rig_end(&rig);
}

Test(virtio_net, features_need_those_they_build_on)
{
    const uint64_t refused[] = {
        BIT(VIRTIO_NET_F_GUEST_TSO4), BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_ECN),
        BIT(VIRTIO_NET_F_HOST_TSO6),  BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_ECN),
        BIT(VIRTIO_NET_F_MQ),         BIT(VIRTIO_NET_F_CTRL_RX),
    };
    struct net_rig rig = {.peer = -1};

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
    net_rig_end(&rig);
}

static void rx_post_many(struct net_rig *rig, struct fake_queue *queue)
{
    for (int i = 0; i < 200; i++) {
        struct fake_buffer buffer = fake_buffer(rig->machine, 2048);

        fake_queue_add(queue, &buffer, 0, 1);
    }
    fake_queue_kick(queue);
}

/* Frames of our flows that came into this queue so far, in ascending order. */
static unsigned flows_received(struct net_rig *rig, struct fake_queue *queue, uint16_t *last)
{
    unsigned count = 0;
    uint16_t head;
    uint32_t len;

    while (queue->used_idx != queue->used->idx) {
        uint16_t id = queue->used->ring[queue->used_idx % queue->size].id;
        const uint8_t *bytes = gmem_ptr(rig->machine->mem, gpa(queue->desc[id].addr), 100);

        if (net_is_flow(bytes + HEADER)) {
            uint16_t flow = (uint16_t)(bytes[HEADER + 34] << 8 | bytes[HEADER + 35]);

            cr_assert_gt(flow, *last);
            *last = flow;
            count++;
        }
        cr_assert(fake_queue_take(queue, &head, &len));
    }
    return count;
}

static void send_flows(struct net_rig *rig, unsigned first, unsigned count)
{
    uint8_t frame[60];

    for (unsigned i = 0; i < count; i++) {
        net_make_flow(frame, (uint16_t)(first + i));
        cr_assert_eq(send(rig->peer, frame, sizeof(frame), 0), sizeof(frame));
    }
}

struct flow_wait {
    struct net_rig *rig;
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
    struct net_rig rig;
    uint16_t impossible;

    rig_tap(&rig, 2);
    fake_driver_start(rig.driver, CONTROL | BIT(VIRTIO_NET_F_MQ), 0);
    net_rig_packet_socket(&rig);
    rx_post_many(&rig, &rig.driver->queues[0]);
    rx_post_many(&rig, &rig.driver->queues[2]);
    fake_machine_run(rig.machine, 5); /* until one pair is in use */
    for (int i = 0; i < 3; i++) {
        struct flow_wait wait = {.rig = &rig, .wanted = 32};

        if (i)
            cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
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
        net_control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &impossible, 2),
        VIRTIO_NET_ERR);
    impossible = 3;
    cr_assert_eq(
        net_control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &impossible, 2),
        VIRTIO_NET_ERR);
    net_rig_end(&rig);
}

/* virtio 1.2, 5.1.2 */
Test(virtio_net, control_queue_follows_the_first_pair_without_multiqueue)
{
    struct net_rig rig = {.peer = -1};
    uint8_t on = 1;

    rig_tap(&rig, 2);
    fake_driver_start(rig.driver, CONTROL | BIT(VIRTIO_NET_F_CTRL_RX), 0);
    rig.control = &rig.driver->queues[2];
    cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1),
                 VIRTIO_NET_OK);
    net_rig_end(&rig);
}

/* True ever after: the executor asks again. */
static bool flow_left(void *arg)
{
    struct net_rig *rig = arg;

    while (!net_is_flow(rig->frame))
        if (recv(rig->peer, rig->frame, sizeof(rig->frame), 0) < 0)
            return false;
    return true;
}

Test(virtio_net, frames_reach_the_host_through_a_tap)
{
    struct fake_buffer good, bad;
    struct net_rig rig;

    rig_tap(&rig, 1);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES | BIT(VIRTIO_NET_F_CSUM), 0);
    net_rig_packet_socket(&rig);
    memset(rig.frame, 0, sizeof(rig.frame));
    good = fake_buffer(rig.machine, HEADER + 60);
    net_make_flow(good.host + HEADER, 7);
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
    net_rig_end(&rig);
}

Test(virtio_net, frames_from_the_host_come_in_order_through_a_tap)
{
    struct flow_wait wait = {.wanted = 150};
    struct net_rig rig;

    rig_tap(&rig, 1);
    fake_driver_start(rig.driver, MERGEABLE | RING_FEATURES, 0);
    net_rig_packet_socket(&rig);
    rx_post_many(&rig, rig.rx);
    wait.rig = &rig;
    for (int i = 0; i < 3; i++) {
        send_flows(&rig, 1000 + 50U * (unsigned)i, 50);
        wait.wanted = 50U * (unsigned)(i + 1);
        fake_machine_run_until(rig.machine, flows_came, &wait);
    }
    cr_assert_eq(wait.counts[0], 150);
    net_rig_end(&rig);
}
