/* What hostile drivers and failing hosts do to a disk; hostile_NN are rows of its threat list. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/virtio_config.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blk_rig.h"

Test(virtio_blk, hostile_01_same_head_twice_while_in_flight)
{
    struct blk_test_request request;
    struct blk_rig rig;
    uint16_t head;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    request = blk_request_make(&rig, VIRTIO_BLK_T_OUT, 0);
    blk_request_readable(&request, fake_buffer(rig.machine, 64 * SECTOR));
    head = rig.queue->free_head;
    blk_request_add(&rig, rig.queue, &request);
    fake_queue_add_head(rig.queue, head);
    fake_queue_kick(rig.queue);
    fake_machine_run(rig.machine, 50);
    cr_assert(fake_driver_status(rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
    fake_driver_reset(rig.driver);
    fake_driver_start(rig.driver, BLK_FEATURES, 0);
    cr_assert_eq(blk_write(&rig, 0, fake_buffer(rig.machine, SECTOR), NULL), VIRTIO_BLK_S_OK);
    blk_rig_end(&rig);
}

/* The header says something else as soon as the device has looked at it. */
Test(virtio_blk, hostile_08_header_that_changes_has_no_effect)
{
    struct virtio_blk_discard_write_zeroes ranges[2] = {{.sector = 8, .num_sectors = 8},
                                                        {.sector = 24, .num_sectors = 8}};
    uint8_t *pattern = malloc(DISK_SIZE);
    struct blk_test_request request;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_image_fill(&rig, pattern, DISK_SIZE, 1);
    blk_rig_start(&rig);
    request = blk_request_make(&rig, VIRTIO_BLK_T_DISCARD, 0);
    blk_request_readable(&request, fake_buffer(rig.machine, sizeof(ranges)));
    memcpy(request.buffers[1].host, ranges, sizeof(ranges));
    blk_request_add(&rig, rig.queue, &request);
    fake_queue_kick(rig.queue);
    fake_machine_run(rig.machine, 2);
    *blk_request_header(&request) =
        (struct virtio_blk_outhdr){.type = VIRTIO_BLK_T_OUT, .sector = UINT64_MAX};
    fake_queue_wait(rig.queue);
    cr_assert_eq(*request.status, VIRTIO_BLK_S_OK);
    memset(pattern + 8 * SECTOR, 0, 8 * SECTOR);
    memset(pattern + 24 * SECTOR, 0, 8 * SECTOR);
    cr_assert(blk_image_is(&rig, 0, pattern, DISK_SIZE));
    blk_rig_end(&rig);
    free(pattern);
}

Test(virtio_blk, hostile_09_sectors_beyond_the_disk_are_refused)
{
    const uint64_t starts[] = {
        DISK_SECTORS - 7,        DISK_SECTORS,   DISK_SECTORS + 1,   1ULL << 32,
        (1ULL << 55) - 1,        1ULL << 55,     (1ULL << 55) + 8,   1ULL << 63,
        UINT64_MAX / SECTOR,     UINT64_MAX - 7, UINT64_MAX - 8 + 1, UINT64_MAX,
        UINT64_MAX / SECTOR - 7,
    };
    struct fake_buffer buffer;
    struct blk_rig rig;
    struct stat status;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    buffer = fake_buffer(rig.machine, 8 * SECTOR);
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        cr_assert_eq(blk_read(&rig, starts[i], buffer, NULL), VIRTIO_BLK_S_IOERR);
        cr_assert_eq(blk_write(&rig, starts[i], buffer, NULL), VIRTIO_BLK_S_IOERR);
        cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, starts[i], 8, 0),
                     VIRTIO_BLK_S_IOERR);
        cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, starts[i], 8, 0),
                     VIRTIO_BLK_S_IOERR);
    }
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 1, UINT32_MAX, 0),
                 VIRTIO_BLK_S_IOERR);
    cr_assert_eq(fstat(rig.fd, &status), 0);
    cr_assert_eq((uint64_t)status.st_size, DISK_SIZE, "the image did not grow");
    cr_assert_eq(blk_read(&rig, DISK_SECTORS - 8, buffer, NULL), VIRTIO_BLK_S_OK);
    blk_rig_end(&rig);
}

