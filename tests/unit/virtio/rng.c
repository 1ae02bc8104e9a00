#include "virtio/rng.h"

#include <criterion/criterion.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "fake_driver.h"

#define RING_FEATURES (1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC)

static struct fake_driver *rng_attach(struct fake_machine *machine)
{
    struct virtio_device *device;

    cr_assert_eq(virtio_rng_create(&device, &machine->context, "rng", NULL), 0);
    return fake_driver_attach(machine, device);
}

Test(virtio_rng, buffers_are_filled_with_bytes_that_differ)
{
    struct fake_machine *machine = fake_machine_create();
    struct fake_driver *driver = rng_attach(machine);
    struct fake_queue *queue = &driver->queues[0];
    struct fake_buffer buffers[] = {fake_buffer(machine, 32), fake_buffer(machine, 32)};

    fake_driver_start(driver, 0, 0);
    fake_queue_add(queue, &buffers[0], 0, 1);
    fake_queue_add(queue, &buffers[1], 0, 1);
    cr_assert(fake_queue_kick(queue));
    cr_assert_eq(fake_queue_wait(queue), 32);
    cr_assert_eq(fake_queue_wait(queue), 32);
    cr_assert_neq(memcmp(buffers[0].host, buffers[1].host, 32), 0);
    cr_assert_eq(fake_driver_messages(driver, 1), 1, "one interrupt for both");
    fake_driver_detach(driver);
    fake_machine_destroy(machine);
}

Test(virtio_rng, hostile_10_buffers_of_gigabytes_get_little)
{
    struct fake_machine *machine = fake_machine_create();
    struct fake_driver *driver = rng_attach(machine);
    struct fake_queue *queue = &driver->queues[0];
    struct fake_buffer many[32];
    uint32_t polls;

    for (int i = 0; i < 32; i++)
        many[i] = (struct fake_buffer){.addr = gpa(8 << 20), .len = FAKE_RAM_LOW_SIZE - (8 << 20)};
    fake_driver_start(driver, RING_FEATURES, 0);
    queue->indirect = true;
    for (int i = 0; i < 64; i++)
        fake_queue_add(queue, many, 0, 32);
    fake_queue_kick(queue);
    polls = driver->device->queues[0].pump.poll_count;
    for (int i = 0; i < 64; i++)
        cr_assert_eq(fake_queue_wait(queue), 4096);
    cr_assert_geq(driver->device->queues[0].pump.poll_count - polls, 8,
                  "others may run in between");
    fake_driver_detach(driver);
    fake_machine_destroy(machine);
}

Test(virtio_rng, chain_without_room_is_given_back_empty)
{
    struct fake_machine *machine = fake_machine_create();
    struct fake_driver *driver = rng_attach(machine);
    struct fake_buffer buffer = fake_buffer(machine, 32);

    fake_driver_start(driver, 0, 0);
    fake_queue_add(&driver->queues[0], &buffer, 1, 0);
    fake_queue_kick(&driver->queues[0]);
    cr_assert_eq(fake_queue_wait(&driver->queues[0]), 0);
    fake_driver_detach(driver);
    fake_machine_destroy(machine);
}
