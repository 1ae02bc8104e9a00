/*
 * Nothing: after some reads of the first virtio-blk and a frame there and back on the first
 * virtio-net, both of which stay as they are, a line "idle" and sleep without end.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "cmdline.h"
#include "console.h"
#include "guest.h"
#include "memory.h"
#include "virtio.h"

enum { RX, TX, NET_QUEUE_COUNT };
enum {
    QUEUE_SIZE = 256,
    CHAIN_LENGTH = 3, /* header, data, status */
    READ_COUNT = 32,  /* at once */
    READ_SIZE = 4096,
    SECTOR_SIZE = 512,
    BUFFER_SIZE = 2048,
    FRAME_SIZE = 60,
    /* As net.c and the peer on the host have it. */
    TYPE_OFFSET = 12,
    ORDER_OFFSET = 14,
    ORDER_ECHO = 'e',
};

struct read {
    struct virtio_blk_outhdr header;
    uint8_t status;
};

static struct virtio disk, net;
static struct queue disk_queue, net_queues[NET_QUEUE_COUNT];

static void device_start(struct virtio *virtio, uint16_t id, struct queue *queues, uint16_t count)
{
    struct virtio_setup setup = {
        .features = 1ULL << VIRTIO_RING_F_EVENT_IDX,
        .queue_count = count,
        .queue_size_max = QUEUE_SIZE,
        .packed = cmdline_number("packed", 0),
    };

    virtio_find(virtio, id);
    setup.interrupts = virtio->has_interrupts;
    virtio_start(virtio, &setup, queues);
}

static void used_await(struct queue *queue)
{
    while (!queue_has_used(queue))
        cpu_relax();
}

static void disk_read_some(void)
{
    struct read *reads;

    device_start(&disk, VIRTIO_ID_BLOCK, &disk_queue, 1);
    if (disk_queue.size < CHAIN_LENGTH * READ_COUNT)
        guest_fail("the disk's queue is too small");
    reads = memory_alloc(READ_COUNT * sizeof(*reads));
    for (unsigned i = 0; i < READ_COUNT; i++) {
        void *table = disk_queue.table;
        unsigned first = CHAIN_LENGTH * i;

        reads[i].header.type = VIRTIO_BLK_T_IN;
        reads[i].header.sector = (uint64_t)i * (READ_SIZE / SECTOR_SIZE);
        queue_desc_set(&disk_queue, table, first, &reads[i].header, sizeof(reads[i].header),
                       VRING_DESC_F_NEXT);
        queue_desc_set(&disk_queue, table, first + 1, memory_alloc(READ_SIZE), READ_SIZE,
                       VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
        queue_desc_set(&disk_queue, table, first + 2, &reads[i].status, 1, VRING_DESC_F_WRITE);
        queue_add(&disk_queue, (uint16_t)first);
    }
    queue_publish(&disk_queue);
    for (unsigned i = 0; i < READ_COUNT; i++) {
        used_await(&disk_queue);
        (void)queue_take(&disk_queue);
    }
}

static void frame_echo(void)
{
    struct queue *rx = &net_queues[RX], *tx = &net_queues[TX];
    uint8_t *frame = memory_alloc(BUFFER_SIZE);

    device_start(&net, VIRTIO_ID_NET, net_queues, NET_QUEUE_COUNT);
    for (unsigned i = 0; i < rx->size; i++) {
        queue_desc_set(rx, rx->table, i, memory_alloc(BUFFER_SIZE), BUFFER_SIZE,
                       VRING_DESC_F_WRITE);
        queue_add(rx, (uint16_t)i);
    }
    queue_publish(rx);
    memset(frame + sizeof(struct virtio_net_hdr_v1), 0xff, 6);
    frame[sizeof(struct virtio_net_hdr_v1) + TYPE_OFFSET] = 0x88;
    frame[sizeof(struct virtio_net_hdr_v1) + TYPE_OFFSET + 1] = 0xb5;
    frame[sizeof(struct virtio_net_hdr_v1) + ORDER_OFFSET] = ORDER_ECHO;
    queue_desc_set(tx, tx->table, 0, frame, sizeof(struct virtio_net_hdr_v1) + FRAME_SIZE, 0);
    queue_add(tx, 0);
    queue_publish(tx);
    used_await(tx);
    used_await(rx);
}

void idle_run(void)
{
    static const uint16_t nothing;
    const struct sleep_watch watches[SLEEP_WATCH_COUNT] = {{&nothing, 0}, {&nothing, 0}};

    disk_read_some();
    frame_echo();
    console_begin("idle");
    console_end();
    for (;;)
        interrupt_wait(watches);
}
