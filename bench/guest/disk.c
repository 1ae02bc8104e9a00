/*
 * Requests on virtio-blk, so many at a time: for each combination of the lists depth, block, read
 * (percent of reads) and interrupts a line "case" with its histogram of latencies.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "clock.h"
#include "cmdline.h"
#include "console.h"
#include "guest.h"
#include "histogram.h"
#include "memory.h"
#include "virtio.h"

enum {
    SECTOR_SIZE = 512,
    DEPTH_MAX = 256,
    CHAIN_LENGTH = 3, /* header, data, status */
    BLOCK_MAX = 1 << 20,
    WARM_UP_SHARE = 10,
};

struct request {
    struct virtio_blk_outhdr header;
    struct vring_packed_desc table[CHAIN_LENGTH]; /* indirect; of the ring's kind */
    uint8_t *data;
    uint64_t sent_at;
    uint8_t status;
};

struct disk_case {
    unsigned depth;
    uint32_t block; /* bytes */
    unsigned read_percent;
    bool interrupts;
};

struct disk {
    struct virtio virtio;
    struct queue queue;
    struct request *requests;
    bool packed;
    bool indirect;
    bool is_checked; /* every block begins with its sector number */
    uint64_t random;
    uint64_t block_count;
    struct disk_case now;
    /* Of the case. */
    uint64_t operations, last_at;
    unsigned in_flight;
};

static struct histogram histogram;

static uint16_t head_of(const struct disk *disk, unsigned slot)
{
    return (uint16_t)(disk->indirect ? slot : CHAIN_LENGTH * slot);
}

static unsigned slot_of(const struct disk *disk, uint16_t head)
{
    return disk->indirect ? head : head / CHAIN_LENGTH;
}

/* Packed indirect tables go on without saying so (2.8.7). */
static uint16_t next_flag(const struct disk *disk)
{
    return disk->packed && disk->indirect ? 0 : VRING_DESC_F_NEXT;
}

/* Everything but what to do: that changes from one request to the next. */
static void request_init(struct disk *disk, unsigned slot)
{
    struct request *request = &disk->requests[slot];
    struct queue *queue = &disk->queue;
    void *table = disk->indirect ? request->table : queue->table;
    unsigned first = disk->indirect ? 0 : head_of(disk, slot);

    request->data = memory_alloc(disk->now.block);
    queue_desc_set(queue, table, first, &request->header, sizeof(request->header), next_flag(disk));
    queue_desc_set(queue, table, first + 1, request->data, disk->now.block, next_flag(disk));
    queue_desc_set(queue, table, first + 2, &request->status, 1, VRING_DESC_F_WRITE);
    if (disk->indirect)
        queue_desc_set(queue, queue->table, slot, request->table, sizeof(request->table),
                       VRING_DESC_F_INDIRECT);
}

static uint32_t random_next(struct disk *disk)
{
    disk->random = disk->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(disk->random >> 32);
}

static void request_send(struct disk *disk, unsigned slot, uint64_t at)
{
    struct request *request = &disk->requests[slot];
    uint64_t block = random_next(disk) * disk->block_count >> 32;
    bool is_read =
        disk->now.read_percent == 100 || random_next(disk) % 100 < disk->now.read_percent;

    request->header.type = is_read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
    request->header.sector = block * (disk->now.block / SECTOR_SIZE);
    queue_desc_flags_set(&disk->queue, disk->indirect ? request->table : disk->queue.table,
                         disk->indirect ? 1 : head_of(disk, slot) + 1U,
                         next_flag(disk) | (is_read ? VRING_DESC_F_WRITE : 0));
    request->status = UINT8_MAX;
    request->sent_at = at;
    queue_add(&disk->queue, head_of(disk, slot));
    disk->in_flight++;
}

static void request_check(const struct disk *disk, const struct request *request)
{
    if (__atomic_load_n(&request->status, __ATOMIC_RELAXED) != VIRTIO_BLK_S_OK)
        guest_fail("the disk failed a request");
    if (disk->is_checked &&
        *(const uint64_t *)(const void *)request->data != request->header.sector)
        guest_fail("a read returned something else than what is on the disk");
}

