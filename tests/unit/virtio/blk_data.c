/* Data integrity: queues, direct I/O, and random requests against a model. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/arith.h"
#include "blk_rig.h"

Test(virtio_blk, every_queue_serves_requests_with_an_interrupt_of_its_own)
{
    enum { QUEUE_COUNT = 4 };
    struct blk_test_request requests[QUEUE_COUNT];
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    rig.config.queue_count = QUEUE_COUNT;
    blk_rig_start(&rig);
    cr_assert_eq(rig.driver->queue_count, QUEUE_COUNT);
    for (uint32_t i = 0; i < QUEUE_COUNT; i++) {
        struct fake_buffer buffer = fake_buffer(rig.machine, SECTOR);

        memset(buffer.host, (int)i + 1, SECTOR);
        requests[i] = blk_request_make(&rig, VIRTIO_BLK_T_OUT, i);
        blk_request_readable(&requests[i], buffer);
        blk_request_add(&rig, &rig.driver->queues[i], &requests[i]);
        fake_queue_kick(&rig.driver->queues[i]);
    }
    for (uint16_t i = 0; i < QUEUE_COUNT; i++) {
        uint8_t expected[SECTOR];

        memset(expected, i + 1, SECTOR);
        cr_assert_eq(fake_queue_wait(&rig.driver->queues[i]), 1);
        cr_assert_eq(*requests[i].status, VIRTIO_BLK_S_OK);
        cr_assert_eq(fake_driver_messages(rig.driver, i + 1), 1);
        cr_assert(blk_image_is(&rig, i * (off_t)SECTOR, expected, SECTOR));
    }
    blk_rig_end(&rig);
}

Test(virtio_blk, full_ring_of_requests_is_served)
{
    struct blk_test_request *requests = calloc(256, sizeof(*requests));
    struct fake_buffer buffer;
    struct blk_rig rig;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    rig.queue->indirect = true;
    buffer = fake_buffer(rig.machine, 256 * SECTOR);
    for (uint32_t i = 0; i < 256; i++) {
        requests[i] = blk_request_make(&rig, VIRTIO_BLK_T_OUT, i);
        memset(buffer.host + i * SECTOR, (int)i, SECTOR);
        blk_request_readable(
            &requests[i], (struct fake_buffer){gpa(buffer.addr.addr + i * SECTOR), SECTOR, NULL});
        blk_request_add(&rig, rig.queue, &requests[i]);
    }
    fake_queue_kick(rig.queue);
    for (int i = 0; i < 256; i++)
        fake_queue_wait(rig.queue);
    for (int i = 0; i < 256; i++)
        cr_assert_eq(*requests[i].status, VIRTIO_BLK_S_OK);
    cr_assert(blk_image_is(&rig, 0, buffer.host, buffer.len));
    blk_rig_end(&rig);
    free(requests);
}

static uint64_t enters(const struct blk_rig *rig, uint64_t *turns)
{
    struct executor_stats stats;

    executor_stats_read(rig->machine->executor, &stats);
    *turns = stats.turns;
    return stats.enters;
}

/* What a kick brings is submitted together, and what it completes is one interrupt. */
Test(virtio_blk, thirty_two_reads_of_one_kick_are_one_submission)
{
    enum { DEPTH = 32, ROUNDS = 50 };
    struct blk_test_request *requests = calloc(DEPTH, sizeof(*requests));
    uint64_t before, after, turns_before, turns_after;
    struct fake_buffer buffer;
    struct blk_rig rig;
    uint32_t interrupts;

    blk_rig_image(&rig, DISK_SIZE);
    blk_rig_start(&rig);
    rig.queue->indirect = true;
    buffer = fake_buffer(rig.machine, SECTOR);
    interrupts = fake_driver_messages(rig.driver, 1);
    before = enters(&rig, &turns_before);
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < DEPTH; i++) {
            requests[i] = blk_request_make(&rig, VIRTIO_BLK_T_IN, i);
            blk_request_writable(&requests[i], buffer);
            blk_request_add(&rig, rig.queue, &requests[i]);
        }
        fake_queue_kick(rig.queue);
        for (uint32_t i = 0; i < DEPTH; i++)
            fake_queue_wait(rig.queue);
    }
    after = enters(&rig, &turns_after);
    cr_assert_leq(after - before, turns_after - turns_before, "one at most in a turn");
    /* To learn of the kick, and to read; and now and then to sleep once more. */
    cr_assert_leq(after - before, 3 * ROUNDS, "%lu in %lu turns", after - before,
                  turns_after - turns_before);
    cr_assert_leq(fake_driver_messages(rig.driver, 1) - interrupts, 2 * ROUNDS);
    blk_rig_end(&rig);
    free(requests);
}

