#include "virtio/console.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_driver.h"

enum { RECEIVE, TRANSMIT, SETTLE_TURNS = 20, PIECE = 4096 };

#define RING_FEATURES (1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC)

struct fixture {
    struct fake_machine *machine;
    struct chardev *chardev;
    struct fake_driver *driver;
    int input[2];  /* the test writes [1] */
    int output[2]; /* the test reads [0] */
};

static struct fixture fixture_create(void)
{
    struct fixture f = {.machine = fake_machine_create()};
    struct chardev_config config = {.type = CHARDEV_FDS, .name = "hvc0"};
    struct virtio_device *device;
    struct err err = {""};

    cr_assert_eq(pipe(f.input), 0);
    cr_assert_eq(pipe2(f.output, O_NONBLOCK), 0);
    config.input_fd = f.input[0];
    config.output_fd = f.output[1];
    cr_assert_eq(chardev_create(&f.chardev, f.machine->executor, &config, &err), 0, "%s", err.text);
    cr_assert_eq(virtio_console_create(&device, &f.machine->context, "console", f.chardev, &err), 0,
                 "%s", err.text);
    chardev_start(f.chardev);
    f.driver = fake_driver_attach(f.machine, device);
    return f;
}

static void chardev_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool flag_is_set(void *arg)
{
    return *(bool *)arg;
}

static void fixture_destroy(struct fixture *f)
{
    bool stopped = false;

    fake_driver_detach(f->driver);
    chardev_stop(f->chardev, clock_now_ns(), chardev_stopped, &stopped);
    fake_machine_run_until(f->machine, flag_is_set, &stopped);
    chardev_destroy(f->chardev);
    fake_machine_destroy(f->machine);
    for (int i = 0; i < 2; i++) {
        close(f->input[i]);
        close(f->output[i]);
    }
}

/* The byte at a place of a stream that never repeats within a page. */
static uint8_t stream_byte(uint32_t at)
{
    return (uint8_t)(at * 31 + (at >> 8));
}

/* Reads what came out so far and compares it with the stream. */
static void output_drain(struct fixture *f, uint32_t *at)
{
    uint8_t buffer[PIECE];
    ssize_t len;

    while ((len = read(f->output[0], buffer, sizeof(buffer))) > 0)
        for (ssize_t i = 0; i < len; i++)
            cr_assert_eq(buffer[i], stream_byte((*at)++));
}

static void output_run(uint64_t features)
{
    struct fixture f = fixture_create();
    struct fake_queue *queue = &f.driver->queues[TRANSMIT];
    struct fake_buffer buffer = fake_buffer(f.machine, 1000);
    uint32_t sent = 0, seen = 0;

    fake_driver_start(f.driver, features, 0);
    while (sent < 100000) {
        struct fake_buffer parts[3] = {buffer, buffer, buffer};

        for (int i = 0; i < 3; i++) {
            parts[i].len = 1 + (sent + i * 77U) % 300;
            parts[i].addr.addr += 300U * i;
            for (uint32_t b = 0; b < parts[i].len; b++)
                buffer.host[300 * i + b] = stream_byte(sent++);
        }
        fake_queue_add(queue, parts, 3, 0);
        fake_queue_kick(queue);
        cr_assert_eq(fake_queue_wait(queue), 0);
        output_drain(&f, &seen);
    }
    while (seen < sent) {
        fake_machine_run(f.machine, 1);
        output_drain(&f, &seen);
    }
    cr_assert_eq(seen, sent);
    fixture_destroy(&f);
}

Test(virtio_console, output_arrives_unharmed_however_it_is_cut)
{
    output_run(RING_FEATURES);
    output_run(RING_FEATURES | 1ULL << VIRTIO_F_RING_PACKED);
}

Test(virtio_console, a_reader_that_stops_holds_the_queue_and_loses_nothing)
{
    struct fixture f = fixture_create();
    struct fake_queue *queue = &f.driver->queues[TRANSMIT];
    struct fake_buffer all = fake_buffer(f.machine, 1 << 20);
    struct fake_buffer part = all;
    uint32_t seen = 0, taken = 0, len;
    uint16_t head;

    for (uint32_t i = 0; i < all.len; i++)
        all.host[i] = stream_byte(i);
    fake_driver_start(f.driver, RING_FEATURES, 0);
    /* 64 chains of 16 KiB: more than pipe and chardev hold. */
    part.len = all.len / 64;
    for (uint32_t i = 0; i < 64; i++, part.addr.addr += part.len)
        fake_queue_add(queue, &part, 1, 0);
    fake_queue_kick(queue);
    fake_machine_run(f.machine, 1000);
    while (fake_queue_take(queue, &head, &len))
        taken++;
    cr_assert_lt(taken, 64, "held");
    while (seen < all.len) {
        output_drain(&f, &seen);
        fake_machine_run(f.machine, 1);
    }
    for (; taken < 64; taken++)
        cr_assert_eq(fake_queue_wait(queue), 0);
    fixture_destroy(&f);
}

