#include "virtio/blk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blk_rig.h"

/* ---- what the driver is told ---- */

Test(virtio_blk, configuration_describes_the_disk)
{
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    rig.config.queue_count = 3;
    blk_rig_start(&rig);
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
    blk_rig_end(&rig);
}

Test(virtio_blk, chosen_block_size_is_told)
{
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    rig.config.disk.block_size = 4096;
    blk_rig_start(&rig);
    cr_assert_eq(CONFIG(&rig, capacity), DISK_SECTORS);
    cr_assert_eq(CONFIG(&rig, blk_size), 4096);
    cr_assert_eq(CONFIG(&rig, physical_block_exp), 0);
    blk_rig_end(&rig);
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
    struct blk_rig rig;
    uint32_t len;

    blk_rig_image(&rig, DISK_SIZE);
    blk_image_fill(&rig, pattern, sizeof(pattern), 1);
    blk_rig_start(&rig);
    buffer = fake_buffer(rig.machine, 3 * SECTOR);
    cr_assert_eq(blk_read(&rig, 2, buffer, &len), VIRTIO_BLK_S_OK);
    cr_assert_eq(len, 3 * SECTOR + 1);
    cr_assert_arr_eq(buffer.host, pattern + 2 * SECTOR, 3 * SECTOR);
    blk_pattern(buffer.host, buffer.len, 77);
    cr_assert_eq(blk_write(&rig, DISK_SECTORS - 3, buffer, &len), VIRTIO_BLK_S_OK);
    cr_assert_eq(len, 1);
    cr_assert(blk_image_is(&rig, DISK_SIZE - 3 * SECTOR, buffer.host, buffer.len));
    cr_assert(blk_image_is(&rig, 0, pattern, sizeof(pattern)), "nothing else changed");
    blk_rig_end(&rig);
}

/* virtio 1.2, 2.7.4.1: where one buffer ends and the next begins is the driver's choice. */
Test(virtio_blk, any_layout_of_header_payload_and_status_works)
{
    struct blk_test_request request = {.readable = 0};
    uint8_t pattern[2 * SECTOR];
    struct fake_buffer all;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_image_fill(&rig, pattern, sizeof(pattern), 3);
    blk_rig_start(&rig);

    /* Read: a header in three pieces; payload in odd pieces, the last one with the status. */
    request = blk_request_make(&rig, VIRTIO_BLK_T_IN, 1);
    all = request.buffers[0];
    request.readable = 0;
    blk_request_readable(&request, (struct fake_buffer){all.addr, 5, NULL});
    blk_request_readable(&request, (struct fake_buffer){gpa(all.addr.addr + 5), 1, NULL});
    blk_request_readable(&request, (struct fake_buffer){gpa(all.addr.addr + 6), 10, NULL});
    all = fake_buffer(rig.machine, SECTOR + 1);
    blk_request_writable(&request, (struct fake_buffer){all.addr, 1, NULL});
    blk_request_writable(&request, (struct fake_buffer){gpa(all.addr.addr + 1), 100, NULL});
    blk_request_writable(&request,
                         (struct fake_buffer){gpa(all.addr.addr + 101), SECTOR - 100, NULL});
    all.host[SECTOR] = 0xff;
    fake_queue_add(rig.queue, request.buffers, request.readable, request.writable);
    fake_queue_kick(rig.queue);
    cr_assert_eq(fake_queue_wait(rig.queue), SECTOR + 1);
    cr_assert_eq(all.host[SECTOR], VIRTIO_BLK_S_OK);
    cr_assert_arr_eq(all.host, pattern + SECTOR, SECTOR);

    /* Write: header and payload in one buffer. */
    all = fake_buffer(rig.machine, sizeof(struct virtio_blk_outhdr) + SECTOR);
    blk_pattern(all.host, all.len, 4);
    request = (struct blk_test_request){.buffers = {all}, .readable = 1};
    *blk_request_header(&request) =
        (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_OUT, .sector = 9};
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    cr_assert(blk_image_is(&rig, 9 * SECTOR, all.host + sizeof(struct virtio_blk_outhdr), SECTOR));
    blk_rig_end(&rig);
}

