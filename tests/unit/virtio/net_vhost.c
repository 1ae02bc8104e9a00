/* The network device whose queue pairs the kernel serves. Where there is no vhost-net on this
 * machine, the guest tests run these on the emulated host. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_rig.h"
#include "virtio/vhost.h"

enum { RX_VECTOR = RX + 1, TX_VECTOR = TX + 1, BUFFER_COUNT = 200, RX_BUFFER_LEN = 2048 };

static const struct net_config vhost_config = {
    .name = "net0", .mac = {2, 0, 0, 1, 2, 3}, .has_mac = true, .vhost_path = VHOST_NET_PATH};

static void rig_vhost(struct net_rig *rig, uint16_t queue_count)
{
    if (access(VHOST_NET_PATH, R_OK | W_OK))
        cr_skip_test("needs " VHOST_NET_PATH);
    net_rig_tap(rig, &vhost_config, queue_count);
    net_rig_packet_socket(rig);
}

/* The kernel, too, gets the time to do what it should not. */
static void settle(struct net_rig *rig)
{
    struct pollfd never = {.fd = -1};

    fake_machine_run(rig->machine, 20);
    cr_assert_eq(poll(&never, 0, 50), 0);
    fake_machine_run(rig->machine, 20);
}

static bool has_used(const struct fake_queue *queue)
{
    return __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE) != queue->used_idx;
}

/* The kernel tells the guest, and not us. */
static void await_used(struct net_rig *rig, struct fake_queue *queue)
{
    struct pollfd never = {.fd = -1};

    while (!has_used(queue)) {
        fake_machine_run(rig->machine, 1);
        cr_assert_eq(poll(&never, 0, 1), 0);
    }
}

static void rx_post(struct net_rig *rig, struct fake_queue *queue)
{
    for (int i = 0; i < BUFFER_COUNT && i < queue->size; i++) {
        struct fake_buffer buffer = fake_buffer(rig->machine, RX_BUFFER_LEN);

        fake_queue_add(queue, &buffer, 0, 1);
    }
    fake_queue_kick(queue);
}

static void send_flow(struct net_rig *rig, uint16_t flow)
{
    uint8_t frame[FLOW_FRAME_LEN];

    net_make_flow(frame, flow);
    cr_assert_eq(send(rig->peer, frame, sizeof(frame), 0), (ssize_t)sizeof(frame));
}

/* The next frame of a flow that came into the queue, others apart; -1 when it has none. */
static int take_flow(struct net_rig *rig, struct fake_queue *queue)
{
    while (has_used(queue)) {
        uint16_t id = (uint16_t)queue->used->ring[queue->used_idx % queue->size].id, head;
        const uint8_t *bytes =
            gmem_ptr(rig->machine->mem, gpa(queue->desc[id].addr), RX_BUFFER_LEN);
        uint32_t len;

        cr_assert(fake_queue_take(queue, &head, &len));
        if (len == HEADER + FLOW_FRAME_LEN && net_is_flow(bytes + HEADER))
            return net_flow_of(bytes + HEADER);
    }
    return -1;
}

static int await_flow(struct net_rig *rig, struct fake_queue *queue)
{
    int flow;

    do {
        await_used(rig, queue);
        flow = take_flow(rig, queue);
    } while (flow < 0);
    return flow;
}

static void transmit(struct net_rig *rig, uint16_t flow)
{
    struct fake_buffer buffer = fake_buffer(rig->machine, HEADER + FLOW_FRAME_LEN);

    net_make_flow(buffer.host + HEADER, flow);
    fake_queue_add(rig->tx, &buffer, 1, 0);
    fake_queue_kick(rig->tx);
}

static bool has_left(struct net_rig *rig, uint16_t flow)
{
    while (recv(rig->peer, rig->frame, sizeof(rig->frame), 0) >= 0)
        if (net_is_flow(rig->frame) && net_flow_of(rig->frame) == flow)
            return true;
    return false;
}

static void assert_transmits(struct net_rig *rig, uint16_t flow)
{
    uint16_t head;
    uint32_t len;

    transmit(rig, flow);
    await_used(rig, rig->tx);
    cr_assert(fake_queue_take(rig->tx, &head, &len));
    cr_assert(has_left(rig, flow), "flow %u", flow);
}

/* After what may have waited in the tap. */
static void assert_receives(struct net_rig *rig, uint16_t flow)
{
    send_flow(rig, flow);
    while (await_flow(rig, rig->rx) != flow)
        ;
}

/* Until the kernel serves the queues. */
static void start(struct net_rig *rig, uint64_t features, uint16_t queue_size)
{
    fake_driver_start(rig->driver, features, queue_size);
    fake_machine_run(rig->machine, 5);
}

