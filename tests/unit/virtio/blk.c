#include "virtio/blk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_driver.h"

#define BIT(feature)  (1ULL << (feature))
#define RING_FEATURES (BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define BLK_FEATURES                                                                      \
    (BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | BIT(VIRTIO_BLK_F_DISCARD) | \
     BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_BLK_SIZE) | \
     BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_RO))

#define SECTOR       512UL
#define DISK_SIZE    (1UL << 20)
#define DISK_SECTORS (DISK_SIZE / SECTOR)

/* A machine with one disk and a driver for it. */
struct rig {
    struct fake_machine *machine;
    struct fake_driver *driver;
    struct fake_queue *queue;
    int fd; /* of the image */
    char path[64];
    struct blk_config config;
};

/* An image in memory, zeroed. */
static void rig_image(struct rig *rig, off_t size)
{
    *rig = (struct rig){.fd = memfd_create("disk", MFD_CLOEXEC)};
    cr_assert_geq(rig->fd, 0);
    cr_assert_eq(ftruncate(rig->fd, size), 0);
    snprintf(rig->path, sizeof(rig->path), "/proc/self/fd/%d", rig->fd);
    rig->config = (struct blk_config){.name = "blk0", .queue_count = 1};
}

/* An image in a file of a real file system, already unlinked. */
static void rig_file(struct rig *rig, off_t size)
{
    char path[] = "/tmp/ringvm-blk-XXXXXX";

    *rig = (struct rig){.fd = mkostemp(path, O_CLOEXEC)};
    cr_assert_geq(rig->fd, 0);
    unlink(path);
    cr_assert_eq(ftruncate(rig->fd, size), 0);
    snprintf(rig->path, sizeof(rig->path), "/proc/self/fd/%d", rig->fd);
    rig->config = (struct blk_config){.name = "blk0", .queue_count = 1};
}

static void rig_attach(struct rig *rig)
{
    struct virtio_device *device;
    struct err err = {""};

    rig->config.disk.path = rig->path;
    rig->machine = fake_machine_create();
    cr_assert_eq(virtio_blk_create(&device, &rig->machine->context, &rig->config, &err), 0, "%s",
                 err.text);
    rig->driver = fake_driver_attach(rig->machine, device);
    rig->queue = &rig->driver->queues[0];
}

static void rig_start(struct rig *rig)
{
    rig_attach(rig);
    fake_driver_start(rig->driver, BLK_FEATURES | RING_FEATURES, 0);
}

static void rig_end(struct rig *rig)
{
    fake_driver_detach(rig->driver);
    fake_machine_destroy(rig->machine);
    close(rig->fd);
}

/* A request being built: header, payload, status. */
struct request {
    struct fake_buffer buffers[64];
    uint16_t readable, writable;
    uint8_t *status;
};

static struct virtio_blk_outhdr *header_of(const struct request *request)
{
    return (struct virtio_blk_outhdr *)(void *)request->buffers[0].host;
}

static struct request request_make(struct rig *rig, uint32_t type, uint64_t sector)
{
    struct request request = {.readable = 1};

    request.buffers[0] = fake_buffer(rig->machine, sizeof(struct virtio_blk_outhdr));
    *header_of(&request) = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    return request;
}

static void request_readable(struct request *request, struct fake_buffer buffer)
{
    cr_assert_eq(request->writable, 0);
    request->buffers[request->readable++] = buffer;
}

static void request_writable(struct request *request, struct fake_buffer buffer)
{
    request->buffers[request->readable + request->writable++] = buffer;
}

/* Adds the status byte and puts the chain in the ring. */
static void request_add(struct rig *rig, struct fake_queue *queue, struct request *request)
{
    struct fake_buffer status = fake_buffer(rig->machine, 1);

    *status.host = 0xff;
    request->status = status.host;
    request_writable(request, status);
    fake_queue_add(queue, request->buffers, request->readable, request->writable);
}

/* The same, and waits: the status; *len is what the device says it wrote. */
static uint8_t request_run(struct rig *rig, struct request *request, uint32_t *len)
{
    uint32_t ignored;

    request_add(rig, rig->queue, request);
    fake_queue_kick(rig->queue);
    *(len ? len : &ignored) = fake_queue_wait(rig->queue);
    return *request->status;
}