/* Keeps `depth` requests in flight until `end_at`, then waits for the last ones. */
static void requests_run(struct disk *disk, uint64_t end_at)
{
    struct queue *queue = &disk->queue;
    uint64_t at = cycles();

    for (unsigned slot = 0; slot < disk->now.depth; slot++)
        request_send(disk, slot, at);
    queue_publish(queue);
    while (disk->in_flight) {
        if (disk->now.interrupts)
            queue_sleep(queue);
        else
            while (!queue_has_used(queue))
                cpu_relax();
        at = cycles();
        while (queue_has_used(queue)) {
            unsigned slot = slot_of(disk, queue_take(queue).head);

            request_check(disk, &disk->requests[slot]);
            histogram_record(&histogram, at - disk->requests[slot].sent_at);
            disk->operations++;
            disk->in_flight--;
            if (at < end_at)
                request_send(disk, slot, at);
        }
        disk->last_at = at;
        queue_publish(queue);
    }
}

static void case_print(const struct disk *disk, uint64_t begin, uint64_t interrupts_before)
{
    const struct disk_case *now = &disk->now;

    console_begin("case");
    console_field("depth", now->depth);
    console_field("block", now->block);
    console_field("read", now->read_percent);
    console_field("interrupts", now->interrupts);
    console_field("operations", disk->operations);
    console_field("ns", clock_ns(disk->last_at - begin));
    console_field("kicks", disk->queue.kicks);
    console_field("interrupts_taken", interrupt_count - interrupts_before);
    console_end();
    histogram_print(&histogram);
}

/* In sectors; 32 bits at a time (4.2.2.2). */
static uint64_t capacity_read(const struct virtio *virtio)
{
    const volatile uint32_t *words =
        (const volatile uint32_t *)(const volatile void *)virtio->config;

    return words[0] | (uint64_t)words[1] << 32;
}

static void counters_clear(struct disk *disk)
{
    histogram_clear(&histogram);
    disk->operations = 0;
    disk->queue.kicks = 0;
}

static void case_run(struct disk *disk, uint64_t duration)
{
    struct disk_case *now = &disk->now;
    const struct virtio_setup setup = {
        .features = 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC,
        .queue_count = 1,
        .queue_size_max = DEPTH_MAX,
        .packed = disk->packed,
        .interrupts = now->interrupts,
    };
    uint64_t begin, interrupts_before;

    memory_free_all();
    virtio_start(&disk->virtio, &setup, &disk->queue);
    disk->indirect = virtio_has(&disk->virtio, VIRTIO_RING_F_INDIRECT_DESC);
    if (!now->depth || (disk->indirect ? 1U : CHAIN_LENGTH) * now->depth > disk->queue.size)
        guest_fail("depth: 0, or more requests than the queue has room for");
    if (!now->block || now->block % SECTOR_SIZE || now->block > BLOCK_MAX)
        guest_fail("block: not a number of sectors up to 1 MiB");
    disk->block_count = capacity_read(&disk->virtio) / (now->block / SECTOR_SIZE);
    if (!disk->block_count || disk->block_count > UINT32_MAX)
        guest_fail("the disk is smaller than a block, or larger than 2^32 blocks");
    disk->requests = memory_alloc(now->depth * sizeof(struct request));
    for (unsigned slot = 0; slot < now->depth; slot++)
        request_init(disk, slot);

    requests_run(disk, cycles() + duration / WARM_UP_SHARE);
    counters_clear(disk);
    interrupts_before = interrupt_count;
    begin = cycles();
    requests_run(disk, begin + duration);
    case_print(disk, begin, interrupts_before);
    virtio_reset(&disk->virtio);
}

void disk_run(void)
{
    struct cmdline_list depths, blocks, reads, interrupts;
    uint64_t duration = clock_cycles_of_ms(cmdline_number("time_ms", 1000));
    static struct disk disk;

    cmdline_list(&depths, "depth", 1);
    cmdline_list(&blocks, "block", 4096);
    cmdline_list(&reads, "read", 100);
    cmdline_list(&interrupts, "interrupts", 0);
    disk.random = cmdline_number("seed", 1);
    disk.packed = cmdline_number("packed", 0);
    disk.is_checked = cmdline_number("check", 0);
    virtio_find(&disk.virtio, VIRTIO_ID_BLOCK);
    for (unsigned i = 0; i < interrupts.count; i++)
        for (unsigned r = 0; r < reads.count; r++)
            for (unsigned b = 0; b < blocks.count; b++)
                for (unsigned d = 0; d < depths.count; d++) {
                    disk.now = (struct disk_case){.depth = (unsigned)depths.values[d],
                                                  .block = (uint32_t)blocks.values[b],
                                                  .read_percent = (unsigned)reads.values[r],
                                                  .interrupts = interrupts.values[i] != 0};
                    case_run(&disk, duration);
                }
}
