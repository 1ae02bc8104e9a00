#include "virtio/rng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/random.h>

#include "fake_driver.h"

#define RING_FEATURES (1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC)

static struct fake_driver *attach(struct fake_machine *machine, const struct rng_config *config)
{
    struct virtio_device *device;

    cr_assert_eq(virtio_rng_create(&device, &machine->context, config, NULL), 0);
    return fake_driver_attach(machine, device);
}

static struct fake_driver *rng_attach(struct fake_machine *machine)
{
    const struct rng_config config = {.name = "rng"};

    return attach(machine, &config);
}

static void fill_run(uint64_t features)
{
    struct fake_machine *machine = fake_machine_create();
    struct fake_driver *driver = rng_attach(machine);
    struct fake_queue *queue = &driver->queues[0];
    struct fake_buffer buffers[] = {fake_buffer(machine, 32), fake_buffer(machine, 32)};

    fake_driver_start(driver, features, 0);
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

Test(virtio_rng, buffers_are_filled_with_bytes_that_differ)
{
    fill_run(0);
    fill_run(1ULL << VIRTIO_F_RING_PACKED);
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

static struct source {
    int error; /* 0: there is entropy */
    unsigned refusals;
} source;

static ssize_t source_read(void *buffer, size_t len, unsigned flags)
{
    cr_assert(flags & GRND_NONBLOCK);
    if (!source.error)
        return getrandom(buffer, len, flags);
    source.refusals++;
    errno = source.error;
    return -1;
}

static const struct rng_config source_config = {.name = "rng", .getrandom = source_read};

static bool source_refused_often(void *arg)
{
    (void)arg;
    return source.refusals >= 4;
}

Test(virtio_rng, buffers_wait_until_the_host_has_entropy)
{
    struct fake_machine *machine = fake_machine_create();
    struct fake_buffer buffer = fake_buffer(machine, 32);
    struct fake_driver *driver;
    struct fake_queue *queue;
    uint16_t head;
    uint32_t len;

    source = (struct source){.error = EAGAIN};
    driver = attach(machine, &source_config);
    queue = &driver->queues[0];
    fake_driver_start(driver, 0, 0);
    fake_queue_add(queue, &buffer, 0, 1);
    fake_queue_kick(queue);
    fake_machine_run_until(machine, source_refused_often, NULL);
    cr_assert_not(fake_queue_take(queue, &head, &len));
    source.error = 0;
    cr_assert_eq(fake_queue_wait(queue), 32);
    fake_driver_detach(driver);
    fake_machine_destroy(machine);
}

Test(virtio_rng, hostile_12_reset_while_buffers_wait_for_entropy)
{
    struct fake_machine *machine = fake_machine_create();
    struct fake_driver *driver;

    source = (struct source){.error = EAGAIN};
    driver = attach(machine, &source_config);
    fake_driver_start(driver, 0, 0);
    fake_machine_run_until(machine, source_refused_often, NULL);
    fake_driver_reset(driver);
    cr_assert_eq(fake_driver_status(driver), 0);
    fake_driver_detach(driver);
    fake_machine_destroy(machine);
}

Test(virtio_rng, a_host_that_forbids_its_entropy_is_named)
{
    struct fake_machine *machine = fake_machine_create();
    struct virtio_device *device;
    struct err err;

    source = (struct source){.error = ENOSYS};
    cr_assert_eq(virtio_rng_create(&device, &machine->context, &source_config, &err), -ENOSYS);
    cr_assert_str_eq(err.text, "rng: getrandom(2): Function not implemented; allow it here, or use "
                               "--no-rng");
    fake_machine_destroy(machine);
}