/* Threads that io_uring made to wait in its place. */
static unsigned worker_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    unsigned count = 0;

    cr_assert_not_null(tasks);
    while ((entry = readdir(tasks))) {
        char path[300], name[32] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "re");
        if (file && fgets(name, sizeof(name), file))
            count += !strncmp(name, "iou-wrk", 7);
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return count;
}

/* A file with a name: what memfd_create makes has no O_DIRECT. */
static void tmpfs_rig_start(struct blk_rig *rig)
{
    char path[] = "/dev/shm/ringvm-blk-XXXXXX";
    struct statfs fs;

    blk_rig_image(rig, 0);
    close(rig->fd);
    rig->fd = mkostemp(path, O_CLOEXEC);
    if (rig->fd < 0 || fstatfs(rig->fd, &fs) || fs.f_type != TMPFS_MAGIC ||
        fcntl(rig->fd, F_SETFL, O_DIRECT)) {
        unlink(path);
        cr_skip_test("needs a tmpfs with O_DIRECT in /dev/shm, which Linux 6.6 has");
    }
    cr_assert_eq(ftruncate(rig->fd, (off_t)DISK_SIZE), 0);
    snprintf(rig->path, sizeof(rig->path), "%s", path);
    blk_rig_start(rig);
    unlink(path);
}

Test(virtio_blk, memory_is_read_and_written_without_worker_threads)
{
    struct fake_buffer buffer;
    struct blk_rig rig;

    tmpfs_rig_start(&rig);
    buffer = fake_buffer(rig.machine, 64 * SECTOR);
    for (uint32_t offset = 0; offset < 8; offset++) {
        struct fake_buffer odd = {gpa(buffer.addr.addr + offset), 63 * SECTOR,
                                  buffer.host + offset};

        blk_pattern(odd.host, odd.len, offset);
        cr_assert_eq(blk_write(&rig, offset, odd, NULL), VIRTIO_BLK_S_OK);
        cr_assert(blk_image_is(&rig, (off_t)(offset * SECTOR), odd.host, odd.len));
        cr_assert_eq(blk_read(&rig, offset, odd, NULL), VIRTIO_BLK_S_OK);
    }
    cr_assert_eq(worker_count(), 0);
    blk_rig_end(&rig);
}

/* ---- direct I/O ---- */

static void start_direct(struct blk_rig *rig)
{
    struct disk disk;
    struct disk_config config = {.direct = true};

    blk_rig_file(rig, DISK_SIZE);
    config.path = rig->path;
    if (disk_open(&disk, &config, NULL))
        cr_skip_test("the file system of /tmp has no O_DIRECT");
    disk_close(&disk);
    rig->config.disk.direct = true;
    blk_rig_start(rig);
}

Test(virtio_blk, direct_io_takes_buffers_of_any_alignment)
{
    enum { LEN = 300 << 10 }; /* more than the bounce buffer */
    uint8_t *pattern = malloc(LEN);
    struct fake_buffer buffer, odd;
    struct blk_rig rig;
    uint32_t len;

    start_direct(&rig);
    buffer = fake_buffer(rig.machine, LEN + 4096);
    for (uint32_t offset = 0; offset < 8; offset++) {
        odd = (struct fake_buffer){gpa(buffer.addr.addr + offset), LEN, buffer.host + offset};
        blk_pattern(odd.host, LEN, offset);
        memcpy(pattern, odd.host, LEN);
        cr_assert_eq(blk_write(&rig, 8 * offset, odd, &len), VIRTIO_BLK_S_OK);
        cr_assert_eq(len, 1);
        cr_assert(blk_image_is(&rig, (off_t)(8 * offset * SECTOR), pattern, LEN));
        memset(odd.host, 0, LEN);
        cr_assert_eq(blk_read(&rig, 8 * offset, odd, &len), VIRTIO_BLK_S_OK);
        cr_assert_eq(len, LEN + 1);
        cr_assert_arr_eq(odd.host, pattern, LEN);
    }
    blk_rig_end(&rig);
    free(pattern);
}

Test(virtio_blk, direct_requests_share_the_bounce_buffer_in_turn)
{
    enum { COUNT = 20 };
    struct blk_test_request requests[COUNT];
    uint8_t *pattern = malloc(DISK_SIZE);
    struct blk_rig rig;

    start_direct(&rig);
    blk_image_fill(&rig, pattern, DISK_SIZE, 9);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct fake_buffer buffer = fake_buffer(rig.machine, 16 * SECTOR + 1);

        requests[i] = blk_request_make(&rig, VIRTIO_BLK_T_IN, 16 * i);
        blk_request_writable(&requests[i], (struct fake_buffer){gpa(buffer.addr.addr + 1),
                                                                16 * SECTOR, buffer.host + 1});
        blk_request_add(&rig, rig.queue, &requests[i]);
    }
    fake_queue_kick(rig.queue);
    for (uint32_t i = 0; i < COUNT; i++)
        fake_queue_wait(rig.queue);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(*requests[i].status, VIRTIO_BLK_S_OK);
        cr_assert_arr_eq(requests[i].buffers[1].host, pattern + 16 * i * SECTOR, 16 * SECTOR);
    }
    blk_rig_end(&rig);
    free(pattern);
}