Test(virtio_blk, request_without_header_or_status_is_consumed)
{
    struct blk_test_request request;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    /* Not even a whole header. */
    request = (struct blk_test_request){.buffers = {fake_buffer(rig.machine, 15)}, .readable = 1};
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR);
    /* Nothing readable. */
    request = (struct blk_test_request){.readable = 0};
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR);
    /* A write with no place for the status: nothing happens. */
    request = blk_request_make(&rig, VIRTIO_BLK_T_OUT, 0);
    blk_request_readable(&request, fake_buffer(rig.machine, SECTOR));
    memset(request.buffers[1].host, 1, SECTOR);
    fake_queue_add(rig.queue, request.buffers, 2, 0);
    fake_queue_kick(rig.queue);
    cr_assert_eq(fake_queue_wait(rig.queue), 0);
    cr_assert(blk_image_is(&rig, 0, (uint8_t[SECTOR]){0}, SECTOR));
    cr_assert_not(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    blk_rig_end(&rig);
}

Test(virtio_blk, transfer_of_no_sectors_succeeds)
{
    struct blk_test_request request;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    request = blk_request_make(&rig, VIRTIO_BLK_T_IN, DISK_SECTORS);
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    blk_rig_end(&rig);
}

Test(virtio_blk, transfer_of_part_of_a_sector_is_refused)
{
    struct fake_buffer buffer;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    buffer = fake_buffer(rig.machine, SECTOR + 1);
    cr_assert_eq(blk_read(&rig, 0, buffer, NULL), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_write(&rig, 0, buffer, NULL), VIRTIO_BLK_S_IOERR);
    blk_rig_end(&rig);
}

Test(virtio_blk, unknown_requests_are_unsupported)
{
    const uint32_t types[] = {2, 3, 5, 7, 9, 12, 14, 1U << 31, UINT32_MAX};
    struct blk_test_request request;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        request = blk_request_make(&rig, types[i], 0);
        cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_UNSUPP);
    }
    blk_rig_end(&rig);
}

