#include "virtio/mmio.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "echo_device.h"
#include "fake_driver.h"

enum {
    SETTLE_TURNS = 20,
    DRIVER_OK = VIRTIO_CONFIG_S_DRIVER_OK,
    NEEDS_RESET = VIRTIO_CONFIG_S_NEEDS_RESET,
};

#define EVENT_IDX (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define PACKED    (1ULL << VIRTIO_F_RING_PACKED)

struct fixture {
    struct fake_machine *machine;
    struct echo_device *echo;
    struct fake_driver *driver;
    struct fake_queue *queue; /* of echo */
    struct fake_queue *pipe_queue;
};

static struct fixture fixture_create(bool doorbells_refused)
{
    struct fixture f = {.machine = fake_machine_create()};

    f.machine->doorbells_refused = doorbells_refused;
    f.echo = echo_create(&f.machine->context);
    f.driver = fake_driver_attach_mmio(f.machine, &f.echo->device);
    f.queue = &f.driver->queues[ECHO_QUEUE];
    f.pipe_queue = &f.driver->queues[ECHO_PIPE_QUEUE];
    return f;
}

static void fixture_destroy(struct fixture *f)
{
    fake_driver_detach(f->driver);
    fake_machine_destroy(f->machine);
}

static uint32_t get(struct fixture *f, uint32_t offset)
{
    return fake_mmio_register(f->driver, offset);
}

static void put(struct fixture *f, uint32_t offset, uint32_t value)
{
    fake_mmio_register_write(f->driver, offset, value);
}

static void settle(struct fixture *f)
{
    fake_machine_run(f->machine, SETTLE_TURNS);
}

static struct fake_buffer echo_add(struct fixture *f)
{
    struct fake_buffer buffers[] = {fake_buffer(f->machine, 4), fake_buffer(f->machine, 4)};

    memcpy(buffers[0].host, "ring", 4);
    fake_queue_add(f->queue, buffers, 1, 1);
    return buffers[1];
}

static void assert_echo_works(struct fixture *f)
{
    struct fake_buffer answer = echo_add(f);

    fake_queue_kick(f->queue);
    cr_assert_eq(fake_queue_wait(f->queue), 4);
    cr_assert_eq(memcmp(answer.host, "ring", 4), 0);
}