Test(virtio_blk, hostile_12_reset_while_requests_wait_for_the_bounce_buffer)
{
    struct blk_rig rig;

    start_direct(&rig);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 20; i++) {
            struct blk_test_request request = blk_request_make(&rig, VIRTIO_BLK_T_IN, 0);
            struct fake_buffer buffer = fake_buffer(rig.machine, 64 * SECTOR + 1);

            buffer.addr.addr++;
            buffer.len--;
            blk_request_writable(&request, buffer);
            blk_request_add(&rig, rig.queue, &request);
        }
        fake_queue_kick(rig.queue);
        if (round)
            fake_machine_run(rig.machine, (unsigned)round);
        fake_driver_reset(rig.driver);
        fake_driver_start(rig.driver, BLK_FEATURES | RING_FEATURES, 0);
    }
    cr_assert_eq(blk_read(&rig, 0, fake_buffer(rig.machine, SECTOR), NULL), VIRTIO_BLK_S_OK);
    blk_rig_end(&rig);
}

Test(virtio_blk, direct_io_of_less_than_a_block_is_refused)
{
    struct fake_buffer buffer;
    struct blk_rig rig;

    blk_rig_file(&rig, DISK_SIZE);
    rig.config.disk.direct = true;
    rig.config.disk.block_size = 4096;
    blk_rig_start(&rig);
    buffer = fake_buffer(rig.machine, 4096);
    cr_assert_eq(blk_read(&rig, 1, buffer, NULL), VIRTIO_BLK_S_IOERR);
    cr_assert_eq(blk_read(&rig, 8, buffer, NULL), VIRTIO_BLK_S_OK);
    buffer.len = SECTOR;
    cr_assert_eq(blk_write(&rig, 8, buffer, NULL), VIRTIO_BLK_S_IOERR);
    blk_rig_end(&rig);
}

/* ---- random requests against a model ---- */

enum { RANDOM_DEPTH = 16, RANDOM_SECTORS_MAX = 96 };

struct random_test {
    struct blk_rig rig;
    uint64_t state;
    uint8_t *model;
    bool direct;
    struct random_request {
        struct blk_test_request request;
        struct fake_buffer buffer;
        uint32_t type, sector, count;
    } requests[RANDOM_DEPTH];
};

/* xorshift64*: the same everywhere for a seed. */
static uint32_t random_below(struct random_test *test, uint32_t bound)
{
    test->state ^= test->state >> 12;
    test->state ^= test->state << 25;
    test->state ^= test->state >> 27;
    return (uint32_t)((test->state * 2685821657736338717ULL) >> 33) % bound;
}

/* Payload in up to 8 pieces of any length and alignment. */
static void add_pieces(struct random_test *test, struct random_request *random, uint32_t len)
{
    uint32_t offset = random_below(test, 16);
    uint32_t pieces = 1 + random_below(test, 8);

    for (; len; pieces--) {
        uint32_t part = pieces > 1 ? 1 + random_below(test, len) : len;
        struct fake_buffer piece = {gpa(random->buffer.addr.addr + offset), part,
                                    random->buffer.host + offset};

        if (random->type == VIRTIO_BLK_T_IN)
            blk_request_writable(&random->request, piece);
        else
            blk_request_readable(&random->request, piece);
        offset += part + random_below(test, 16);
        len -= part;
    }
}

static void request_payload(const struct random_request *random, uint8_t *model, bool read)
{
    const struct blk_test_request *request = &random->request;
    uint16_t end = request->readable + request->writable - (read ? 1 : 0);

    for (uint16_t i = read ? request->readable : 1; i < end; i++) {
        if (read)
            cr_assert_arr_eq(request->buffers[i].host, model, request->buffers[i].len,
                             "sectors %u to %u", random->sector, random->sector + random->count);
        else
            memcpy(model, request->buffers[i].host, request->buffers[i].len);
        model += request->buffers[i].len;
    }
}