static uint8_t read_sectors(struct rig *rig, uint64_t sector, struct fake_buffer buffer,
                            uint32_t *len)
{
    struct request request = request_make(rig, VIRTIO_BLK_T_IN, sector);

    request_writable(&request, buffer);
    return request_run(rig, &request, len);
}

static uint8_t write_sectors(struct rig *rig, uint64_t sector, struct fake_buffer buffer,
                             uint32_t *len)
{
    struct request request = request_make(rig, VIRTIO_BLK_T_OUT, sector);

    request_readable(&request, buffer);
    return request_run(rig, &request, len);
}

static uint8_t run_ranges(struct rig *rig, uint32_t type,
                          const struct virtio_blk_discard_write_zeroes *ranges, size_t count)
{
    struct request request = request_make(rig, type, 0);
    struct fake_buffer buffer = fake_buffer(rig->machine, (uint32_t)(count * sizeof(*ranges)));
    uint32_t len;
    uint8_t status;

    memcpy(buffer.host, ranges, buffer.len);
    request_readable(&request, buffer);
    status = request_run(rig, &request, &len);
    cr_assert_eq(len, 1);
    return status;
}

static uint8_t run_range(struct rig *rig, uint32_t type, uint64_t sector, uint32_t count,
                         uint32_t flags)
{
    const struct virtio_blk_discard_write_zeroes range = {
        .sector = sector, .num_sectors = count, .flags = flags};

    return run_ranges(rig, type, &range, 1);
}

/* Bytes that tell where they belong. */
static void fill_pattern(uint8_t *bytes, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((i + seed) * 2654435761U >> 13);
}

static void image_fill(struct rig *rig, uint8_t *pattern, size_t len, uint32_t seed)
{
    fill_pattern(pattern, len, seed);
    cr_assert_eq(pwrite(rig->fd, pattern, len, 0), (ssize_t)len);
}

static bool image_is(struct rig *rig, off_t offset, const void *bytes, size_t len)
{
    uint8_t *content = malloc(len);
    bool same =
        pread(rig->fd, content, len, offset) == (ssize_t)len && !memcmp(content, bytes, len);

    free(content);
    return same;
}

static uint64_t image_allocated(struct rig *rig)
{
    struct stat status;

    cr_assert_eq(fstat(rig->fd, &status), 0);
    return (uint64_t)status.st_blocks * SECTOR;
}

static uint64_t config_get(struct rig *rig, uint32_t offset, uint8_t size)
{
    return fake_driver_read(rig->driver, VIRTIO_PCI_CAP_DEVICE_CFG, offset, size);
}

#define CONFIG(rig, field)                                     \
    config_get(rig, offsetof(struct virtio_blk_config, field), \
               sizeof(((struct virtio_blk_config *)0)->field))

/* ---- what the driver is told ---- */

Test(virtio_blk, configuration_describes_the_disk)
{
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig.config.queue_count = 3;
    rig_start(&rig);
    cr_assert_eq(CONFIG(&rig, capacity), DISK_SECTORS);
    cr_assert_eq(CONFIG(&rig, seg_max), 254);
    cr_assert_eq(CONFIG(&rig, blk_size), 512);
    cr_assert_eq(CONFIG(&rig, physical_block_exp), 3);
    cr_assert_eq(CONFIG(&rig, num_queues), 3);
    cr_assert_eq(CONFIG(&rig, discard_sector_alignment), 8);
    cr_assert_eq(CONFIG(&rig, max_discard_seg), 32);
    cr_assert_eq(CONFIG(&rig, max_write_zeroes_seg), 32);
    cr_assert_gt(CONFIG(&rig, max_discard_sectors), 0);
    cr_assert_gt(CONFIG(&rig, max_write_zeroes_sectors), 0);
    cr_assert_eq(CONFIG(&rig, write_zeroes_may_unmap), 1);
    cr_assert_eq(rig.driver->features & BLK_FEATURES, BLK_FEATURES & ~BIT(VIRTIO_BLK_F_RO));
    rig_end(&rig);
}

