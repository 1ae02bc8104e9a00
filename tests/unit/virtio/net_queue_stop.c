/* A queue of a network device that its driver takes back alone (virtio 1.2, 4.2.2.2). */
#include <criterion/criterion.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "net_rig.h"

enum { BUFFER_COUNT = 4 };

static void rig_start(struct net_rig *rig)
{
    net_rig_socket_mmio(rig);
    fake_driver_start(rig->driver, MERGEABLE | CONTROL | RING_FEATURES, 0);
}

static void take_back(struct net_rig *rig, uint32_t index)
{
    const uint64_t ready = FAKE_MMIO_BASE + VIRTIO_MMIO_QUEUE_READY;

    fake_mmio_write(rig->machine, FAKE_MMIO_BASE + VIRTIO_MMIO_QUEUE_SEL, 4, index);
    cr_assert_eq(fake_mmio_read(rig->machine, ready, 4), 1);
    fake_mmio_write(rig->machine, ready, 4, 0);
    cr_assert_eq(fake_mmio_read(rig->machine, ready, 4), 0);
}

static void assert_transmits(struct net_rig *rig, uint32_t seed)
{
    struct fake_buffer frame = net_tx_frame(rig, HEADER + 100, seed);

    fake_queue_add(rig->tx, &frame, 1, 0);
    fake_queue_kick(rig->tx);
    fake_queue_wait(rig->tx);
    cr_assert_eq(net_peer_receive(rig), HEADER + 100);
    cr_assert(net_is_frame(rig->frame, HEADER + 100, seed));
}

static void assert_receives(struct net_rig *rig, uint32_t seed)
{
    struct fake_buffer buffer = fake_buffer(rig->machine, BUFFER_LEN + HEADER);

    net_rx_post(rig, buffer);
    fake_queue_kick(rig->rx);
    net_peer_send(rig, HEADER + 100, seed);
    cr_assert_eq(fake_queue_wait(rig->rx), HEADER + 100);
    cr_assert(net_is_frame(buffer.host, HEADER + 100, seed));
}

static void assert_works_after_a_reset(struct net_rig *rig)
{
    fake_driver_reset(rig->driver);
    fake_driver_start(rig->driver, MERGEABLE | CONTROL | RING_FEATURES, 0);
    while (net_peer_receive(rig) > 0)
        ;
    assert_receives(rig, 90);
    assert_transmits(rig, 91);
}

Test(virtio_net_queue_stop, hostile_12_a_receive_queue_that_was_taken_back_is_left_alone)
{
    struct fake_buffer buffers[BUFFER_COUNT];
    struct net_rig rig;

    rig_start(&rig);
    assert_receives(&rig, 1);
    for (int i = 0; i < BUFFER_COUNT; i++) {
        buffers[i] = fake_buffer(rig.machine, BUFFER_LEN + HEADER);
        net_rx_post(&rig, buffers[i]);
    }
    fake_queue_kick(rig.rx);
    fake_machine_run(rig.machine, 20);
    take_back(&rig, RX);
    for (int i = 0; i < BUFFER_COUNT; i++)
        memset(buffers[i].host, 0x5a, buffers[i].len);
    fake_queue_notify(rig.rx);
    for (uint32_t i = 0; i < BUFFER_COUNT; i++) {
        net_peer_send(&rig, HEADER + 100, i);
        assert_transmits(&rig, i);
    }
    fake_machine_run(rig.machine, 50);
    for (int i = 0; i < BUFFER_COUNT; i++)
        for (uint32_t k = 0; k < buffers[i].len; k++)
            cr_assert_eq(buffers[i].host[k], 0x5a, "guest memory changed");
    /* What nobody took waited in the tap. */
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, MERGEABLE | CONTROL | RING_FEATURES, 0);
    for (uint32_t i = 0; i < BUFFER_COUNT; i++) {
        net_rx_post(&rig, buffers[i]);
        fake_queue_kick(rig.rx);
        cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
        cr_assert(net_is_frame(buffers[i].host, HEADER + 100, i));
    }
    assert_works_after_a_reset(&rig);
    net_rig_end(&rig);
}

Test(virtio_net_queue_stop, hostile_12_a_transmit_queue_is_taken_back_with_frames_in_flight)
{
    struct fake_buffer frame;
    uint16_t used;
    struct net_rig rig;

    rig_start(&rig);
    frame = net_tx_frame(&rig, HEADER + 40000, 9);
    for (int i = 0; i < 32; i++)
        fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_kick(rig.tx);
    fake_machine_run(rig.machine, 50); /* until the socket takes no more */
    used = rig.tx->used->idx;
    cr_assert_lt(used, 32);
    take_back(&rig, TX);
    while (net_peer_receive(&rig) > 0)
        fake_machine_run(rig.machine, 5);
    cr_assert_eq(rig.tx->used->idx, used, "nothing is published any more");
    assert_receives(&rig, 1);
    assert_works_after_a_reset(&rig);
    net_rig_end(&rig);
}

Test(virtio_net_queue_stop, control_queue_is_taken_back_and_frames_go_on)
{
    struct net_rig rig;

    rig_start(&rig);
    take_back(&rig, 2);
    assert_receives(&rig, 1);
    assert_transmits(&rig, 2);
    assert_works_after_a_reset(&rig);
    net_rig_end(&rig);
}

Test(virtio_net_queue_stop, all_queues_are_taken_back_one_after_the_other)
{
    struct net_rig rig;

    rig_start(&rig);
    assert_receives(&rig, 1);
    for (uint32_t index = 0; index < 3; index++)
        take_back(&rig, index);
    net_peer_send(&rig, HEADER + 100, 5);
    fake_machine_run(rig.machine, 20);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, MERGEABLE | CONTROL | RING_FEATURES, 0);
    cr_assert_eq(net_peer_receive(&rig), -1);
    assert_transmits(&rig, 6);
    net_rig_end(&rig);
}
