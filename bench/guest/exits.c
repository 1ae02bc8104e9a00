/*
 * What it costs to leave the guest, each way again and again: a line "exit NAME" with its
 * histogram.
 */
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "clock.h"
#include "cmdline.h"
#include "console.h"
#include "guest.h"
#include "histogram.h"
#include "memory.h"
#include "virtio.h"

enum { QUEUE_SIZE = 16, WARM_UP_SHARE = 10 };

static struct histogram histogram;
static struct virtio disk;
static struct queue queue;
static uint8_t status;

static void mmio_read(void)
{
    (void)disk.ops->status_read(&disk);
}

/* What it is already: the device does nothing. */
static void mmio_write(void)
{
    disk.ops->status_write(&disk, status);
}

/* Of a queue that has nothing new. */
static void kick(void)
{
    queue_kick(&queue);
}

/* From asking for it to having taken it. */
static void interrupt(void)
{
    uint64_t before = interrupt_count;

    interrupt_self();
    while (interrupt_count == before)
        cpu_relax();
}

static const struct {
    const char *name;
    void (*leave)(void);
} exits[] = {
    {"kernel", exit_to_kernel}, {"port_read", exit_port_read}, {"port_write", exit_port_write},
    {"mmio_read", mmio_read},   {"mmio_write", mmio_write},    {"kick", kick},
    {"interrupt", interrupt},
};

static uint64_t leave_until(void (*leave)(void), uint64_t end_at)
{
    uint64_t count = 0, before = cycles();

    while (before < end_at) {
        uint64_t after;

        leave();
        after = cycles();
        histogram_record(&histogram, after - before);
        before = after;
        count++;
    }
    return count;
}

static void exit_run(const char *name, void (*leave)(void), uint64_t duration)
{
    uint64_t begin = cycles(), count;

    (void)leave_until(leave, begin + duration / WARM_UP_SHARE);
    histogram_clear(&histogram);
    begin = cycles();
    count = leave_until(leave, begin + duration);
    console_begin("exit ");
    console_begin(name);
    console_field("operations", count);
    console_field("ns", clock_ns(cycles() - begin));
    console_end();
    histogram_print(&histogram);
}

void exits_run(void)
{
    const struct virtio_setup setup = {
        .features = 1ULL << VIRTIO_RING_F_EVENT_IDX,
        .queue_count = 1,
        .queue_size_max = QUEUE_SIZE,
    };
    uint64_t duration = clock_cycles_of_ms(cmdline_number("time_ms", 1000));

    virtio_find(&disk, VIRTIO_ID_BLOCK);
    virtio_start(&disk, &setup, &queue);
    status = disk.ops->status_read(&disk);
    for (unsigned i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
        exit_run(exits[i].name, exits[i].leave, duration);
    virtio_reset(&disk);
}
