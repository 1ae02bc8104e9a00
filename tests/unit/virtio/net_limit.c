/* A network device with limits: what is too much waits, in order, and there is no way around. */
#include <criterion/criterion.h>

#include "net_rig.h"

/* Under which what one frame took must be waited for longer than a test lasts. */
static const struct rate_limit_config slow = {.bytes = {.rate = 1, .burst = 1}};
static const struct rate_limit_config steady = {.operations = {.rate = 5000, .burst = 1}};

static void rig_limited(struct net_rig *rig, const struct rate_limit_config *rx,
                        const struct rate_limit_config *tx)
{
    struct net_config config = net_default_config;

    if (rx)
        config.rx_limit = *rx;
    if (tx)
        config.tx_limit = *tx;
    net_rig_socket(rig, &config);
    fake_driver_start(rig->driver, RING_FEATURES, 0);
}

static void transmit_and_see_it_wait(struct net_rig *rig, uint32_t seed)
{
    struct fake_buffer frame = net_tx_frame(rig, HEADER + 1000, seed);

    fake_queue_add(rig->tx, &frame, 1, 0);
    fake_queue_kick(rig->tx);
    fake_machine_run(rig->machine, 10);
    cr_assert_lt(net_peer_receive(rig), 0);
    cr_assert_eq(rig->driver->device->queues[TX].vq.in_flight_count, 0, "it stays in the ring");
}

Test(virtio_net_limit, hostile_reset_is_no_way_around_the_limit_of_what_goes_out)
{
    struct fake_buffer frame;
    struct net_rig rig;

    rig_limited(&rig, NULL, &slow);
    frame = net_tx_frame(&rig, HEADER + 1000, 1);
    fake_queue_add(rig.tx, &frame, 1, 0);
    fake_queue_kick(rig.tx);
    fake_queue_wait(rig.tx);
    cr_assert_eq(net_peer_receive(&rig), HEADER + 1000);
    transmit_and_see_it_wait(&rig, 2);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, RING_FEATURES, 0);
    transmit_and_see_it_wait(&rig, 3);
    net_rig_end(&rig);
}

static void receive_and_see_it_wait(struct net_rig *rig)
{
    uint16_t head;
    uint32_t len;

    net_rx_post(rig, fake_buffer(rig->machine, BUFFER_LEN));
    fake_queue_kick(rig->rx);
    fake_machine_run(rig->machine, 10);
    cr_assert_not(fake_queue_take(rig->rx, &head, &len));
}

Test(virtio_net_limit, hostile_reset_is_no_way_around_the_limit_of_what_comes_in)
{
    struct net_rig rig;

    rig_limited(&rig, &slow, NULL);
    net_peer_send(&rig, HEADER + 1000, 1);
    net_rx_post(&rig, fake_buffer(rig.machine, BUFFER_LEN));
    fake_queue_kick(rig.rx);
    cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 1000);
    net_peer_send(&rig, HEADER + 1000, 2);
    receive_and_see_it_wait(&rig);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, RING_FEATURES, 0);
    receive_and_see_it_wait(&rig);
    net_rig_end(&rig);
}

Test(virtio_net_limit, what_is_too_much_comes_later_and_in_order)
{
    enum { COUNT = 40 };
    struct fake_buffer buffers[COUNT];
    struct net_rig rig;

    rig_limited(&rig, &steady, &steady);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct fake_buffer frame = net_tx_frame(&rig, HEADER + 100, i);

        fake_queue_add(rig.tx, &frame, 1, 0);
        buffers[i] = fake_buffer(rig.machine, BUFFER_LEN);
        net_rx_post(&rig, buffers[i]);
        net_peer_send(&rig, HEADER + 100, 1000 + i);
    }
    fake_queue_kick(rig.tx);
    fake_queue_kick(rig.rx);
    for (uint32_t i = 0; i < COUNT; i++) {
        fake_queue_wait(rig.tx);
        cr_assert_eq(net_peer_receive(&rig), HEADER + 100);
        cr_assert(net_is_frame(rig.frame, HEADER + 100, i));
        cr_assert_eq(fake_queue_wait(rig.rx), HEADER + 100);
        cr_assert(net_is_frame(buffers[i].host, HEADER + 100, 1000 + i));
    }
    net_rig_end(&rig);
}

/* What one direction spends is not taken from the other. */
Test(virtio_net_limit, directions_have_limits_of_their_own)
{
    struct fake_buffer frame;
    struct net_rig rig;

    rig_limited(&rig, &slow, NULL);
    for (uint32_t i = 0; i < 20; i++) {
        frame = net_tx_frame(&rig, HEADER + 1000, i);
        fake_queue_add(rig.tx, &frame, 1, 0);
        fake_queue_kick(rig.tx);
        fake_queue_wait(rig.tx);
    }
    net_rig_end(&rig);
}