Test(virtio_blk, chosen_block_size_is_told)
{
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig.config.disk.block_size = 4096;
    rig_start(&rig);
    cr_assert_eq(CONFIG(&rig, capacity), DISK_SECTORS);
    cr_assert_eq(CONFIG(&rig, blk_size), 4096);
    cr_assert_eq(CONFIG(&rig, physical_block_exp), 0);
    rig_end(&rig);
}

Test(virtio_blk, missing_disk_is_an_error_line)
{
    struct fake_machine *machine = fake_machine_create();
    const struct blk_config config = {
        .name = "blk0", .disk = {.path = "/nonexistent/disk"}, .queue_count = 1};
    struct virtio_device *device;
    struct err err;

    cr_assert_eq(virtio_blk_create(&device, &machine->context, &config, &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "/nonexistent/disk"));
    fake_machine_destroy(machine);
}

/* ---- requests ---- */

Test(virtio_blk, sectors_are_read_and_written_in_place)
{
    uint8_t pattern[8 * SECTOR];
    struct fake_buffer buffer;
    struct rig rig;
    uint32_t len;

    rig_image(&rig, DISK_SIZE);
    image_fill(&rig, pattern, sizeof(pattern), 1);
    rig_start(&rig);
    buffer = fake_buffer(rig.machine, 3 * SECTOR);
    cr_assert_eq(read_sectors(&rig, 2, buffer, &len), VIRTIO_BLK_S_OK);
    cr_assert_eq(len, 3 * SECTOR + 1);
    cr_assert_arr_eq(buffer.host, pattern + 2 * SECTOR, 3 * SECTOR);
    fill_pattern(buffer.host, buffer.len, 77);
    cr_assert_eq(write_sectors(&rig, DISK_SECTORS - 3, buffer, &len), VIRTIO_BLK_S_OK);
    cr_assert_eq(len, 1);
    cr_assert(image_is(&rig, DISK_SIZE - 3 * SECTOR, buffer.host, buffer.len));
    cr_assert(image_is(&rig, 0, pattern, sizeof(pattern)), "nothing else changed");
    rig_end(&rig);
}

/* virtio 1.2, 2.7.4.1: where one buffer ends and the next begins is the driver's choice. */
Test(virtio_blk, any_layout_of_header_payload_and_status_works)
{
    struct request request = {.readable = 0};
    uint8_t pattern[2 * SECTOR];
    struct fake_buffer all;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    image_fill(&rig, pattern, sizeof(pattern), 3);
    rig_start(&rig);

    /* Read: a header in three pieces; payload in odd pieces, the last one with the status. */
    request = request_make(&rig, VIRTIO_BLK_T_IN, 1);
    all = request.buffers[0];
    request.readable = 0;
    request_readable(&request, (struct fake_buffer){all.addr, 5, NULL});
    request_readable(&request, (struct fake_buffer){gpa(all.addr.addr + 5), 1, NULL});
    request_readable(&request, (struct fake_buffer){gpa(all.addr.addr + 6), 10, NULL});
    all = fake_buffer(rig.machine, SECTOR + 1);
    request_writable(&request, (struct fake_buffer){all.addr, 1, NULL});
    request_writable(&request, (struct fake_buffer){gpa(all.addr.addr + 1), 100, NULL});
    request_writable(&request, (struct fake_buffer){gpa(all.addr.addr + 101), SECTOR - 100, NULL});
    all.host[SECTOR] = 0xff;
    fake_queue_add(rig.queue, request.buffers, request.readable, request.writable);
    fake_queue_kick(rig.queue);
    cr_assert_eq(fake_queue_wait(rig.queue), SECTOR + 1);
    cr_assert_eq(all.host[SECTOR], VIRTIO_BLK_S_OK);
    cr_assert_arr_eq(all.host, pattern + SECTOR, SECTOR);

    /* Write: header and payload in one buffer. */
    all = fake_buffer(rig.machine, sizeof(struct virtio_blk_outhdr) + SECTOR);
    fill_pattern(all.host, all.len, 4);
    request = (struct request){.buffers = {all}, .readable = 1};
    *header_of(&request) = (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_OUT, .sector = 9};
    cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    cr_assert(image_is(&rig, 9 * SECTOR, all.host + sizeof(struct virtio_blk_outhdr), SECTOR));
    rig_end(&rig);
}