Test(virtio_console, hostile_12_a_reset_gives_up_output_that_is_held)
{
    struct fixture f = fixture_create();
    struct fake_buffer all = fake_buffer(f.machine, 1 << 20);
    struct fake_buffer line = fake_buffer(f.machine, 4);
    char buffer[PIECE];
    ssize_t len;

    fake_driver_start(f.driver, 0, 0);
    fake_queue_add(&f.driver->queues[TRANSMIT], &all, 1, 0);
    fake_queue_kick(&f.driver->queues[TRANSMIT]);
    fake_machine_run(f.machine, 100);
    cr_assert_eq(f.driver->queues[TRANSMIT].used->idx, 0);
    fake_driver_reset(f.driver);
    fake_driver_start(f.driver, 0, 0);
    memcpy(line.host, "ring", 4);
    fake_queue_add(&f.driver->queues[TRANSMIT], &line, 1, 0);
    fake_queue_kick(&f.driver->queues[TRANSMIT]);
    /* What was accepted before is still written; then comes the new line, and nothing between. */
    do {
        fake_machine_run(f.machine, 10);
        len = read(f.output[0], buffer, sizeof(buffer));
    } while (len < 0 || !memchr(buffer, 'r', (size_t)len));
    cr_assert_eq(memcmp(buffer + len - 4, "ring", 4), 0);
    fixture_destroy(&f);
}

Test(virtio_console, input_fills_the_buffers_that_are_there)
{
    struct fixture f = fixture_create();
    struct fake_queue *queue = &f.driver->queues[RECEIVE];
    struct fake_buffer buffers[] = {fake_buffer(f.machine, 4), fake_buffer(f.machine, 4),
                                    fake_buffer(f.machine, 64)};

    fake_driver_start(f.driver, RING_FEATURES, 0);
    fake_queue_add(queue, buffers, 0, 2);
    fake_queue_add(queue, buffers + 2, 0, 1);
    fake_queue_kick(queue);
    fake_machine_run(f.machine, SETTLE_TURNS);
    cr_assert_eq(queue->used->idx, 0, "no input, no answer");
    cr_assert_eq(write(f.input[1], "unharmed input", 14), 14);
    cr_assert_eq(fake_queue_wait(queue), 8);
    cr_assert_eq(fake_queue_wait(queue), 6);
    cr_assert_eq(memcmp(buffers[0].host, "unha", 4), 0);
    cr_assert_eq(memcmp(buffers[1].host, "rmed", 4), 0);
    cr_assert_eq(memcmp(buffers[2].host, " input", 6), 0);
    fixture_destroy(&f);
}

Test(virtio_console, input_waits_for_buffers)
{
    struct fixture f = fixture_create();
    struct fake_queue *queue = &f.driver->queues[RECEIVE];
    struct fake_buffer buffer = fake_buffer(f.machine, 64);

    cr_assert_eq(write(f.input[1], "early", 5), 5);
    fake_machine_run(f.machine, SETTLE_TURNS);
    fake_driver_start(f.driver, 0, 0);
    fake_machine_run(f.machine, SETTLE_TURNS);
    fake_queue_add(queue, &buffer, 0, 1);
    fake_queue_kick(queue);
    cr_assert_eq(fake_queue_wait(queue), 5);
    cr_assert_eq(memcmp(buffer.host, "early", 5), 0);
    fixture_destroy(&f);
}

Test(virtio_console, a_megabyte_of_input_arrives_unharmed)
{
    struct fixture f = fixture_create();
    struct fake_queue *queue = &f.driver->queues[RECEIVE];
    struct fake_buffer buffer = fake_buffer(f.machine, 1024);
    uint32_t written = 0, seen = 0;
    uint8_t piece[PIECE];

    fake_driver_start(f.driver, RING_FEATURES, 0);
    cr_assert_neq(fcntl(f.input[1], F_SETFL, O_NONBLOCK), -1);
    while (seen < 1 << 20) {
        uint32_t len;

        for (uint32_t i = 0; i < PIECE; i++)
            piece[i] = stream_byte(written + i);
        if (written < 1 << 20 && write(f.input[1], piece, PIECE) == PIECE)
            written += PIECE;
        fake_queue_add(queue, &buffer, 0, 1);
        fake_queue_kick(queue);
        len = fake_queue_wait(queue);
        for (uint32_t i = 0; i < len; i++)
            cr_assert_eq(buffer.host[i], stream_byte(seen++));
    }
    cr_assert_eq(seen, 1 << 20);
    fixture_destroy(&f);
}

Test(virtio_console, hostile_10_chains_the_wrong_way_round_are_given_back)
{
    struct fixture f = fixture_create();
    struct fake_buffer buffer = fake_buffer(f.machine, 64);

    fake_driver_start(f.driver, 0, 0);
    fake_queue_add(&f.driver->queues[TRANSMIT], &buffer, 0, 1);
    fake_queue_kick(&f.driver->queues[TRANSMIT]);
    cr_assert_eq(fake_queue_wait(&f.driver->queues[TRANSMIT]), 0);
    cr_assert_eq(write(f.input[1], "input", 5), 5);
    fake_queue_add(&f.driver->queues[RECEIVE], &buffer, 1, 0);
    fake_queue_add(&f.driver->queues[RECEIVE], &buffer, 0, 1);
    fake_queue_kick(&f.driver->queues[RECEIVE]);
    cr_assert_eq(fake_queue_wait(&f.driver->queues[RECEIVE]), 0);
    cr_assert_eq(fake_queue_wait(&f.driver->queues[RECEIVE]), 5, "the input is not lost");
    fixture_destroy(&f);
}

Test(virtio_console, it_has_one_port)
{
    struct fixture f = fixture_create();

    cr_assert_eq(f.driver->queue_count, 2);
    cr_assert_eq(fake_driver_read(f.driver, VIRTIO_PCI_CAP_DEVICE_CFG,
                                  offsetof(struct virtio_console_config, max_nr_ports), 4),
                 1);
    fixture_destroy(&f);
}