Test(virtio_net_vhost, frames_go_both_ways_and_interrupts_need_nobody_here)
{
    struct net_rig rig;

    rig_vhost(&rig, 1);
    start(&rig, MERGEABLE | RING_FEATURES, 0);
    rx_post(&rig, rig.rx);
    for (uint16_t i = 0; i < 20; i++) {
        assert_transmits(&rig, (uint16_t)(1000 + i));
        assert_receives(&rig, (uint16_t)(2000 + i));
    }
    cr_assert_geq(fake_driver_eventfd_take(rig.driver, RX_VECTOR), 1);
    cr_assert_geq(fake_driver_eventfd_take(rig.driver, TX_VECTOR), 1);
    cr_assert_eq(fake_driver_messages(rig.driver, RX_VECTOR), 0);
    cr_assert_eq(fake_driver_messages(rig.driver, TX_VECTOR), 0);
    net_rig_end(&rig);
}

Test(virtio_net_vhost, no_more_is_offered_than_the_kernel_can)
{
    struct net_rig rig;
    uint64_t offered;

    rig_vhost(&rig, 1);
    offered = virtio_device_features(rig.driver->device);
    cr_assert(offered & MERGEABLE);
    cr_assert_eq(offered & RING_FEATURES, RING_FEATURES);
    cr_assert_not(offered & BIT(VIRTIO_F_RING_PACKED));
    net_rig_end(&rig);
}

/* The vector's state decides at each moment, and nothing is lost on the way. */
Test(virtio_net_vhost, masked_vectors_become_pending_and_are_sent_when_they_open)
{
    struct net_rig rig;

    rig_vhost(&rig, 1);
    start(&rig, MERGEABLE, 0);
    rx_post(&rig, rig.rx);
    for (uint32_t i = 1; i <= 5; i++) {
        uint32_t before;

        fake_driver_mask(rig.driver, TX_VECTOR, true);
        assert_transmits(&rig, (uint16_t)i);
        while (!fake_driver_is_pending(rig.driver, TX_VECTOR))
            fake_machine_run(rig.machine, 1);
        cr_assert_eq(fake_driver_eventfd_take(rig.driver, TX_VECTOR), 0);
        cr_assert_eq(fake_driver_messages(rig.driver, TX_VECTOR), i - 1);
        fake_driver_mask(rig.driver, TX_VECTOR, false);
        cr_assert_eq(fake_driver_messages(rig.driver, TX_VECTOR), i);
        cr_assert_not(fake_driver_is_pending(rig.driver, TX_VECTOR));
        assert_transmits(&rig, (uint16_t)i);
        cr_assert_geq(fake_driver_eventfd_take(rig.driver, TX_VECTOR), 1);
        /* Signalled to us, and not seen when the vector opens. */
        before = fake_driver_messages(rig.driver, RX_VECTOR);
        (void)fake_driver_eventfd_take(rig.driver, RX_VECTOR);
        fake_driver_mask(rig.driver, RX_VECTOR, true);
        send_flow(&rig, (uint16_t)i);
        while (!has_used(rig.rx))
            ;
        fake_driver_mask(rig.driver, RX_VECTOR, false);
        cr_assert_eq(await_flow(&rig, rig.rx), i);
        while (fake_driver_messages(rig.driver, RX_VECTOR) == before &&
               !fake_driver_eventfd_take(rig.driver, RX_VECTOR))
            fake_machine_run(rig.machine, 1);
    }
    net_rig_end(&rig);
}

Test(virtio_net_vhost, interrupts_come_by_the_pin_without_msix)
{
    struct net_rig rig;

    rig_vhost(&rig, 1);
    rig.driver->no_msix = true;
    start(&rig, MERGEABLE, 0);
    for (uint16_t i = 0; i < 5; i++) {
        assert_transmits(&rig, i);
        while (!(fake_driver_read(rig.driver, VIRTIO_PCI_CAP_ISR_CFG, 0, 1) & 1))
            fake_machine_run(rig.machine, 1);
    }
    net_rig_end(&rig);
}

/* hostile-guest class 12: the kernel has let go of the rings when the reset is acknowledged. */
Test(virtio_net_vhost, hostile_12_nothing_touches_memory_after_a_reset)
{
    struct net_rig rig;

    rig_vhost(&rig, 1);
    for (int round = 0; round < 3; round++) {
        uint8_t *rings[2];
        uint8_t before[4096];

        start(&rig, MERGEABLE | RING_FEATURES, 0);
        rx_post(&rig, rig.rx);
        assert_receives(&rig, (uint16_t)(1000 + round));
        assert_transmits(&rig, 6);
        rings[0] = (uint8_t *)rig.rx->used;
        fake_driver_reset(rig.driver);
        memcpy(before, rings[0], 1024);
        for (uint16_t i = 0; i < 10; i++)
            send_flow(&rig, i);
        settle(&rig);
        cr_assert_eq(memcmp(before, rings[0], 1024), 0);
    }
    net_rig_end(&rig);
}