static void random_add(struct random_test *test, struct random_request *random, uint32_t from,
                       uint32_t until)
{
    static const uint32_t types[] = {
        VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,  VIRTIO_BLK_T_OUT,
        VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_FLUSH};
    struct virtio_blk_discard_write_zeroes range;
    struct blk_rig *rig = &test->rig;
    uint8_t *model;

    random->type = types[random_below(test, array_count(types))];
    random->count = 1 + random_below(test, u64_min(RANDOM_SECTORS_MAX, until - from));
    random->sector = from + random_below(test, until - from - random->count + 1);
    random->request = blk_request_make(rig, random->type, random->sector);
    model = test->model + random->sector * SECTOR;
    if (random->type == VIRTIO_BLK_T_IN || random->type == VIRTIO_BLK_T_OUT) {
        for (uint32_t i = 0; i < random->buffer.len; i += 4)
            memcpy(random->buffer.host + i, &(uint32_t){random_below(test, UINT32_MAX)}, 4);
        add_pieces(test, random, random->count * SECTOR);
        if (random->type == VIRTIO_BLK_T_OUT)
            request_payload(random, model, false);
    } else if (random->type != VIRTIO_BLK_T_FLUSH) {
        range = (struct virtio_blk_discard_write_zeroes){
            .sector = random->sector,
            .num_sectors = random->count,
            .flags = random->type == VIRTIO_BLK_T_WRITE_ZEROES ? random_below(test, 2) : 0};
        memcpy(random->buffer.host, &range, sizeof(range));
        blk_request_readable(&random->request,
                             (struct fake_buffer){random->buffer.addr, sizeof(range), NULL});
        memset(model, 0, random->count * SECTOR);
    }
    blk_request_add(rig, rig->queue, &random->request);
}

/* Batches of requests side by side on the disk, each checked against what the disk should hold. */
static void random_run(struct random_test *test, unsigned rounds)
{
    const char *seed = getenv("RINGVM_SEED");
    struct blk_rig *rig = &test->rig;
    uint64_t allocated = rig->machine->alloc_next;

    test->state = seed ? strtoull(seed, NULL, 0) : 20240607;
    fprintf(stderr, "seed %llu: RINGVM_SEED=... repeats it\n", (unsigned long long)test->state);
    test->model = calloc(1, DISK_SIZE);
    for (unsigned round = 0; round < rounds; round++) {
        const uint32_t share = DISK_SECTORS / RANDOM_DEPTH;

        rig->machine->alloc_next = allocated;
        rig->queue->indirect = false;
        for (uint32_t i = 0; i < RANDOM_DEPTH; i++) {
            test->requests[i].buffer = fake_buffer(rig->machine, RANDOM_SECTORS_MAX * SECTOR + 512);
            random_add(test, &test->requests[i], i * share, (i + 1) * share);
        }
        fake_queue_kick(rig->queue);
        for (int i = 0; i < RANDOM_DEPTH; i++)
            fake_queue_wait(rig->queue);
        for (int i = 0; i < RANDOM_DEPTH; i++) {
            struct random_request *random = &test->requests[i];

            cr_assert_eq(*random->request.status, VIRTIO_BLK_S_OK, "round %u, type %u", round,
                         random->type);
            if (random->type == VIRTIO_BLK_T_IN)
                request_payload(random, test->model + random->sector * SECTOR, true);
        }
    }
    cr_assert(blk_image_is(rig, 0, test->model, DISK_SIZE));
    free(test->model);
    blk_rig_end(rig);
    free(test);
}

Test(virtio_blk, random_requests_leave_what_a_model_says_in_memory)
{
    struct random_test *test = calloc(1, sizeof(*test));

    blk_rig_image(&test->rig, DISK_SIZE);
    blk_rig_start(&test->rig);
    random_run(test, 300);
}

Test(virtio_blk, random_requests_leave_what_a_model_says_through_a_packed_queue)
{
    struct random_test *test = calloc(1, sizeof(*test));

    blk_rig_image(&test->rig, DISK_SIZE);
    blk_rig_attach(&test->rig);
    fake_driver_start(test->rig.driver, BLK_FEATURES | RING_FEATURES | BIT(VIRTIO_F_RING_PACKED),
                      200);
    random_run(test, 300);
}

Test(virtio_blk, random_requests_leave_what_a_model_says_in_order)
{
    struct random_test *test = calloc(1, sizeof(*test));

    blk_rig_image(&test->rig, DISK_SIZE);
    blk_rig_attach(&test->rig);
    fake_driver_start(test->rig.driver, BLK_FEATURES | RING_FEATURES | BIT(VIRTIO_F_IN_ORDER), 0);
    random_run(test, 300);
}

Test(virtio_blk, random_requests_leave_what_a_model_says_in_a_file)
{
    struct random_test *test = calloc(1, sizeof(*test));

    blk_rig_file(&test->rig, DISK_SIZE);
    blk_rig_start(&test->rig);
    random_run(test, 100);
}

Test(virtio_blk, random_requests_leave_what_a_model_says_with_direct_io)
{
    struct random_test *test = calloc(1, sizeof(*test));

    start_direct(&test->rig);
    random_run(test, 100);
}