Test(virtio_mmio, identity_is_that_of_a_modern_device)
{
    struct fixture f = fixture_create(false);

    cr_assert_eq(get(&f, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
    cr_assert_eq(get(&f, VIRTIO_MMIO_VERSION), 2);
    cr_assert_eq(get(&f, VIRTIO_MMIO_DEVICE_ID), ECHO_ID);
    cr_assert_eq(get(&f, VIRTIO_MMIO_VENDOR_ID), 0x1af4);
    cr_assert_eq(f.driver->queue_count, ECHO_QUEUE_COUNT);
    cr_assert_eq(get(&f, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
    cr_assert_eq(get(&f, VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
    fixture_destroy(&f);
}

Test(virtio_mmio, page_that_is_taken_is_an_error_line)
{
    struct fixture f = fixture_create(false);
    struct echo_device *second = echo_create(&f.machine->context);
    const struct virtio_mmio_config config = {
        .bus = f.machine->mmio_bus,
        .base = FAKE_MMIO_BASE + VIRTIO_MMIO_LEN - 1,
        .irq = fake_machine_mmio_line(f.machine),
        .doorbells = fake_machine_doorbells(f.machine),
    };
    struct virtio_mmio *mmio;
    struct err err = {""};

    cr_assert_eq(virtio_mmio_create(&mmio, &second->device, &config, &err), -EEXIST);
    cr_assert(strstr(err.text, "echo0"), "%s", err.text);
    virtio_device_destroy(&second->device);
    fixture_destroy(&f);
}

Test(virtio_mmio, queues_of_both_layouts_carry_requests_and_start_again_after_a_reset)
{
    const uint64_t features[] = {0, EVENT_IDX, PACKED, PACKED | EVENT_IDX};
    struct fixture f = fixture_create(false);

    for (size_t i = 0; i < array_count(features); i++) {
        fake_driver_start(f.driver, features[i], 8);
        for (int round = 0; round < 40; round++)
            assert_echo_works(&f);
        cr_assert_eq(f.queue->packed, i >= 2);
        fake_driver_reset(f.driver);
    }
    fixture_destroy(&f);
}

Test(virtio_mmio, the_line_is_high_until_every_event_is_acknowledged)
{
    struct fixture f = fixture_create(false);

    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    settle(&f);
    cr_assert(f.machine->mmio_level);
    cr_assert_eq(get(&f, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
    cr_assert_eq(get(&f, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING, "reading is free");
    virtio_device_config_changed(&f.echo->device);
    cr_assert_eq(get(&f, VIRTIO_MMIO_INTERRUPT_STATUS),
                 VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
    put(&f, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    cr_assert(f.machine->mmio_level);
    cr_assert_eq(get(&f, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
    put(&f, VIRTIO_MMIO_INTERRUPT_ACK, 0);
    cr_assert(f.machine->mmio_level);
    put(&f, VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
    cr_assert_not(f.machine->mmio_level);
    cr_assert_eq(get(&f, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    cr_assert_eq(f.machine->mmio_edges, 1);
    fixture_destroy(&f);
}

Test(virtio_mmio, a_change_of_the_configuration_is_a_new_generation)
{
    struct fixture f = fixture_create(false);
    uint32_t generation = get(&f, VIRTIO_MMIO_CONFIG_GENERATION);

    virtio_device_config_changed(&f.echo->device);
    cr_assert_eq(get(&f, VIRTIO_MMIO_CONFIG_GENERATION), generation + 1);
    cr_assert_not(f.machine->mmio_level, "nobody is notified before DRIVER_OK");
    fixture_destroy(&f);
}

Test(virtio_mmio, device_configuration_is_read_and_written_at_any_width)
{
    struct fixture f = fixture_create(false);
    const uint64_t at = FAKE_MMIO_BASE + VIRTIO_MMIO_CONFIG;

    cr_assert_eq(fake_mmio_read(f.machine, at, 1), 1);
    cr_assert_eq(fake_mmio_read(f.machine, at + 1, 2), 0x0302);
    cr_assert_eq(fake_mmio_read(f.machine, at, 4), 0x04030201);
    cr_assert_eq(fake_mmio_read(f.machine, at, 8), 0x0007060504030201, "7 bytes long");
    cr_assert_eq(fake_mmio_read(f.machine, at + ECHO_CONFIG_LEN, 4), 0);
    cr_assert_eq(fake_mmio_read(f.machine, FAKE_MMIO_BASE + VIRTIO_MMIO_LEN - 8, 8), 0);
    fake_mmio_write(f.machine, at + 2, 2, 0xaabb);
    cr_assert_eq(fake_mmio_read(f.machine, at, 4), 0xaabb0201);
    fake_mmio_write(f.machine, at + ECHO_CONFIG_LEN - 1, 2, 0xffff);
    fake_mmio_write(f.machine, at + 0xff, 4, 0xffff);
    cr_assert_eq(f.echo->behind_config, 0xee);
    fixture_destroy(&f);
}

Test(virtio_mmio, a_queue_is_taken_back_before_it_runs)
{
    struct fixture f = fixture_create(false);

    fake_driver_negotiate(f.driver, 0);
    fake_driver_setup_queue(f.driver, ECHO_QUEUE, 4);
    put(&f, VIRTIO_MMIO_QUEUE_READY, 2);
    cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_READY), 1);
    put(&f, VIRTIO_MMIO_QUEUE_READY, 0);
    cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_READY), 0);
    fake_driver_setup_queue(f.driver, ECHO_QUEUE, 8);
    fake_driver_ok(f.driver);
    assert_echo_works(&f);
    put(&f, VIRTIO_MMIO_QUEUE_SEL, ECHO_PIPE_QUEUE);
    put(&f, VIRTIO_MMIO_QUEUE_READY, 0);
    put(&f, VIRTIO_MMIO_QUEUE_READY, 1);
    cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_READY), 0, "too late for a queue that was left out");
    fake_driver_reset(f.driver);
    put(&f, VIRTIO_MMIO_QUEUE_SEL, ECHO_QUEUE);
    cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_READY), 0);
    fixture_destroy(&f);
}

/* Two requests that nothing but a cancel ends. */
static void pipe_requests_add(struct fixture *f)
{
    for (int i = 0; i < 2; i++) {
        struct fake_buffer buffer = fake_buffer(f->machine, 16);

        fake_queue_add(f->pipe_queue, &buffer, 0, 1);
        fake_queue_kick(f->pipe_queue);
    }
    settle(f);
    cr_assert_eq(f->echo->live, 2);
}

Test(virtio_mmio, a_queue_that_runs_is_taken_back_when_it_is_drained)
{
    struct fixture f = fixture_create(false);

    fake_driver_start(f.driver, 0, 0);
    pipe_requests_add(&f);
    put(&f, VIRTIO_MMIO_QUEUE_SEL, ECHO_PIPE_QUEUE);
    put(&f, VIRTIO_MMIO_QUEUE_READY, 0);
    cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_READY), 0, "4.2.2.2: reads back as it was written");
    cr_assert_eq(f.echo->live, 0);
    cr_assert_eq(f.pipe_queue->used->idx, 0, "nothing is published any more");
    fake_queue_notify(f.pipe_queue);
    settle(&f);
    put(&f, VIRTIO_MMIO_QUEUE_READY, 1);
    cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_READY), 0, "too late: until a reset");
    assert_echo_works(&f);
    fake_driver_reset(f.driver);
    fake_driver_start(f.driver, 0, 0);
    pipe_requests_add(&f);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

struct pending_access {
    struct bus_access access;
    unsigned answers;
};

static void pending_answered(struct bus_access *access)
{
    container_of(access, struct pending_access, access)->answers++;
}

static enum bus_verdict put_without_waiting(struct fixture *f, struct pending_access *pending,
                                            uint32_t offset, uint32_t value)
{
    *pending = (struct pending_access){.access = {.addr = FAKE_MMIO_BASE + offset,
                                                  .size = 4,
                                                  .value = value,
                                                  .is_write = true,
                                                  .complete = pending_answered}};
    return bus_dispatch(f->machine->mmio_bus, &pending->access);
}

Test(virtio_mmio, hostile_12_a_reset_overtakes_a_queue_that_is_being_taken_back)
{
    struct pending_access disable, again, reset;
    struct fixture f = fixture_create(false);
    struct fake_buffer buffer;

    f.echo->held = f.echo->ignores_cancel = true;
    fake_driver_start(f.driver, 0, 0);
    buffer = fake_buffer(f.machine, 16);
    fake_queue_add(f.queue, &buffer, 0, 1);
    fake_queue_kick(f.queue);
    settle(&f);
    put(&f, VIRTIO_MMIO_QUEUE_SEL, ECHO_QUEUE);
    cr_assert_eq(put_without_waiting(&f, &disable, VIRTIO_MMIO_QUEUE_READY, 0), BUS_DEFER);
    settle(&f);
    cr_assert_eq(disable.answers, 0, "a request is in flight");
    cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_READY), 1);
    cr_assert_eq(put_without_waiting(&f, &again, VIRTIO_MMIO_QUEUE_READY, 0), BUS_DONE);
    cr_assert_eq(put_without_waiting(&f, &reset, VIRTIO_MMIO_STATUS, 0), BUS_DEFER);
    settle(&f);
    cr_assert_eq(disable.answers + reset.answers, 0);
    echo_release(f.echo);
    settle(&f);
    cr_assert_eq(disable.answers, 1);
    cr_assert_eq(reset.answers, 1);
    cr_assert_eq(get(&f, VIRTIO_MMIO_STATUS), 0);
    f.echo->ignores_cancel = false;
    fake_driver_reset(f.driver);
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_mmio, without_doorbells_the_notify_write_itself_wakes_the_queue)
{
    struct fixture f = fixture_create(true);

    fake_driver_start(f.driver, 0, 0);
    for (int i = 0; i < 10; i++)
        assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_mmio, doorbells_take_writes_of_their_queue_s_number)
{
    struct fixture f = fixture_create(false);
    unsigned count = 0;

    for (size_t i = 0; i < array_count(f.machine->doorbells); i++) {
        const struct doorbell *doorbell = &f.machine->doorbells[i];

        if (doorbell->eventfd < 0)
            continue;
        cr_assert_eq(doorbell->addr, FAKE_MMIO_BASE + VIRTIO_MMIO_QUEUE_NOTIFY);
        cr_assert_eq(doorbell->len, 4);
        cr_assert(doorbell->match);
        cr_assert_eq(doorbell->value, count);
        count++;
    }
    cr_assert_eq(count, ECHO_QUEUE_COUNT);
    fixture_destroy(&f);
}

Test(virtio_mmio, hostile_5_selectors_and_notifications_out_of_range_reach_nothing)
{
    struct fixture f = fixture_create(false);
    const uint32_t bad[] = {ECHO_QUEUE_COUNT, 63, 64, 0xffff, 0x10000, 0x10001, UINT32_MAX};

    fake_driver_start(f.driver, 0, 0);
    for (size_t i = 0; i < array_count(bad); i++) {
        put(&f, VIRTIO_MMIO_QUEUE_SEL, bad[i]);
        cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
        cr_assert_eq(get(&f, VIRTIO_MMIO_QUEUE_READY), 0);
        put(&f, VIRTIO_MMIO_QUEUE_NUM, 4);
        put(&f, VIRTIO_MMIO_QUEUE_DESC_LOW, 4);
        put(&f, VIRTIO_MMIO_QUEUE_READY, 1);
        put(&f, VIRTIO_MMIO_QUEUE_READY, 0);
        put(&f, VIRTIO_MMIO_QUEUE_NOTIFY, bad[i]);
        put(&f, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2 + bad[i] / 2);
        cr_assert_eq(get(&f, VIRTIO_MMIO_DEVICE_FEATURES), 0);
    }
    cr_assert_not(get(&f, VIRTIO_MMIO_STATUS) & NEEDS_RESET);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_mmio, hostile_2_sizes_beyond_16_bits_are_no_sizes)
{
    struct fixture f = fixture_create(false);
    const uint32_t bad[] = {0x10004, 0x10000, UINT32_MAX, 0};

    fake_driver_negotiate(f.driver, 0);
    put(&f, VIRTIO_MMIO_QUEUE_SEL, ECHO_QUEUE);
    for (size_t i = 0; i < array_count(bad); i++) {
        put(&f, VIRTIO_MMIO_QUEUE_NUM, bad[i]);
        cr_assert_eq(f.echo->device.state.queues[ECHO_QUEUE].config.size, ECHO_QUEUE_SIZE);
    }
    fixture_destroy(&f);
}

Test(virtio_mmio, hostile_2_a_status_beyond_8_bits_is_no_reset)
{
    struct fixture f = fixture_create(false);

    fake_driver_start(f.driver, 0, 0);
    put(&f, VIRTIO_MMIO_STATUS, 0x100);
    put(&f, VIRTIO_MMIO_STATUS, 0xffffff00);
    cr_assert(get(&f, VIRTIO_MMIO_STATUS) & DRIVER_OK);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

/* The state of a device, by all its registers. */
static void registers_read(struct fixture *f, uint32_t values[2][VIRTIO_MMIO_CONFIG / 4])
{
    for (uint32_t queue = 0; queue < 2; queue++) {
        put(f, VIRTIO_MMIO_QUEUE_SEL, queue);
        for (uint32_t at = 0; at < VIRTIO_MMIO_CONFIG; at += 4)
            values[queue][at / 4] = get(f, at);
    }
}

Test(virtio_mmio, hostile_5_registers_are_accessed_as_32_aligned_bits_only)
{
    uint32_t before[2][VIRTIO_MMIO_CONFIG / 4], after[2][VIRTIO_MMIO_CONFIG / 4];
    const uint8_t sizes[] = {1, 2, 4, 8};
    struct fixture f = fixture_create(false);

    fake_driver_start(f.driver, 0, 0);
    registers_read(&f, before);
    for (size_t s = 0; s < array_count(sizes); s++) {
        for (uint32_t at = 0; at < VIRTIO_MMIO_CONFIG; at++) {
            if (sizes[s] == 4 && at % 4 == 0)
                continue;
            fake_mmio_write(f.machine, FAKE_MMIO_BASE + at, sizes[s], 0);
            cr_assert_eq(fake_mmio_read(f.machine, FAKE_MMIO_BASE + at, sizes[s]), 0);
        }
    }
    registers_read(&f, after);
    cr_assert_eq(memcmp(before, after, sizeof(before)), 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

static bool reset_is_answered;

static void reset_answered(struct bus_access *access)
{
    (void)access;
    reset_is_answered = true;
}

Test(virtio_mmio, hostile_12_reset_is_answered_only_when_nothing_is_in_flight)
{
    struct fixture f = fixture_create(false);
    struct bus_access access = {
        .addr = FAKE_MMIO_BASE + VIRTIO_MMIO_STATUS,
        .size = 4,
        .is_write = true,
        .complete = reset_answered,
    };

    fake_driver_start(f.driver, 0, 0);
    f.echo->held = f.echo->ignores_cancel = true;
    echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    cr_assert_eq(bus_dispatch(f.machine->mmio_bus, &access), BUS_DEFER);
    settle(&f);
    cr_assert_not(reset_is_answered);
    cr_assert(get(&f, VIRTIO_MMIO_STATUS), "not 0 before it is over");
    echo_release(f.echo);
    settle(&f);
    cr_assert(reset_is_answered);
    cr_assert_eq(get(&f, VIRTIO_MMIO_STATUS), 0);
    f.echo->ignores_cancel = false;
    fake_driver_start(f.driver, PACKED, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_mmio, hostile_13_reset_and_reboot_return_everything_to_its_first_state)
{
    uint32_t before[2][VIRTIO_MMIO_CONFIG / 4], after[2][VIRTIO_MMIO_CONFIG / 4];
    struct fixture f = fixture_create(false);

    put(&f, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    registers_read(&f, before);
    for (int round = 0; round < 2; round++) {
        fake_driver_start(f.driver, UINT64_MAX, 4);
        assert_echo_works(&f);
        settle(&f);
        put(&f, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 7);
        put(&f, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 9);
        cr_assert(f.machine->mmio_level);
        if (round)
            fake_driver_shutdown(f.driver);
        else
            fake_driver_reset(f.driver);
        cr_assert_not(f.machine->mmio_level);
        registers_read(&f, after);
        cr_assert_eq(memcmp(before, after, sizeof(before)), 0);
    }
    fixture_destroy(&f);
}

/* xorshift64 */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

Test(virtio_mmio, hostile_2_5_random_accesses_in_any_state_leave_a_device_that_resets)
{
    struct fixture f = fixture_create(false);
    uint64_t random = 1;

    for (int round = 0; round < 200; round++) {
        if (round % 2)
            fake_driver_start(f.driver, random_next(&random) & (EVENT_IDX | PACKED), 0);
        for (int i = 0; i < 200; i++) {
            uint64_t at = FAKE_MMIO_BASE + random_next(&random) % (VIRTIO_MMIO_CONFIG + 16) / 4 * 4;
            uint64_t value = random_next(&random) >> random_next(&random) % 64;
            uint8_t size = random_next(&random) % 8 ? 4 : 1 << random_next(&random) % 4;

            if (random_next(&random) % 2)
                fake_mmio_write(f.machine, at, size, value);
            else
                fake_mmio_read(f.machine, at, size);
        }
        fake_machine_run(f.machine, round % 3);
        put(&f, VIRTIO_MMIO_STATUS, 0);
        cr_assert_eq(get(&f, VIRTIO_MMIO_STATUS), 0);
        fake_driver_shutdown(f.driver);
    }
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}