Test(virtio_blk, request_without_header_or_status_is_consumed)
{
    struct request request;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_start(&rig);
    /* Not even a whole header. */
    request = (struct request){.buffers = {fake_buffer(rig.machine, 15)}, .readable = 1};
    cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR);
    /* Nothing readable. */
    request = (struct request){.readable = 0};
    cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR);
    /* A write with no place for the status: nothing happens. */
    request = request_make(&rig, VIRTIO_BLK_T_OUT, 0);
    request_readable(&request, fake_buffer(rig.machine, SECTOR));
    memset(request.buffers[1].host, 1, SECTOR);
    fake_queue_add(rig.queue, request.buffers, 2, 0);
    fake_queue_kick(rig.queue);
    cr_assert_eq(fake_queue_wait(rig.queue), 0);
    cr_assert(image_is(&rig, 0, (uint8_t[SECTOR]){0}, SECTOR));
    cr_assert_not(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    rig_end(&rig);
}

Test(virtio_blk, transfer_of_no_sectors_succeeds)
{
    struct request request;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_start(&rig);
    request = request_make(&rig, VIRTIO_BLK_T_IN, DISK_SECTORS);
    cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    rig_end(&rig);
}

Test(virtio_blk, transfer_of_part_of_a_sector_is_refused)
{
    struct fake_buffer buffer;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_start(&rig);
    buffer = fake_buffer(rig.machine, SECTOR + 1);
    cr_assert_eq(read_sectors(&rig, 0, buffer, NULL), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(write_sectors(&rig, 0, buffer, NULL), VIRTIO_BLK_S_IOERR);
    rig_end(&rig);
}

Test(virtio_blk, unknown_requests_are_unsupported)
{
    const uint32_t types[] = {2, 3, 5, 7, 9, 12, 14, 1U << 31, UINT32_MAX};
    struct request request;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_start(&rig);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        request = request_make(&rig, types[i], 0);
        cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_UNSUPP);
    }
    rig_end(&rig);
}