Test(virtio_net_vhost, works_after_a_reboot_in_place)
{
    struct net_rig rig;

    rig_vhost(&rig, 1);
    start(&rig, MERGEABLE, 0);
    rx_post(&rig, rig.rx);
    assert_receives(&rig, 1);
    fake_driver_shutdown(rig.driver);
    fake_driver_config_write(rig.driver, PCI_BASE_ADDRESS_0, 4, (uint32_t)rig.driver->bar);
    fake_driver_config_write(rig.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    start(&rig, RING_FEATURES, 64);
    rx_post(&rig, rig.rx);
    assert_receives(&rig, 2);
    assert_transmits(&rig, 3);
    net_rig_end(&rig);
}

Test(virtio_net_vhost, queue_pairs_are_served_as_far_as_the_driver_said)
{
    const uint16_t pair_counts[] = {1, 2, 1, 2};
    struct net_rig rig;

    rig_vhost(&rig, 2);
    start(&rig, MERGEABLE | CONTROL | BIT(VIRTIO_NET_F_MQ), 0);
    rx_post(&rig, &rig.driver->queues[0]);
    rx_post(&rig, &rig.driver->queues[2]);
    for (int i = 0; i < 4; i++) {
        unsigned counts[2] = {0};

        cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
                                     &pair_counts[i], 2),
                     VIRTIO_NET_OK);
        for (uint16_t flow = 0; flow < 32; flow++)
            send_flow(&rig, (uint16_t)(1000 + flow));
        while (counts[0] + counts[1] < 32) {
            counts[0] += take_flow(&rig, &rig.driver->queues[0]) >= 0;
            counts[1] += take_flow(&rig, &rig.driver->queues[2]) >= 0;
        }
        cr_assert_eq(counts[1] > 0, pair_counts[i] == 2, "%u frames in pair 1", counts[1]);
    }
    net_rig_end(&rig);
}

Test(virtio_net_vhost, one_pair_is_served_where_several_could_be)
{
    struct net_rig rig;
    uint8_t on = 1;

    rig_vhost(&rig, 2);
    start(&rig, MERGEABLE | CONTROL | BIT(VIRTIO_NET_F_CTRL_RX), 0);
    rx_post(&rig, rig.rx);
    assert_receives(&rig, 1);
    rig.control = &rig.driver->queues[2];
    cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1),
                 VIRTIO_NET_OK);
    net_rig_end(&rig);
}

static bool needs_reset(void *arg)
{
    return ((struct net_rig *)arg)->driver->device->state.status & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* hostile-guest class 4 */
Test(virtio_net_vhost, hostile_04_broken_ring_needs_a_reset_and_works_after_it)
{
    struct net_rig rig;
    struct fake_buffer buffer;

    rig_vhost(&rig, 1);
    start(&rig, MERGEABLE, 0);
    buffer = fake_buffer(rig.machine, HEADER + FLOW_FRAME_LEN);
    /* Writable, where only readable ones can be. */
    fake_queue_add(rig.tx, &buffer, 0, 1);
    fake_queue_kick(rig.tx);
    fake_machine_run_until(rig.machine, needs_reset, &rig);
    fake_driver_reset(rig.driver);
    start(&rig, MERGEABLE, 0);
    rx_post(&rig, rig.rx);
    assert_receives(&rig, 1);
    assert_transmits(&rig, 2);
    cr_assert_not(needs_reset(&rig));
    net_rig_end(&rig);
}

Test(virtio_net_vhost, without_bus_mastering_the_kernel_leaves_the_rings_alone)
{
    struct net_rig rig;

    rig_vhost(&rig, 1);
    start(&rig, MERGEABLE, 0);
    rx_post(&rig, rig.rx);
    assert_receives(&rig, 1);
    fake_driver_config_write(rig.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    settle(&rig);
    while (has_used(rig.rx))
        (void)take_flow(&rig, rig.rx);
    send_flow(&rig, 2);
    transmit(&rig, 3);
    settle(&rig);
    cr_assert_not(has_used(rig.rx));
    cr_assert_not(has_used(rig.tx));
    fake_driver_config_write(rig.driver, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    cr_assert_eq(await_flow(&rig, rig.rx), 2);
    await_used(&rig, rig.tx);
    cr_assert(has_left(&rig, 3));
    net_rig_end(&rig);
}

Test(virtio_net_vhost, offloads_of_the_tap_follow_the_driver)
{
    const uint64_t offloads = BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
                              BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | CONTROL | MERGEABLE;
    uint64_t wanted = 0;
    struct net_rig rig;

    rig_vhost(&rig, 1);
    start(&rig, offloads, 0);
    cr_assert_eq(net_control_run(&rig, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                                 VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &wanted, 8),
                 VIRTIO_NET_OK);
    rx_post(&rig, rig.rx);
    assert_receives(&rig, 1);
    net_rig_end(&rig);
}

Test(virtio_net_vhost, packed_queues_that_the_kernel_lacks_are_refused)
{
    struct fake_machine *machine = fake_machine_create();
    const struct tap_config tap_config = {.name = "tap0", .queue_count = 1};
    struct virtio_device *device;
    struct err err = {""};
    struct tap tap;

    if (access(VHOST_NET_PATH, R_OK | W_OK) || unshare(CLONE_NEWNET))
        cr_skip_test("needs root and " VHOST_NET_PATH);
    cr_assert_eq(tap_open(&tap, &tap_config, &err), 0, "%s", err.text);
    cr_assert_eq(virtio_net_create(&device, &machine->context, &vhost_config, &tap, &err),
                 -EOPNOTSUPP);
    cr_assert_not_null(strstr(err.text, "packed-queue"));
    fake_machine_destroy(machine);
}
