/* The device core through the PCI transport: status, features, pumps, reset. */
#include "virtio/device.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "echo_device.h"
#include "fake_driver.h"

enum {
    ACK = VIRTIO_CONFIG_S_ACKNOWLEDGE,
    DRIVER = VIRTIO_CONFIG_S_DRIVER,
    FEATURES_OK = VIRTIO_CONFIG_S_FEATURES_OK,
    DRIVER_OK = VIRTIO_CONFIG_S_DRIVER_OK,
    NEEDS_RESET = VIRTIO_CONFIG_S_NEEDS_RESET,
    FAILED = VIRTIO_CONFIG_S_FAILED,
    COMMON = VIRTIO_PCI_CAP_COMMON_CFG,
    SETTLE_TURNS = 20, /* more than any chain of wake-ups needs */
};

#define VERSION_1 (1ULL << VIRTIO_F_VERSION_1)
#define EVENT_IDX (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  (1ULL << VIRTIO_RING_F_INDIRECT_DESC)
#define PACKED    (1ULL << VIRTIO_F_RING_PACKED)
#define IN_ORDER  (1ULL << VIRTIO_F_IN_ORDER)

struct fixture {
    struct fake_machine *machine;
    struct echo_device *echo;
    struct fake_driver *driver;
    struct fake_queue *queue;      /* of echo */
    struct fake_queue *pipe_queue; /* of the pipe */
};

static struct fixture fixture_create(void)
{
    struct fixture f = {.machine = fake_machine_create()};

    f.echo = echo_create(&f.machine->context);
    f.driver = fake_driver_attach(f.machine, &f.echo->device);
    f.queue = &f.driver->queues[ECHO_QUEUE];
    f.pipe_queue = &f.driver->queues[ECHO_PIPE_QUEUE];
    return f;
}

static void fixture_destroy(struct fixture *f)
{
    fake_driver_detach(f->driver);
    fake_machine_destroy(f->machine);
}

static void settle(struct fixture *f)
{
    fake_machine_run(f->machine, SETTLE_TURNS);
}

static uint64_t common_read(struct fixture *f, uint32_t offset, uint8_t size)
{
    return fake_driver_read(f->driver, COMMON, offset, size);
}

static void common_write(struct fixture *f, uint32_t offset, uint8_t size, uint64_t value)
{
    fake_driver_write(f->driver, COMMON, offset, size, value);
}

static uint8_t status(struct fixture *f)
{
    return fake_driver_status(f->driver);
}

static void status_write(struct fixture *f, uint8_t value)
{
    common_write(f, VIRTIO_PCI_COMMON_STATUS, 1, value);
}

/* Sends a line through the echo queue, unpublished. */
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

/* ---- status and features ---- */

Test(virtio_device, initialization_in_order_reaches_driver_ok)
{
    struct fixture f = fixture_create();

    cr_assert_eq(status(&f), 0);
    status_write(&f, ACK);
    cr_assert_eq(status(&f), ACK);
    status_write(&f, ACK | DRIVER);
    cr_assert_eq(status(&f), ACK | DRIVER);
    fake_driver_features_write(f.driver, VERSION_1);
    status_write(&f, ACK | DRIVER | FEATURES_OK);
    cr_assert_eq(status(&f), ACK | DRIVER | FEATURES_OK);
    cr_assert_eq(f.echo->activations, 0);
    status_write(&f, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
    cr_assert_eq(status(&f), ACK | DRIVER | FEATURES_OK | DRIVER_OK);
    cr_assert_eq(f.echo->activations, 1);
    fixture_destroy(&f);
}

/* The one rule for any write, independent of the code: which status follows which. */
static uint8_t status_model(uint8_t old, uint8_t value, bool features_good)
{
    const uint8_t driver_bits = ACK | DRIVER | FEATURES_OK | DRIVER_OK | FAILED;

    if (!value)
        return 0;
    if (old & FAILED || old & driver_bits & ~value)
        return old;
    if (value & ACK)
        old |= ACK;
    if (value & DRIVER && old & ACK)
        old |= DRIVER;
    if (value & FEATURES_OK && old & DRIVER && features_good)
        old |= FEATURES_OK;
    if (value & DRIVER_OK && old & FEATURES_OK)
        old |= DRIVER_OK;
    return old | (value & FAILED);
}

Test(virtio_device, hostile_2_every_status_write_in_every_status_follows_the_rule)
{
    struct fixture f = fixture_create();

    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            uint8_t expected = status_model(0, first, false);

            status_write(&f, 0);
            cr_assert_eq(status(&f), 0);
            status_write(&f, first);
            cr_assert_eq(status(&f), expected, "0x%x", first);
            /* Heard from DRIVER on; so one write of all bits cannot get past FEATURES_OK. */
            fake_driver_features_write(f.driver, VERSION_1);
            expected = status_model(expected, second, expected & DRIVER);
            status_write(&f, second);
            cr_assert_eq(status(&f), expected, "0x%x then 0x%x", first, second);
        }
    }
    fixture_destroy(&f);
}