Test(virtio_blk, id_is_twenty_bytes_filled_up_with_zeroes)
{
    struct request request;
    struct rig rig;
    uint32_t len;

    rig_image(&rig, DISK_SIZE);
    rig.config.id = "serial-1";
    rig_start(&rig);
    request = request_make(&rig, VIRTIO_BLK_T_GET_ID, 0);
    request_writable(&request, fake_buffer(rig.machine, VIRTIO_BLK_ID_BYTES));
    memset(request.buffers[1].host, 0xff, VIRTIO_BLK_ID_BYTES);
    cr_assert_eq(request_run(&rig, &request, &len), VIRTIO_BLK_S_OK);
    cr_assert_eq(len, VIRTIO_BLK_ID_BYTES + 1);
    cr_assert_arr_eq(request.buffers[1].host, "serial-1\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    rig_end(&rig);
}

Test(virtio_blk, longest_id_is_told_whole)
{
    struct request request;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig.config.id = "12345678901234567890";
    rig_start(&rig);
    request = request_make(&rig, VIRTIO_BLK_T_GET_ID, 0);
    request_writable(&request, fake_buffer(rig.machine, VIRTIO_BLK_ID_BYTES));
    cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    cr_assert_arr_eq(request.buffers[1].host, "12345678901234567890", 20);
    rig_end(&rig);
}

/* ---- flush and the write cache ---- */

static uint64_t operations(struct rig *rig)
{
    struct executor_stats stats;

    executor_stats_read(rig->machine->executor, &stats);
    return stats.submitted;
}

/* How many operations a write is, doorbells aside: 1, or 2 with the fdatasync behind it. */
static unsigned operations_of_write(struct rig *rig)
{
    struct fake_buffer buffer = fake_buffer(rig->machine, SECTOR);
    uint64_t before;

    cr_assert_eq(write_sectors(rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    before = operations(rig);
    cr_assert_eq(write_sectors(rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    return (unsigned)(operations(rig) - before);
}

Test(virtio_blk, flush_is_one_operation_on_the_file)
{
    struct request request;
    struct rig rig;
    uint64_t before;

    rig_file(&rig, DISK_SIZE);
    rig_start(&rig);
    before = operations(&rig);
    for (int i = 0; i < 3; i++) {
        request = request_make(&rig, VIRTIO_BLK_T_FLUSH, 0);
        cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    }
    cr_assert_geq(operations(&rig) - before, 3);
    rig_end(&rig);
}

Test(virtio_blk, write_is_durable_at_once_for_a_driver_that_cannot_flush)
{
    unsigned cached, through;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_attach(&rig);
    fake_driver_start(rig.driver, BIT(VIRTIO_BLK_F_FLUSH), 0);
    cached = operations_of_write(&rig);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, 0, 0);
    through = operations_of_write(&rig);
    cr_assert_eq(through, cached + 1);
    rig_end(&rig);
}

Test(virtio_blk, driver_turns_the_write_cache_off_and_a_reset_turns_it_on)
{
    uint32_t wce = offsetof(struct virtio_blk_config, wce);
    unsigned cached;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_start(&rig);
    cr_assert_eq(CONFIG(&rig, wce), 1);
    cached = operations_of_write(&rig);
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, wce, 1, 0);
    cr_assert_eq(CONFIG(&rig, wce), 0);
    cr_assert_eq(operations_of_write(&rig), cached + 1);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, BLK_FEATURES, 0);
    cr_assert_eq(CONFIG(&rig, wce), 1);
    cr_assert_eq(operations_of_write(&rig), cached);
    rig_end(&rig);
}

Test(virtio_blk, configuration_is_read_only_but_for_the_write_cache)
{
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_start(&rig);
    for (uint32_t i = 0; i < sizeof(struct virtio_blk_config); i++)
        if (i != offsetof(struct virtio_blk_config, wce))
            fake_driver_write(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, i, 1, 0xff);
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 32, 4, 0);
    cr_assert_eq(CONFIG(&rig, capacity), DISK_SECTORS);
    cr_assert_eq(CONFIG(&rig, seg_max), 254);
    cr_assert_eq(CONFIG(&rig, wce), 1);
    rig_end(&rig);
}

/* ---- discard and write-zeroes ---- */

Test(virtio_blk, discard_gives_space_back)
{
    uint8_t *pattern = malloc(DISK_SIZE);
    struct rig rig;
    uint64_t before;

    rig_image(&rig, DISK_SIZE);
    image_fill(&rig, pattern, DISK_SIZE, 5);
    rig_start(&rig);
    before = image_allocated(&rig);
    cr_assert_eq(run_range(&rig, VIRTIO_BLK_T_DISCARD, 64, 128, 0), VIRTIO_BLK_S_OK);
    cr_assert_eq(image_allocated(&rig), before - 128 * SECTOR);
    memset(pattern + 64 * SECTOR, 0, 128 * SECTOR);
    cr_assert(image_is(&rig, 0, pattern, DISK_SIZE), "nothing else changed");
    rig_end(&rig);
    free(pattern);
}

static void assert_zeroes(struct rig *rig, uint32_t flags)
{
    uint8_t *pattern = malloc(DISK_SIZE);
    const struct virtio_blk_discard_write_zeroes ranges[] = {
        {.sector = 1, .num_sectors = 3, .flags = flags},
        {.sector = 99, .num_sectors = 0, .flags = flags},
        {.sector = 100, .num_sectors = 900, .flags = flags},
    };

    image_fill(rig, pattern, DISK_SIZE, 6);
    rig_start(rig);
    cr_assert_eq(run_ranges(rig, VIRTIO_BLK_T_WRITE_ZEROES, ranges, 3), VIRTIO_BLK_S_OK);
    memset(pattern + 1 * SECTOR, 0, 3 * SECTOR);
    memset(pattern + 100 * SECTOR, 0, 900 * SECTOR);
    cr_assert(image_is(rig, 0, pattern, DISK_SIZE));
    free(pattern);
}

Test(virtio_blk, zeroes_with_unmap_give_space_back)
{
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    assert_zeroes(&rig, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
    cr_assert_lt(image_allocated(&rig), DISK_SIZE);
    rig_end(&rig);
}

/* tmpfs cannot zero a range but by writing: the space stays. */
Test(virtio_blk, zeroes_without_unmap_keep_the_space)
{
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    assert_zeroes(&rig, 0);
    cr_assert_eq(image_allocated(&rig), DISK_SIZE);
    rig_end(&rig);
}

Test(virtio_blk, zeroes_reach_a_file_on_a_real_file_system)
{
    struct rig rig;

    rig_file(&rig, DISK_SIZE);
    assert_zeroes(&rig, 0);
    rig_end(&rig);
    rig_file(&rig, DISK_SIZE);
    assert_zeroes(&rig, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
    rig_end(&rig);
}

Test(virtio_blk, zeroes_longer_than_one_write_are_complete)
{
    enum { SIZE = 8 << 20, FROM = 4096 + SECTOR, LEN = (3 << 20) + SECTOR };
    uint8_t *pattern = malloc(SIZE);
    struct rig rig;

    rig_image(&rig, SIZE);
    image_fill(&rig, pattern, SIZE, 7);
    rig_start(&rig);
    cr_assert_eq(run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, FROM / SECTOR, LEN / SECTOR, 0),
                 VIRTIO_BLK_S_OK);
    memset(pattern + FROM, 0, LEN);
    cr_assert(image_is(&rig, 0, pattern, SIZE));
    rig_end(&rig);
    free(pattern);
}

Test(virtio_blk, ranges_that_break_the_rules_are_refused)
{
    struct virtio_blk_discard_write_zeroes ranges[33] = {{0}};
    struct request request;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_start(&rig);
    cr_assert_eq(run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP,
                 "5.2.6.2: a discard has no unmap flag");
    cr_assert_eq(run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
    cr_assert_eq(run_ranges(&rig, VIRTIO_BLK_T_DISCARD, ranges, 32), VIRTIO_BLK_S_OK);
    cr_assert_eq(run_ranges(&rig, VIRTIO_BLK_T_DISCARD, ranges, 33), VIRTIO_BLK_S_IOERR);
    request = request_make(&rig, VIRTIO_BLK_T_DISCARD, 0);
    cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR, "no range");
    request = request_make(&rig, VIRTIO_BLK_T_DISCARD, 0);
    request_readable(&request, fake_buffer(rig.machine, 17));
    cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR, "part of a range");
    rig_end(&rig);
}

Test(virtio_blk, ranges_need_their_feature)
{
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    rig_attach(&rig);
    fake_driver_start(rig.driver, BIT(VIRTIO_BLK_F_FLUSH), 0);
    cr_assert_eq(run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    cr_assert_eq(run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    rig_end(&rig);
}

/* ---- read-only ---- */

Test(virtio_blk, read_only_disk_is_read_and_never_changed)
{
    uint8_t pattern[SECTOR];
    struct fake_buffer buffer;
    struct request request;
    struct rig rig;

    rig_image(&rig, DISK_SIZE);
    image_fill(&rig, pattern, sizeof(pattern), 8);
    rig.config.disk.read_only = true;
    rig_start(&rig);
    cr_assert(rig.driver->features & BIT(VIRTIO_BLK_F_RO));
    cr_assert_not(rig.driver->features & BIT(VIRTIO_BLK_F_DISCARD));
    cr_assert_not(rig.driver->features & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
    buffer = fake_buffer(rig.machine, SECTOR);
    cr_assert_eq(write_sectors(&rig, 0, buffer, NULL), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(read_sectors(&rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    cr_assert_arr_eq(buffer.host, pattern, SECTOR);
    request = request_make(&rig, VIRTIO_BLK_T_FLUSH, 0);
    cr_assert_eq(request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    rig_end(&rig);
}