Test(virtio_blk, id_is_twenty_bytes_filled_up_with_zeroes)
{
    struct blk_test_request request;
    struct blk_rig rig;
    uint32_t len;

    blk_rig_image(&rig, DISK_SIZE);
    rig.config.id = "serial-1";
    blk_rig_start(&rig);
    request = blk_request_make(&rig, VIRTIO_BLK_T_GET_ID, 0);
    blk_request_writable(&request, fake_buffer(rig.machine, VIRTIO_BLK_ID_BYTES));
    memset(request.buffers[1].host, 0xff, VIRTIO_BLK_ID_BYTES);
    cr_assert_eq(blk_request_run(&rig, &request, &len), VIRTIO_BLK_S_OK);
    cr_assert_eq(len, VIRTIO_BLK_ID_BYTES + 1);
    cr_assert_arr_eq(request.buffers[1].host, "serial-1\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    blk_rig_end(&rig);
}

Test(virtio_blk, longest_id_is_told_whole)
{
    struct blk_test_request request;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    rig.config.id = "12345678901234567890";
    blk_rig_start(&rig);
    request = blk_request_make(&rig, VIRTIO_BLK_T_GET_ID, 0);
    blk_request_writable(&request, fake_buffer(rig.machine, VIRTIO_BLK_ID_BYTES));
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    cr_assert_arr_eq(request.buffers[1].host, "12345678901234567890", 20);
    blk_rig_end(&rig);
}

/* ---- flush and the write cache ---- */

static uint64_t operations(struct blk_rig *rig)
{
    struct executor_stats stats;

    executor_stats_read(rig->machine->executor, &stats);
    return stats.submitted;
}

/* How many operations a write is, doorbells aside: 1, or 2 with the fdatasync behind it. */
static unsigned operations_of_write(struct blk_rig *rig)
{
    struct fake_buffer buffer = fake_buffer(rig->machine, SECTOR);
    uint64_t before;

    cr_assert_eq(blk_write(rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    before = operations(rig);
    cr_assert_eq(blk_write(rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    return (unsigned)(operations(rig) - before);
}

Test(virtio_blk, flush_is_one_operation_on_the_file)
{
    struct blk_test_request request;
    struct blk_rig rig;
    uint64_t before;

    blk_rig_file(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    before = operations(&rig);
    for (int i = 0; i < 3; i++) {
        request = blk_request_make(&rig, VIRTIO_BLK_T_FLUSH, 0);
        cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    }
    cr_assert_geq(operations(&rig) - before, 3);
    blk_rig_end(&rig);
}

Test(virtio_blk, write_is_durable_at_once_for_a_driver_that_cannot_flush)
{
    unsigned cached, through;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_attach(&rig);
    fake_driver_start(rig.driver, BIT(VIRTIO_BLK_F_FLUSH), 0);
    cached = operations_of_write(&rig);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, 0, 0);
    through = operations_of_write(&rig);
    cr_assert_eq(through, cached + 1);
    blk_rig_end(&rig);
}

Test(virtio_blk, driver_turns_the_write_cache_off_and_a_reset_turns_it_on)
{
    uint32_t wce = offsetof(struct virtio_blk_config, wce);
    unsigned cached;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    cr_assert_eq(CONFIG(&rig, wce), 1);
    cached = operations_of_write(&rig);
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, wce, 1, 0);
    cr_assert_eq(CONFIG(&rig, wce), 0);
    cr_assert_eq(operations_of_write(&rig), cached + 1);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, BLK_FEATURES, 0);
    cr_assert_eq(CONFIG(&rig, wce), 1);
    cr_assert_eq(operations_of_write(&rig), cached);
    blk_rig_end(&rig);
}

Test(virtio_blk, configuration_is_read_only_but_for_the_write_cache)
{
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    for (uint32_t i = 0; i < sizeof(struct virtio_blk_config); i++)
        if (i != offsetof(struct virtio_blk_config, wce))
            fake_driver_write(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, i, 1, 0xff);
    fake_driver_write(rig.driver, VIRTIO_PCI_CAP_DEVICE_CFG, 32, 4, 0);
    cr_assert_eq(CONFIG(&rig, capacity), DISK_SECTORS);
    cr_assert_eq(CONFIG(&rig, seg_max), 254);
    cr_assert_eq(CONFIG(&rig, wce), 1);
    blk_rig_end(&rig);
}

/* ---- discard and write-zeroes ---- */

Test(virtio_blk, discard_gives_space_back)
{
    uint8_t *pattern = malloc(DISK_SIZE);
    struct blk_rig rig;
    uint64_t before;

    blk_rig_image(&rig, DISK_SIZE);
    blk_image_fill(&rig, pattern, DISK_SIZE, 5);
    blk_rig_start(&rig);
    before = blk_image_allocated(&rig);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 64, 128, 0), VIRTIO_BLK_S_OK);
    cr_assert_eq(blk_image_allocated(&rig), before - 128 * SECTOR);
    memset(pattern + 64 * SECTOR, 0, 128 * SECTOR);
    cr_assert(blk_image_is(&rig, 0, pattern, DISK_SIZE), "nothing else changed");
    blk_rig_end(&rig);
    free(pattern);
}

static void assert_zeroes(struct blk_rig *rig, uint32_t flags)
{
    uint8_t *pattern = malloc(DISK_SIZE);
    const struct virtio_blk_discard_write_zeroes ranges[] = {
        {.sector = 1, .num_sectors = 3, .flags = flags},
        {.sector = 99, .num_sectors = 0, .flags = flags},
        {.sector = 100, .num_sectors = 900, .flags = flags},
    };

    blk_image_fill(rig, pattern, DISK_SIZE, 6);
    blk_rig_start(rig);
    cr_assert_eq(blk_run_ranges(rig, VIRTIO_BLK_T_WRITE_ZEROES, ranges, 3), VIRTIO_BLK_S_OK);
    memset(pattern + 1 * SECTOR, 0, 3 * SECTOR);
    memset(pattern + 100 * SECTOR, 0, 900 * SECTOR);
    cr_assert(blk_image_is(rig, 0, pattern, DISK_SIZE));
    free(pattern);
}

Test(virtio_blk, zeroes_with_unmap_give_space_back)
{
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    assert_zeroes(&rig, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
    cr_assert_lt(blk_image_allocated(&rig), DISK_SIZE);
    blk_rig_end(&rig);
}

/* tmpfs cannot zero a range but by writing: the space stays. */
Test(virtio_blk, zeroes_without_unmap_keep_the_space)
{
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    assert_zeroes(&rig, 0);
    cr_assert_eq(blk_image_allocated(&rig), DISK_SIZE);
    blk_rig_end(&rig);
}

Test(virtio_blk, zeroes_reach_a_file_on_a_real_file_system)
{
    struct blk_rig rig;

    blk_rig_file(&rig, DISK_SIZE);
    assert_zeroes(&rig, 0);
    blk_rig_end(&rig);
    blk_rig_file(&rig, DISK_SIZE);
    assert_zeroes(&rig, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
    blk_rig_end(&rig);
}

Test(virtio_blk, zeroes_longer_than_one_write_are_complete)
{
    enum { SIZE = 8 << 20, FROM = 4096 + SECTOR, LEN = (3 << 20) + SECTOR };
    uint8_t *pattern = malloc(SIZE);
    struct blk_rig rig;

    blk_rig_image(&rig, SIZE);
    blk_image_fill(&rig, pattern, SIZE, 7);
    blk_rig_start(&rig);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, FROM / SECTOR, LEN / SECTOR, 0),
                 VIRTIO_BLK_S_OK);
    memset(pattern + FROM, 0, LEN);
    cr_assert(blk_image_is(&rig, 0, pattern, SIZE));
    blk_rig_end(&rig);
    free(pattern);
}

Test(virtio_blk, ranges_that_break_the_rules_are_refused)
{
    struct virtio_blk_discard_write_zeroes ranges[33] = {{0}};
    struct blk_test_request request;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP,
                 "5.2.6.2: a discard has no unmap flag");
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
    cr_assert_eq(blk_run_ranges(&rig, VIRTIO_BLK_T_DISCARD, ranges, 32), VIRTIO_BLK_S_OK);
    cr_assert_eq(blk_run_ranges(&rig, VIRTIO_BLK_T_DISCARD, ranges, 33), VIRTIO_BLK_S_IOERR);
    request = blk_request_make(&rig, VIRTIO_BLK_T_DISCARD, 0);
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR, "no range");
    request = blk_request_make(&rig, VIRTIO_BLK_T_DISCARD, 0);
    blk_request_readable(&request, fake_buffer(rig.machine, 17));
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR, "part of a range");
    blk_rig_end(&rig);
}

Test(virtio_blk, ranges_need_their_feature)
{
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_attach(&rig);
    fake_driver_start(rig.driver, BIT(VIRTIO_BLK_F_FLUSH), 0);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    blk_rig_end(&rig);
}

/* ---- read-only ---- */

Test(virtio_blk, read_only_disk_is_read_and_never_changed)
{
    uint8_t pattern[SECTOR];
    struct fake_buffer buffer;
    struct blk_test_request request;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_image_fill(&rig, pattern, sizeof(pattern), 8);
    rig.config.disk.read_only = true;
    blk_rig_start(&rig);
    cr_assert(rig.driver->features & BIT(VIRTIO_BLK_F_RO));
    cr_assert_not(rig.driver->features & BIT(VIRTIO_BLK_F_DISCARD));
    cr_assert_not(rig.driver->features & BIT(VIRTIO_BLK_F_WRITE_ZEROES));
    buffer = fake_buffer(rig.machine, SECTOR);
    cr_assert_eq(blk_write(&rig, 0, buffer, NULL), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_read(&rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    cr_assert_arr_eq(buffer.host, pattern, SECTOR);
    request = blk_request_make(&rig, VIRTIO_BLK_T_FLUSH, 0);
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    blk_rig_end(&rig);
}