/* On a disk where they would fit. */
Test(virtio_blk, hostile_09_ranges_longer_than_the_device_said_are_refused)
{
    struct blk_rig rig;

    blk_rig_image(&rig, (off_t)16 << 30);
    blk_rig_start(&rig);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 0,
                               (uint32_t)CONFIG(&rig, max_discard_sectors), 0),
                 VIRTIO_BLK_S_OK);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 0,
                               (uint32_t)CONFIG(&rig, max_discard_sectors) + 1, 0),
                 VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, (1U << 23) + 8, 0),
                 VIRTIO_BLK_S_IOERR, "4 GiB and a little");
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0,
                               (uint32_t)CONFIG(&rig, max_write_zeroes_sectors) + 1,
                               VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
                 VIRTIO_BLK_S_IOERR);
    blk_rig_end(&rig);
}

Test(virtio_blk, hostile_10_transfer_larger_than_the_disk_is_refused)
{
    struct blk_test_request request;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    rig.queue->indirect = true;
    request = blk_request_make(&rig, VIRTIO_BLK_T_IN, 0);
    for (int i = 0; i < 60; i++)
        blk_request_writable(&request, (struct fake_buffer){gpa(0x100000), 60 << 20, NULL});
    cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_IOERR);
    blk_rig_end(&rig);
}

/* One system call moves 2 GiB less a page at most: what it leaves is read next, in its place. */
Test(virtio_blk, hostile_11_transfer_longer_than_a_system_call_goes_on_where_it_stopped)
{
    enum { PART = 40 << 20, LAST_PART = 8 << 20, TAIL = 1 << 20 };
    const struct fake_buffer part = {gpa(16 << 20), PART, NULL};
    uint8_t *pattern = malloc(TAIL);
    struct blk_test_request request;
    struct fake_buffer tail;
    struct blk_rig rig;
    uint32_t len;

    blk_rig_image(&rig, (2LL << 30) + TAIL);
    blk_pattern(pattern, TAIL, 3);
    cr_assert_eq(pwrite(rig.fd, pattern, TAIL, 2LL << 30), TAIL);
    blk_rig_start(&rig);
    rig.queue->indirect = true;
    tail = fake_buffer(rig.machine, TAIL);
    request = blk_request_make(&rig, VIRTIO_BLK_T_IN, 0);
    /* 2 GiB of zeroes, all into the same memory. */
    for (int i = 0; i < 51; i++)
        blk_request_writable(&request, part);
    blk_request_writable(&request, (struct fake_buffer){part.addr, LAST_PART, NULL});
    blk_request_writable(&request, tail);
    cr_assert_eq(blk_request_run(&rig, &request, &len), VIRTIO_BLK_S_OK);
    cr_assert_eq(len, (2U << 30) + TAIL + 1);
    cr_assert_arr_eq(tail.host, pattern, TAIL);
    blk_rig_end(&rig);
    free(pattern);
}