static uint64_t driver_features(struct fixture *f)
{
    uint64_t features = 0;

    for (uint32_t i = 0; i < 2; i++) {
        common_write(f, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
        features |= common_read(f, VIRTIO_PCI_COMMON_GF, 4) << 32 * i;
    }
    return features;
}

static bool features_are_accepted(struct fixture *f, uint64_t features)
{
    status_write(f, 0);
    status_write(f, ACK);
    status_write(f, ACK | DRIVER);
    fake_driver_features_write(f->driver, features);
    cr_assert_eq(driver_features(f), features);
    status_write(f, ACK | DRIVER | FEATURES_OK);
    return status(f) & FEATURES_OK;
}

Test(virtio_device, features_are_accepted_when_offered_modern_and_consistent)
{
    struct fixture f = fixture_create();
    uint64_t offered = 1ULL << ECHO_F_A | 1ULL << ECHO_F_NEEDS_A | VERSION_1 | EVENT_IDX |
                       INDIRECT | PACKED | IN_ORDER;

    cr_assert(features_are_accepted(&f, VERSION_1));
    cr_assert(features_are_accepted(&f, offered));
    cr_assert_not(features_are_accepted(&f, 0), "a legacy driver");
    cr_assert_not(features_are_accepted(&f, offered & ~VERSION_1));
    cr_assert_not(features_are_accepted(&f, VERSION_1 | 1ULL << ECHO_F_NEEDS_A));
    for (int bit = 0; bit < 64; bit++)
        cr_assert_eq(features_are_accepted(&f, VERSION_1 | 1ULL << bit),
                     (offered >> bit & 1) && bit != ECHO_F_NEEDS_A, "bit %d", bit);
    fixture_destroy(&f);
}

Test(virtio_device, refused_features_may_be_corrected)
{
    struct fixture f = fixture_create();

    cr_assert_not(features_are_accepted(&f, VERSION_1 | 1ULL << 50));
    fake_driver_features_write(f.driver, VERSION_1);
    status_write(&f, ACK | DRIVER | FEATURES_OK);
    cr_assert(status(&f) & FEATURES_OK);
    fixture_destroy(&f);
}

Test(virtio_device, hostile_2_features_outside_the_negotiation_are_ignored)
{
    struct fixture f = fixture_create();

    fake_driver_features_write(f.driver, VERSION_1);
    cr_assert_eq(driver_features(&f), 0);
    status_write(&f, ACK);
    fake_driver_features_write(f.driver, VERSION_1);
    cr_assert_eq(driver_features(&f), 0);
    fake_driver_reset(f.driver);
    fake_driver_start(f.driver, 0, 0);
    fake_driver_features_write(f.driver, VERSION_1 | EVENT_IDX);
    cr_assert_eq(driver_features(&f), VERSION_1);
    fixture_destroy(&f);
}

Test(virtio_device, feature_words_beyond_the_second_are_empty)
{
    struct fixture f = fixture_create();
    const uint32_t selects[] = {2, 3, 31, 32, 64, UINT32_MAX};

    status_write(&f, ACK);
    status_write(&f, ACK | DRIVER);
    for (size_t i = 0; i < array_count(selects); i++) {
        common_write(&f, VIRTIO_PCI_COMMON_DFSELECT, 4, selects[i]);
        cr_assert_eq(common_read(&f, VIRTIO_PCI_COMMON_DF, 4), 0);
        common_write(&f, VIRTIO_PCI_COMMON_GFSELECT, 4, selects[i]);
        common_write(&f, VIRTIO_PCI_COMMON_GF, 4, UINT32_MAX);
        cr_assert_eq(common_read(&f, VIRTIO_PCI_COMMON_GF, 4), 0);
    }
    cr_assert_eq(driver_features(&f), 0);
    fixture_destroy(&f);
}

/* ---- queues ---- */

struct queue_registers {
    uint64_t size, enable, desc, driver, device;
};

static struct queue_registers queue_registers_read(struct fixture *f, uint16_t index)
{
    common_write(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    return (struct queue_registers){
        .size = common_read(f, VIRTIO_PCI_COMMON_Q_SIZE, 2),
        .enable = common_read(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2),
        .desc = common_read(f, VIRTIO_PCI_COMMON_Q_DESCLO, 8),
        .driver = common_read(f, VIRTIO_PCI_COMMON_Q_AVAILLO, 8),
        .device = common_read(f, VIRTIO_PCI_COMMON_Q_USEDLO, 8),
    };
}

static void queue_registers_scribble(struct fixture *f, uint16_t index)
{
    common_write(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    common_write(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, 2);
    for (uint32_t at = VIRTIO_PCI_COMMON_Q_DESCLO; at <= VIRTIO_PCI_COMMON_Q_USEDHI; at += 4)
        common_write(f, at, 4, 0x10000);
    common_write(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    common_write(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
}

Test(virtio_device, hostile_2_queues_do_not_change_outside_their_set_up)
{
    struct fixture f = fixture_create();
    struct queue_registers before, after;

    before = queue_registers_read(&f, ECHO_QUEUE);
    queue_registers_scribble(&f, ECHO_QUEUE);
    after = queue_registers_read(&f, ECHO_QUEUE);
    cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0, "before FEATURES_OK");

    fake_driver_negotiate(f.driver, 0);
    fake_driver_setup_queue(f.driver, ECHO_QUEUE, 64);
    before = queue_registers_read(&f, ECHO_QUEUE);
    queue_registers_scribble(&f, ECHO_QUEUE);
    after = queue_registers_read(&f, ECHO_QUEUE);
    cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0, "once enabled");

    fake_driver_ok(f.driver);
    before = queue_registers_read(&f, ECHO_PIPE_QUEUE);
    queue_registers_scribble(&f, ECHO_PIPE_QUEUE);
    after = queue_registers_read(&f, ECHO_PIPE_QUEUE);
    cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0, "a queue left out at DRIVER_OK");
    queue_registers_scribble(&f, ECHO_QUEUE);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

static void assert_sizes(uint64_t features)
{
    struct fixture f = fixture_create();

    fake_driver_negotiate(f.driver, features);
    common_write(&f, VIRTIO_PCI_COMMON_Q_SELECT, 2, ECHO_QUEUE);
    for (uint32_t size = 0; size < 65536; size++) {
        uint64_t before = common_read(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2);
        bool good = size && size <= ECHO_QUEUE_SIZE && (features & PACKED || is_power_of_two(size));

        common_write(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
        cr_assert_eq(common_read(&f, VIRTIO_PCI_COMMON_Q_SIZE, 2), good ? size : before);
    }
    fixture_destroy(&f);
}

Test(virtio_device, queue_size_takes_what_the_layout_allows_up_to_the_offer)
{
    assert_sizes(0);
    assert_sizes(PACKED);
}

Test(virtio_device, packed_queues_and_order_are_offered_where_the_machine_says_so)
{
    struct fixture f = fixture_create();
    struct virtio_context context = f.machine->context;
    struct echo_device *plain;

    cr_assert(virtio_device_features(&f.echo->device) & PACKED);
    cr_assert(virtio_device_features(&f.echo->device) & IN_ORDER);
    context.packed_queue = context.in_order = false;
    plain = echo_create(&context);
    cr_assert_not(virtio_device_features(&plain->device) & (PACKED | IN_ORDER));
    virtio_device_destroy(&plain->device);
    fixture_destroy(&f);
}

Test(virtio_device, packed_queues_of_any_size_carry_requests_around_the_ring)
{
    const uint16_t sizes[] = {2, 3, 5, 16, 100, 255, 256};
    struct fixture f = fixture_create();

    for (size_t i = 0; i < array_count(sizes); i++) {
        fake_driver_start(f.driver, PACKED | INDIRECT | (i % 3 ? EVENT_IDX : 0), sizes[i]);
        cr_assert_eq(f.queue->size, sizes[i]);
        cr_assert(f.queue->packed);
        f.queue->indirect = i % 2;
        for (int round = 0; round < 3 * sizes[i]; round++)
            assert_echo_works(&f);
        fake_driver_reset(f.driver);
    }
    fixture_destroy(&f);
}

Test(virtio_device, queues_of_every_size_carry_requests_around_the_ring)
{
    struct fixture f = fixture_create();

    for (uint16_t size = 2; size <= ECHO_QUEUE_SIZE; size *= 2) {
        fake_driver_start(f.driver, size % 3 ? EVENT_IDX : 0, size);
        cr_assert_eq(f.queue->size, size);
        for (int round = 0; round < 3 * size; round++)
            assert_echo_works(&f);
        fake_driver_reset(f.driver);
    }
    fixture_destroy(&f);
}

static void assert_enable_fails(struct fixture *f, uint32_t offset, uint64_t addr)
{
    fake_driver_negotiate(f->driver, 0);
    common_write(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, ECHO_QUEUE);
    for (uint32_t at = VIRTIO_PCI_COMMON_Q_DESCLO; at <= VIRTIO_PCI_COMMON_Q_USEDLO; at += 8)
        common_write(f, at, 8, at == offset ? addr : 0x10000);
    common_write(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    cr_assert_eq(common_read(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    cr_assert(status(f) & NEEDS_RESET);
    cr_assert_eq(fake_driver_messages(f->driver, 0), 0, "no notification before DRIVER_OK (2.1.2)");
    status_write(f, status(f) | DRIVER_OK);
    cr_assert_not(status(f) & DRIVER_OK);
    fake_driver_reset(f->driver);
}

Test(virtio_device, hostile_6_rings_outside_ram_need_a_reset)
{
    struct fixture f = fixture_create();
    const uint64_t bad[] = {
        FAKE_RAM_LOW_SIZE, FAKE_RAM_LOW_SIZE - 16, FAKE_RAM_HIGH_BASE - 16, UINT64_MAX - 15,
        UINT64_MAX - 4095, f.driver->bar,          FAKE_ECAM_BASE,          1,
    };

    for (size_t i = 0; i < array_count(bad); i++) {
        assert_enable_fails(&f, VIRTIO_PCI_COMMON_Q_DESCLO, bad[i]);
        assert_enable_fails(&f, VIRTIO_PCI_COMMON_Q_AVAILLO, bad[i]);
        assert_enable_fails(&f, VIRTIO_PCI_COMMON_Q_USEDLO, bad[i]);
    }
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

/* ---- pumps ---- */

Test(virtio_device, more_requests_than_the_pool_has_wait_for_their_turn)
{
    struct fixture f = fixture_create();
    struct fake_buffer answers[ECHO_QUEUE_SIZE / 2];

    fake_driver_start(f.driver, EVENT_IDX, 0);
    f.echo->held = true;
    for (size_t i = 0; i < array_count(answers); i++)
        answers[i] = echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    cr_assert_eq(f.echo->live, ECHO_POOL_SIZE);
    echo_release(f.echo);
    for (size_t i = 0; i < array_count(answers); i++)
        cr_assert_eq(fake_queue_wait(f.queue), 4);
    for (size_t i = 0; i < array_count(answers); i++)
        cr_assert_eq(memcmp(answers[i].host, "ring", 4), 0);
    cr_assert_eq(f.echo->live_max, ECHO_POOL_SIZE);
    fixture_destroy(&f);
}

Test(virtio_device, requests_that_complete_together_share_one_interrupt)
{
    struct fixture f = fixture_create();

    fake_driver_start(f.driver, EVENT_IDX, 0);
    f.echo->held = true;
    for (int i = 0; i < 50; i++)
        echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    echo_release(f.echo);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(fake_queue_wait(f.queue), 4);
    settle(&f);
    cr_assert_eq(fake_driver_messages(f.driver, 1 + ECHO_QUEUE), 1);
    fixture_destroy(&f);
}

Test(virtio_device, hostile_10_a_full_ring_is_served_in_bounded_batches)
{
    struct fixture f = fixture_create();
    uint32_t polls;

    fake_driver_start(f.driver, 0, 0);
    for (int i = 0; i < ECHO_QUEUE_SIZE / 2; i++)
        echo_add(&f);
    polls = f.echo->device.queues[ECHO_QUEUE].pump.poll_count;
    fake_queue_kick(f.queue);
    for (int i = 0; i < ECHO_QUEUE_SIZE / 2; i++)
        cr_assert_eq(fake_queue_wait(f.queue), 4);
    cr_assert_geq(f.echo->device.queues[ECHO_QUEUE].pump.poll_count - polls,
                  ECHO_QUEUE_SIZE / 2 / VIRTIO_PUMP_BATCH);
    cr_assert_eq(f.echo->first_batch, VIRTIO_PUMP_BATCH, "then others had their turn");
    fixture_destroy(&f);
}

/* Runs all the time, so that the executor never sleeps, and sends a request in the midst of it. */
struct busy_driver {
    struct task task;
    struct fixture *f;
    unsigned polls;
    bool kicked;
};

static enum task_verdict busy_driver_poll(struct task *task)
{
    struct busy_driver *busy = container_of(task, struct busy_driver, task);
    struct fake_queue *queue = busy->f->queue;

    if (++busy->polls == 10) {
        echo_add(busy->f);
        busy->kicked = fake_queue_kick(queue);
    }
    if (busy->polls > 10 && queue->used->idx != queue->used_idx)
        return TASK_DONE;
    task_wake(task);
    return TASK_PENDING;
}

static bool busy_driver_is_done(void *arg)
{
    return !task_is_live(&((struct busy_driver *)arg)->task);
}

Test(virtio_device, no_kicks_are_asked_for_while_the_executor_is_awake)
{
    static const struct task_type type = {.name = "busy driver", .poll = busy_driver_poll};
    const uint64_t ring_features[] = {0, EVENT_IDX};

    for (size_t i = 0; i < array_count(ring_features); i++) {
        struct fixture f = fixture_create();
        struct busy_driver busy = {.f = &f};

        fake_driver_start(f.driver, ring_features[i], 0);
        task_spawn(&busy.task, f.machine->executor, &type);
        fake_machine_run_until(f.machine, busy_driver_is_done, &busy);
        cr_assert_not(busy.kicked);
        cr_assert_eq(fake_queue_wait(f.queue), 4);
        settle(&f);
        echo_add(&f);
        cr_assert(fake_queue_kick(f.queue), "once it has slept");
        cr_assert_eq(fake_queue_wait(f.queue), 4);
        fixture_destroy(&f);
    }
}

Test(virtio_device, hostile_14_kicks_before_driver_ok_are_neither_lost_nor_served_early)
{
    for (int refused = 0; refused < 2; refused++) {
        struct fixture f = {.machine = fake_machine_create()};

        f.machine->doorbells_refused = refused;
        f.echo = echo_create(&f.machine->context);
        f.driver = fake_driver_attach(f.machine, &f.echo->device);
        f.queue = &f.driver->queues[ECHO_QUEUE];
        fake_driver_negotiate(f.driver, 0);
        fake_driver_setup_queue(f.driver, ECHO_QUEUE, 0);
        echo_add(&f);
        fake_queue_publish(f.queue);
        fake_queue_notify(f.queue);
        settle(&f);
        cr_assert_eq(f.queue->used->idx, 0);
        cr_assert_eq(f.echo->live_max, 0);
        fake_driver_ok(f.driver);
        cr_assert_eq(fake_queue_wait(f.queue), 4);
        fixture_destroy(&f);
    }
}

Test(virtio_device, hostile_14_failed_activation_is_reported_and_can_be_repeated)
{
    struct fixture f = fixture_create();

    f.echo->activate_result = -EIO;
    fake_driver_negotiate(f.driver, 0);
    fake_driver_setup_queue(f.driver, ECHO_QUEUE, 0);
    echo_add(&f);
    fake_queue_publish(f.queue);
    fake_driver_ok(f.driver);
    cr_assert(status(&f) & NEEDS_RESET);
    cr_assert_eq(fake_driver_messages(f.driver, 0), 1);
    fake_queue_notify(f.queue);
    settle(&f);
    cr_assert_eq(f.queue->used->idx, 0);
    fake_driver_reset(f.driver);
    f.echo->activate_result = 0;
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

/* ---- broken queues ---- */

/* The driver did something wrong with the echo queue: reported once, other queues go on, nothing
 * more is served until the reset, after which all is well. */
static void assert_broken_until_reset(struct fixture *f)
{
    struct fake_buffer buffer = fake_buffer(f->machine, 5);
    uint32_t messages = fake_driver_messages(f->driver, 0);

    fake_queue_publish(f->queue);
    fake_queue_notify(f->queue);
    settle(f);
    cr_assert(status(f) & NEEDS_RESET);
    cr_assert_eq(fake_driver_messages(f->driver, 0), messages + 1, "one notification (2.1.2)");
    fake_queue_notify(f->queue);
    settle(f);
    cr_assert_eq(fake_driver_messages(f->driver, 0), messages + 1);
    fake_queue_add(f->pipe_queue, &buffer, 0, 1);
    fake_queue_publish(f->pipe_queue);
    fake_queue_notify(f->pipe_queue);
    cr_assert_eq(write(f->echo->pipe[1], "other", 5), 5);
    cr_assert_eq(fake_queue_wait(f->pipe_queue), 5, "the other queue goes on");
    fake_driver_reset(f->driver);
    fake_driver_start(f->driver, INDIRECT, 0);
    assert_echo_works(f);
}

Test(virtio_device, hostile_1_head_available_twice_needs_a_reset)
{
    struct fixture f = fixture_create();
    uint16_t head;

    fake_driver_start(f.driver, 0, 0);
    f.echo->held = true;
    echo_add(&f);
    head = f.queue->avail->ring[0];
    fake_queue_kick(f.queue);
    settle(&f);
    cr_assert_eq(f.echo->live, 1);
    fake_queue_add_head(f.queue, head);
    fake_queue_publish(f.queue);
    fake_queue_notify(f.queue);
    settle(&f);
    echo_release(f.echo);
    settle(&f);
    cr_assert_eq(f.echo->live, 0);
    cr_assert_eq(f.queue->used->idx, 0, "a broken queue is not written to");
    cr_assert(status(&f) & NEEDS_RESET);
    fake_driver_reset(f.driver);
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_device, hostile_3_avail_idx_beyond_the_queue_size_needs_a_reset)
{
    struct fixture f = fixture_create();

    fake_driver_start(f.driver, 0, 0);
    f.queue->avail_idx = f.queue->size + 1;
    assert_broken_until_reset(&f);
    fixture_destroy(&f);
}

Test(virtio_device, hostile_4_malformed_chains_need_a_reset)
{
    struct fixture f = fixture_create();
    const struct vring_desc bad[] = {
        {0x10000, 4, VRING_DESC_F_NEXT, 0},                          /* a cycle */
        {0x10000, 4, VRING_DESC_F_NEXT, ECHO_QUEUE_SIZE},            /* next out of range */
        {0, 16, VRING_DESC_F_INDIRECT, 0},                           /* see below: nested */
        {0x10000, 24, VRING_DESC_F_INDIRECT, 0},                     /* odd length */
        {FAKE_RAM_LOW_SIZE, 16, VRING_DESC_F_INDIRECT, 0},           /* outside RAM */
        {0x10000, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1}, /* both flags */
    };
    struct vring_desc *nested = gmem_ptr(f.machine->mem, gpa(0), 16);

    *nested = (struct vring_desc){0, 16, VRING_DESC_F_INDIRECT, 0};
    fake_driver_start(f.driver, INDIRECT, 0);
    for (size_t i = 0; i < array_count(bad); i++) {
        f.queue->desc[0] = bad[i];
        fake_queue_add_head(f.queue, 0);
        assert_broken_until_reset(&f);
    }
    fake_queue_add_head(f.queue, f.queue->size);
    assert_broken_until_reset(&f);
    fixture_destroy(&f);
}

Test(virtio_device, hostile_6_7_buffers_outside_ram_need_a_reset)
{
    struct fixture f = fixture_create();
    const struct vring_desc bad[] = {
        {FAKE_RAM_LOW_SIZE - 1, 2, 0, 0},
        {FAKE_RAM_HIGH_BASE - 1, 2, VRING_DESC_F_WRITE, 0},
        {UINT64_MAX, 2, 0, 0},
        {f.driver->bar, 4, VRING_DESC_F_WRITE, 0}, /* its own registers */
        {FAKE_ECAM_BASE, 4, 0, 0},
    };

    fake_driver_start(f.driver, 0, 0);
    for (size_t i = 0; i < array_count(bad); i++) {
        f.queue->desc[0] = bad[i];
        fake_queue_add_head(f.queue, 0);
        assert_broken_until_reset(&f);
    }
    fixture_destroy(&f);
}

Test(virtio_device, hostile_8_what_a_driver_changes_after_the_pop_changes_nothing)
{
    struct fixture f = fixture_create();
    struct fake_buffer answer;

    fake_driver_start(f.driver, 0, 0);
    f.echo->held = true;
    answer = echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    memset(f.queue->desc_buffer.host, 0xff, f.queue->desc_buffer.len);
    memset(f.queue->avail->ring, 0xff, 2 * f.queue->size);
    echo_release(f.echo);
    cr_assert_eq(fake_queue_wait(f.queue), 4);
    cr_assert_eq(memcmp(answer.host, "ring", 4), 0);
    fixture_destroy(&f);
}

Test(virtio_device, hostile_17_a_driver_that_breaks_its_queue_over_and_over_fills_no_log)
{
    struct fixture f = fixture_create();

    for (int i = 0; i < 100; i++) {
        fake_driver_start(f.driver, 0, 0);
        f.queue->avail_idx = f.queue->size + 1;
        fake_queue_publish(f.queue);
        fake_queue_notify(f.queue);
        settle(&f);
        cr_assert(status(&f) & NEEDS_RESET);
        fake_driver_reset(f.driver);
    }
    cr_assert_gt(f.echo->device.log_limit.suppressed, 0);
    fixture_destroy(&f);
}

/* ---- reset ---- */

static bool access_done;

static void access_complete(struct bus_access *access)
{
    (void)access;
    cr_assert_not(access_done, "answered twice");
    access_done = true;
}

/* Writes a status as a vCPU that is not waited for. */
static enum bus_verdict status_post(struct fixture *f, struct bus_access *access, uint8_t value)
{
    *access = (struct bus_access){
        .addr = f->driver->bar + f->driver->offset[COMMON] + VIRTIO_PCI_COMMON_STATUS,
        .size = 1,
        .value = value,
        .is_write = true,
        .complete = access_complete,
    };
    access_done = false;
    return bus_dispatch(f->machine->mmio_bus, access);
}

Test(virtio_device, hostile_12_reset_is_answered_only_when_nothing_is_in_flight)
{
    struct fixture f = fixture_create();
    struct bus_access first, second;
    struct fake_buffer answer;

    fake_driver_start(f.driver, 0, 0);
    f.echo->held = f.echo->ignores_cancel = true;
    answer = echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    cr_assert_eq(f.echo->live, 1);
    cr_assert_eq(status_post(&f, &first, 0), BUS_DEFER);
    settle(&f);
    cr_assert_not(access_done);
    cr_assert_neq(status(&f), 0);
    cr_assert_eq(f.echo->stops, 1);
    cr_assert_eq(f.echo->resets, 0);

    /* Meanwhile another vCPU writes 0 and other things. */
    cr_assert_eq(status_post(&f, &second, 0), BUS_DONE);
    status_write(&f, 0xff);
    queue_registers_scribble(&f, ECHO_PIPE_QUEUE);
    fake_driver_features_write(f.driver, UINT64_MAX);
    fake_queue_notify(f.queue);
    settle(&f);
    cr_assert_not(access_done);
    cr_assert_neq(status(&f), 0);

    echo_release(f.echo);
    settle(&f);
    cr_assert(access_done);
    cr_assert_eq(status(&f), 0);
    cr_assert_eq(f.echo->resets, 1);
    cr_assert_eq(f.queue->used->idx, 0, "what was cancelled is not given back");
    (void)answer;
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

Test(virtio_device, hostile_12_reset_cancels_io_and_guest_memory_stays_untouched)
{
    struct fixture f = fixture_create();
    struct fake_buffer buffer = fake_buffer(f.machine, 64);
    char drained[64];

    for (int round = 0; round < 10; round++) {
        fake_driver_start(f.driver, EVENT_IDX, 0);
        for (int i = 0; i < 16; i++)
            fake_queue_add(f.pipe_queue, &buffer, 0, 1);
        fake_queue_kick(f.pipe_queue);
        if (round % 2)
            settle(&f);
        fake_driver_reset(f.driver);
        cr_assert_eq(f.echo->live, 0);
        cr_assert_eq(write(f.echo->pipe[1], "late bytes", 10), 10);
        settle(&f);
        cr_assert_eq(buffer.host[0], 0);
        cr_assert_eq(read(f.echo->pipe[0], drained, sizeof(drained)), 10);
    }
    fixture_destroy(&f);
}

Test(virtio_device, hostile_12_power_off_drains_what_is_in_flight)
{
    struct fixture f = fixture_create();
    struct fake_buffer buffer = fake_buffer(f.machine, 64);

    fake_driver_start(f.driver, 0, 0);
    fake_queue_add(f.pipe_queue, &buffer, 0, 1);
    fake_queue_kick(f.pipe_queue);
    settle(&f);
    cr_assert_eq(f.echo->live, 1);
    fixture_destroy(&f);
}

struct stop_log {
    bool stopped;
};

static void device_stopped(void *arg)
{
    ((struct stop_log *)arg)->stopped = true;
}

Test(virtio_device, hostile_12_power_off_during_a_reset_waits_for_the_same_drain)
{
    struct fixture f = fixture_create();
    struct stop_log log = {false};
    struct bus_access access;

    fake_driver_start(f.driver, 0, 0);
    f.echo->held = f.echo->ignores_cancel = true;
    echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    cr_assert_eq(status_post(&f, &access, 0), BUS_DEFER);
    virtio_pci_shutdown(f.driver->pci, device_stopped, &log);
    settle(&f);
    cr_assert_not(log.stopped);
    echo_release(f.echo);
    settle(&f);
    cr_assert(log.stopped);
    cr_assert(access_done, "and the vCPU is not forgotten");
    cr_assert_eq(f.echo->resets, 1);
    fixture_destroy(&f);
}

/* All registers of the transport that a guest can see, for every queue. */
struct visible {
    uint8_t common[ECHO_QUEUE_COUNT + 1][56];
    uint64_t isr;
    uint64_t intx;
};

static void visible_read(struct fixture *f, struct visible *visible)
{
    uint64_t select = common_read(f, VIRTIO_PCI_COMMON_Q_SELECT, 2);

    memset(visible, 0, sizeof(*visible));
    for (uint16_t q = 0; q <= ECHO_QUEUE_COUNT; q++) {
        if (q)
            common_write(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, q - 1);
        for (uint32_t at = 0; at < 56; at++)
            visible->common[q][at] = common_read(f, at, 1);
    }
    visible->isr = fake_driver_read(f->driver, VIRTIO_PCI_CAP_ISR_CFG, 0, 1);
    for (int i = 0; i < 4; i++)
        visible->intx |= f->machine->intx_level[i];
    common_write(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, select);
}

Test(virtio_device, hostile_13_reset_returns_everything_that_is_visible_to_its_default)
{
    struct fixture f = fixture_create();
    struct visible before, after;

    visible_read(&f, &before);
    for (int no_msix = 0; no_msix < 2; no_msix++) {
        f.driver->no_msix = no_msix;
        fake_driver_config_write(f.driver, f.driver->msix_cap + PCI_MSIX_FLAGS, 2, 0);
        fake_driver_start(f.driver, ~PACKED, 4);
        assert_echo_works(&f);
        common_write(&f, VIRTIO_PCI_COMMON_DFSELECT, 4, 7);
        common_write(&f, VIRTIO_PCI_COMMON_GFSELECT, 4, 9);
        common_write(&f, VIRTIO_PCI_COMMON_Q_SELECT, 2, 11);
        f.queue->avail_idx += 1000;
        fake_queue_publish(f.queue);
        fake_queue_notify(f.queue);
        settle(&f);
        cr_assert(status(&f) & NEEDS_RESET);
        if (no_msix)
            cr_assert(f.machine->intx_level[f.driver->slot % 4]);
        fake_driver_reset(f.driver);
        cr_assert_not(f.machine->intx_level[f.driver->slot % 4]);
        visible_read(&f, &after);
        cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0);
    }
    fixture_destroy(&f);
}

Test(virtio_device, many_resets_under_load_leave_a_working_device)
{
    struct fixture f = fixture_create();
    struct fake_buffer buffer = fake_buffer(f.machine, 64);

    for (int round = 0; round < 200; round++) {
        fake_driver_start(f.driver, (round & 1 ? EVENT_IDX : 0) | (round & 2 ? PACKED : 0), 16);
        for (int i = 0; i < round % 8; i++) {
            echo_add(&f);
            fake_queue_add(f.pipe_queue, &buffer, 0, 1);
        }
        fake_queue_kick(f.queue);
        fake_queue_kick(f.pipe_queue);
        fake_machine_run(f.machine, round % 5);
        if (round % 3 == 0)
            cr_assert_eq(write(f.echo->pipe[1], "x", 1), 1);
        fake_driver_reset(f.driver);
        if (f.machine->alloc_next > FAKE_RAM_LOW_SIZE / 2)
            f.machine->alloc_next = 0x10000;
    }
    fake_driver_start(f.driver, 0, 0);
    assert_echo_works(&f);
    fixture_destroy(&f);
}

/* ---- interrupt moderation ---- */

static struct virtio_queue *moderated_queue(struct fixture *f)
{
    struct virtio_queue *queue;

    fake_driver_start(f->driver, EVENT_IDX, 64);
    settle(f);
    queue = &f->echo->device.queues[ECHO_QUEUE];
    queue->moderation = (struct moderation){.settled = 3, .tried = 3};
    return queue;
}

static bool has_interrupted(void *arg)
{
    return fake_driver_messages(arg, ECHO_QUEUE + 1) != 0;
}

Test(virtio_device, an_interrupt_may_wait_for_more_but_the_window_ends)
{
    struct fixture f = fixture_create();
    struct virtio_queue *queue = moderated_queue(&f);
    uint16_t head;
    uint32_t len;

    (void)echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    cr_assert(fake_queue_take(f.queue, &head, &len), "published at once");
    if (timer_is_armed(&queue->window)) {
        cr_assert_not(has_interrupted(f.driver));
        cr_assert_not(queue->watch.type->rearm(&queue->watch), "the executor may sleep");
        cr_assert_not(queue->vq.notify_enabled, "the driver need not kick: the pump will look");
    }
    fake_machine_run_until(f.machine, has_interrupted, f.driver);
    cr_assert_not(timer_is_armed(&queue->window));
    fixture_destroy(&f);
}

Test(virtio_device, a_full_batch_does_not_wait_for_the_end_of_the_window)
{
    struct fixture f = fixture_create();

    (void)moderated_queue(&f);
    for (int i = 0; i < MODERATION_BATCH; i++)
        (void)echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    cr_assert_eq(fake_driver_messages(f.driver, ECHO_QUEUE + 1), 1);
    fixture_destroy(&f);
}

static bool has_interrupted_again(void *arg)
{
    return fake_driver_messages(arg, ECHO_QUEUE + 1) == 2;
}

/* A driver that is busy is looked after at the end of each window, and never kicks. */
Test(virtio_device, after_an_interrupt_for_many_the_next_request_needs_no_kick)
{
    struct fixture f = fixture_create();
    struct virtio_queue *queue = moderated_queue(&f);
    uint16_t head;
    uint32_t len;

    for (int i = 0; i < MODERATION_BATCH; i++)
        (void)echo_add(&f);
    fake_queue_kick(f.queue);
    fake_machine_run_until(f.machine, has_interrupted, f.driver);
    cr_assert_not(queue->vq.notify_enabled);
    while (fake_queue_take(f.queue, &head, &len))
        ;
    (void)echo_add(&f);
    fake_queue_publish(f.queue);
    fake_machine_run_until(f.machine, has_interrupted_again, f.driver);
    fixture_destroy(&f);
}

static bool window_has_ended(void *arg)
{
    const struct virtio_queue *queue = arg;

    return !timer_is_armed(&queue->window);
}

Test(virtio_device, a_driver_that_became_idle_is_to_kick_again)
{
    struct fixture f = fixture_create();
    struct virtio_queue *queue = moderated_queue(&f);

    for (int i = 0; i < MODERATION_BATCH; i++)
        (void)echo_add(&f);
    fake_queue_kick(f.queue);
    fake_machine_run_until(f.machine, has_interrupted, f.driver);
    fake_machine_run_until(f.machine, window_has_ended, queue);
    settle(&f);
    cr_assert_not(queue->watch.type->rearm(&queue->watch));
    cr_assert(queue->vq.notify_enabled);
    cr_assert_eq(fake_driver_messages(f.driver, ECHO_QUEUE + 1), 1);
    fixture_destroy(&f);
}

/* The driver has other things to do than to wait for the interrupt. */
Test(virtio_device, a_window_in_which_a_request_came_is_followed_by_another)
{
    const uint64_t never_ns = UINT64_MAX / 2;
    struct fixture f = fixture_create();
    struct virtio_queue *queue = moderated_queue(&f);

    timer_arm(&queue->window, &queue->pump, never_ns);
    /* However slow this machine is, what is done may wait for another. */
    queue->oldest_ns = never_ns;
    (void)echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    cr_assert_not(has_interrupted(f.driver));
    /* As if this window were over now. */
    timer_cancel(&queue->window);
    queue->window.status = TIMER_FIRED;
    task_wake(&queue->pump);
    settle(&f);
    cr_assert_neq(queue->window.deadline_ns, never_ns);
    fake_machine_run_until(f.machine, has_interrupted, f.driver);
    fixture_destroy(&f);
}

struct window_watch {
    struct fixture *f;
    uint64_t deadline_ns;
};

static bool window_is_another(void *arg)
{
    const struct window_watch *watch = arg;

    return has_interrupted(watch->f->driver) ||
           watch->f->echo->device.queues[ECHO_QUEUE].window.deadline_ns != watch->deadline_ns;
}

/* The disk has done one and sits on the others, of which there are ever more. */
Test(virtio_device, what_is_done_does_not_wait_for_requests_that_never_are)
{
    struct fixture f = fixture_create();
    struct virtio_queue *queue = moderated_queue(&f);
    struct window_watch watch = {.f = &f};
    unsigned windows = 0;

    (void)echo_add(&f);
    fake_queue_kick(f.queue);
    fake_machine_run_until(f.machine, window_is_another, &watch);
    f.echo->held = true;
    while (!has_interrupted(f.driver)) {
        cr_assert_leq(++windows, MODERATION_WINDOWS);
        watch.deadline_ns = queue->window.deadline_ns;
        (void)echo_add(&f);
        fake_queue_publish(f.queue);
        fake_machine_run_until(f.machine, window_is_another, &watch);
    }
    echo_release(f.echo);
    fixture_destroy(&f);
}

Test(virtio_device, a_reset_does_not_wait_for_the_end_of_the_window)
{
    struct fixture f = fixture_create();
    struct virtio_queue *queue = moderated_queue(&f);

    (void)echo_add(&f);
    fake_queue_kick(f.queue);
    settle(&f);
    fake_driver_reset(f.driver);
    cr_assert_not(timer_is_armed(&queue->window));
    fake_driver_start(f.driver, EVENT_IDX, 64);
    assert_echo_works(&f);
    fixture_destroy(&f);
}