Test(virtio_blk, hostile_11_read_past_the_end_of_a_file_that_shrank_fails_after_what_there_is)
{
    uint8_t pattern[4 * SECTOR];
    struct fake_buffer buffer;
    struct blk_rig rig;
    uint32_t len;

    blk_rig_image(&rig, DISK_SIZE);
    blk_image_fill(&rig, pattern, sizeof(pattern), 5);
    blk_rig_start(&rig);
    cr_assert_eq(ftruncate(rig.fd, 3 * SECTOR), 0);
    buffer = fake_buffer(rig.machine, 8 * SECTOR);
    memset(buffer.host, 0x5a, buffer.len);
    cr_assert_eq(blk_read(&rig, 1, buffer, &len), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(len, 2 * SECTOR, "what was written to the buffer, from its front");
    cr_assert_arr_eq(buffer.host, pattern + SECTOR, 2 * SECTOR);
    cr_assert_eq(buffer.host[2 * SECTOR], 0x5a);
    cr_assert_eq(blk_read(&rig, 0, (struct fake_buffer){buffer.addr, SECTOR, NULL}, NULL),
                 VIRTIO_BLK_S_OK, "the disk goes on");
    blk_rig_end(&rig);
}

/* The process may write no further than this: a short write, then an error. */
Test(virtio_blk, hostile_11_write_that_the_host_cuts_short_fails_once)
{
    const struct rlimit limit = {6 * SECTOR, RLIM_INFINITY};
    struct fake_buffer buffer;
    struct blk_rig rig;

    blk_rig_file(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    buffer = fake_buffer(rig.machine, 8 * SECTOR);
    blk_pattern(buffer.host, buffer.len, 6);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(blk_write(&rig, 2, buffer, NULL), VIRTIO_BLK_S_IOERR);
    cr_assert(blk_image_is(&rig, 2 * SECTOR, buffer.host, 4 * SECTOR), "each byte in its place");
    cr_assert(blk_image_is(&rig, 6 * SECTOR, (uint8_t[SECTOR]){0}, SECTOR));
    cr_assert_eq(blk_write(&rig, 0, (struct fake_buffer){buffer.addr, SECTOR, NULL}, NULL),
                 VIRTIO_BLK_S_OK, "the disk goes on");
    blk_rig_end(&rig);
}

Test(virtio_blk, hostile_12_reset_with_requests_in_flight)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
                                     VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};
    struct blk_test_request requests[40];
    struct blk_rig rig;

    blk_rig_file(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    for (unsigned turns = 0; turns < 12; turns++) {
        for (uint32_t i = 0; i < 40; i++) {
            struct virtio_blk_discard_write_zeroes range = {.sector = 8 * i, .num_sectors = 64};
            struct fake_buffer buffer = fake_buffer(rig.machine, 16 * SECTOR);
            uint32_t type = types[i % 5];

            requests[i] = blk_request_make(&rig, type, 8 * i);
            if (type == VIRTIO_BLK_T_IN)
                blk_request_writable(&requests[i], buffer);
            else if (type == VIRTIO_BLK_T_OUT)
                blk_request_readable(&requests[i], buffer);
            else if (type != VIRTIO_BLK_T_FLUSH)
                blk_request_readable(&requests[i],
                                     (struct fake_buffer){buffer.addr, sizeof(range), buffer.host});
            memcpy(buffer.host, &range, sizeof(range));
            blk_request_add(&rig, rig.queue, &requests[i]);
        }
        fake_queue_kick(rig.queue);
        if (turns)
            fake_machine_run(rig.machine, turns);
        fake_driver_reset(rig.driver);
        for (int i = 0; i < 40; i++) {
            *requests[i].status = 0x5a;
            if (types[i % 5] == VIRTIO_BLK_T_IN)
                memset(requests[i].buffers[1].host, 0x5a, 16 * SECTOR);
        }
        fake_machine_run(rig.machine, 50);
        for (int i = 0; i < 40; i++) {
            cr_assert_eq(*requests[i].status, 0x5a, "guest memory changed after the reset");
            for (uint32_t k = 0; types[i % 5] == VIRTIO_BLK_T_IN && k < 16 * SECTOR; k++)
                cr_assert_eq(requests[i].buffers[1].host[k], 0x5a);
        }
        fake_driver_start(rig.driver, BLK_FEATURES | RING_FEATURES, 0);
    }
    cr_assert_eq(blk_write(&rig, 0, fake_buffer(rig.machine, SECTOR), NULL), VIRTIO_BLK_S_OK);
    blk_rig_end(&rig);
}

/* Every image is raw, whatever a guest writes into it. */
Test(virtio_blk, hostile_18_format_is_never_guessed)
{
    const uint8_t qcow2[64] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 16};
    struct fake_buffer buffer;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    cr_assert_eq(pwrite(rig.fd, qcow2, sizeof(qcow2), 0), sizeof(qcow2));
    blk_rig_start(&rig);
    cr_assert_eq(CONFIG(&rig, capacity), DISK_SECTORS);
    buffer = fake_buffer(rig.machine, SECTOR);
    cr_assert_eq(blk_read(&rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    cr_assert_arr_eq(buffer.host, qcow2, sizeof(qcow2));
    blk_rig_end(&rig);
}

/* ---- the host fails ---- */

Test(virtio_blk, full_file_system_fails_writes_and_nothing_else)
{
    char directory[] = "/tmp/ringvm-full-XXXXXX";
    struct fake_buffer buffer;
    struct blk_rig rig;

    cr_assert_not_null(mkdtemp(directory));
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", directory, "tmpfs", 0, "size=64k"))
        cr_skip_test("needs root, to mount a small file system");
    blk_rig_image(&rig, 0);
    snprintf(rig.path, sizeof(rig.path), "%s/image", directory);
    close(rig.fd);
    rig.fd = open(rig.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(rig.fd, DISK_SIZE), 0);
    blk_rig_start(&rig);
    buffer = fake_buffer(rig.machine, 128 << 10);
    cr_assert_eq(blk_write(&rig, 0, buffer, NULL), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, DISK_SECTORS, 0),
                 VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_read(&rig, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    cr_assert_eq(blk_run_range(&rig, VIRTIO_BLK_T_DISCARD, 0, DISK_SECTORS, 0), VIRTIO_BLK_S_OK);
    buffer.len = 4096;
    cr_assert_eq(blk_write(&rig, 0, buffer, NULL), VIRTIO_BLK_S_OK, "there is space again");
    blk_rig_end(&rig);
    umount2(directory, MNT_DETACH);
    rmdir(directory);
}

/* A rig whose disk is a loop device of its own, which ends with loop_rig_end. Skips where that is
 * impossible. */
struct loop_rig {
    struct blk_rig blk;
    int control, fd;
    long number;
};

static void loop_rig_start(struct loop_rig *rig)
{
    struct loop_config config = {.block_size = 512};

    rig->number = 4096 + getpid() % 65536;
    rig->control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (rig->control < 0 || ioctl(rig->control, LOOP_CTL_ADD, rig->number) < 0)
        cr_skip_test("needs root and a loop device");
    blk_rig_file(&rig->blk, DISK_SIZE);
    snprintf(rig->blk.path, sizeof(rig->blk.path), "/dev/loop%ld", rig->number);
    config.fd = (uint32_t)rig->blk.fd;
    rig->fd = open(rig->blk.path, O_RDWR | O_CLOEXEC);
    cr_assert_eq(ioctl(rig->fd, LOOP_CONFIGURE, &config), 0);
    blk_rig_start(&rig->blk);
}

static void loop_rig_end(struct loop_rig *rig)
{
    blk_rig_end(&rig->blk);
    cr_assert_eq(ioctl(rig->fd, LOOP_CLR_FD), 0);
    close(rig->fd);
    cr_assert_eq(ioctl(rig->control, LOOP_CTL_REMOVE, rig->number), 0);
    close(rig->control);
}

/* A loop device whose image lost its end: reads and writes there are input/output errors. */
Test(virtio_blk, failing_block_device_fails_requests_and_goes_on)
{
    struct blk_test_request flush;
    struct fake_buffer buffer;
    struct loop_rig rig;

    loop_rig_start(&rig);
    cr_assert_eq(CONFIG(&rig.blk, capacity), DISK_SECTORS);
    buffer = fake_buffer(rig.blk.machine, 8 * SECTOR);
    cr_assert_eq(ftruncate(rig.blk.fd, DISK_SIZE / 2), 0);
    cr_assert_eq(blk_read(&rig.blk, DISK_SECTORS - 8, buffer, NULL), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_read(&rig.blk, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    cr_assert_eq(blk_write(&rig.blk, 0, buffer, NULL), VIRTIO_BLK_S_OK);
    cr_assert_eq(blk_run_range(&rig.blk, VIRTIO_BLK_T_DISCARD, 0, 64, 0), VIRTIO_BLK_S_OK);
    flush = blk_request_make(&rig.blk, VIRTIO_BLK_T_FLUSH, 0);
    cr_assert_eq(blk_request_run(&rig.blk, &flush, NULL), VIRTIO_BLK_S_OK);
    loop_rig_end(&rig);
}

/* The host's owner may switch discards of a block device off, also while a guest has it. */
Test(virtio_blk, discard_is_offered_and_acknowledged_only_where_it_discards)
{
    struct loop_rig rig;
    char path[96];
    int limit;

    loop_rig_start(&rig);
    snprintf(path, sizeof(path), "/sys/block/loop%ld/queue/discard_max_bytes", rig.number);
    limit = open(path, O_WRONLY | O_CLOEXEC);
    if (limit < 0) {
        loop_rig_end(&rig);
        cr_skip_test("needs a /sys that can be written, to limit the discards of a block device");
    }
    cr_assert(rig.blk.driver->features & BIT(VIRTIO_BLK_F_DISCARD));
    cr_assert_eq(blk_run_range(&rig.blk, VIRTIO_BLK_T_DISCARD, 0, 64, 0), VIRTIO_BLK_S_OK);
    cr_assert_eq(write(limit, "0", 1), 1);
    cr_assert_eq(blk_run_range(&rig.blk, VIRTIO_BLK_T_DISCARD, 64, 64, 0), VIRTIO_BLK_S_UNSUPP);
    fake_driver_detach(rig.blk.driver);
    fake_machine_destroy(rig.blk.machine);
    blk_rig_start(&rig.blk);
    cr_assert_not(rig.blk.driver->features & BIT(VIRTIO_BLK_F_DISCARD));
    close(limit);
    loop_rig_end(&rig);
}
