/* A disk with a limit: nothing is lost or starved, and there is no way around it. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "blk_rig.h"

static void start_limited(struct blk_rig *rig, struct rate_limit_config limit, uint16_t queue_count)
{
    blk_rig_image(rig, DISK_SIZE);
    rig->config.limit = limit;
    rig->config.queue_count = queue_count;
    blk_rig_start(rig);
}

static void write_add(struct blk_rig *rig, struct fake_queue *queue,
                      struct blk_test_request *request, uint64_t sector, uint32_t len, int byte)
{
    struct fake_buffer buffer = fake_buffer(rig->machine, len);

    memset(buffer.host, byte, len);
    *request = blk_request_make(rig, VIRTIO_BLK_T_OUT, sector);
    blk_request_readable(request, buffer);
    blk_request_add(rig, queue, request);
}

Test(virtio_blk, limited_disk_serves_all_queues_in_turn)
{
    enum { QUEUE_COUNT = 3, PER_QUEUE = 20 };
    const struct rate_limit_config limit = {.operations = {.rate = 5000, .burst = 1}};
    struct blk_test_request *requests = calloc(QUEUE_COUNT * PER_QUEUE, sizeof(*requests));
    uint8_t expected[SECTOR];
    struct blk_rig rig;

    start_limited(&rig, limit, QUEUE_COUNT);
    for (uint32_t i = 0; i < QUEUE_COUNT * PER_QUEUE; i++)
        write_add(&rig, &rig.driver->queues[i % QUEUE_COUNT], &requests[i], i, SECTOR, (int)i + 1);
    for (uint32_t i = 0; i < QUEUE_COUNT; i++)
        fake_queue_kick(&rig.driver->queues[i]);
    for (uint32_t i = 0; i < PER_QUEUE; i++) {
        fake_queue_wait(&rig.driver->queues[0]);
        /* None is ahead by more than its turn, and what is on its way. */
        for (uint32_t q = 1; q < QUEUE_COUNT; q++)
            cr_assert_leq(rig.driver->queues[q].used->idx, rig.driver->queues[0].used->idx + 2);
    }
    for (uint32_t q = 1; q < QUEUE_COUNT; q++)
        for (uint32_t i = 0; i < PER_QUEUE; i++)
            fake_queue_wait(&rig.driver->queues[q]);
    for (uint32_t i = 0; i < QUEUE_COUNT * PER_QUEUE; i++) {
        cr_assert_eq(*requests[i].status, VIRTIO_BLK_S_OK);
        memset(expected, (int)i + 1, SECTOR);
        cr_assert(blk_image_is(&rig, (off_t)(i * SECTOR), expected, SECTOR));
    }
    blk_rig_end(&rig);
    free(requests);
}

/* A limit under which what was written before must be waited for longer than a test lasts. */
static const struct rate_limit_config slow = {.bytes = {.rate = 1 << 10, .burst = 1 << 10}};
enum { LARGE = 1 << 20 };

static void spend(struct blk_rig *rig)
{
    struct blk_test_request request;

    write_add(rig, rig->queue, &request, 0, LARGE, 1);
    fake_queue_kick(rig->queue);
    fake_queue_wait(rig->queue);
    cr_assert_eq(*request.status, VIRTIO_BLK_S_OK, "a request larger than the burst is served");
}

static void add_and_see_it_wait(struct blk_rig *rig, struct blk_test_request *request)
{
    write_add(rig, rig->queue, request, 0, SECTOR, 2);
    fake_queue_kick(rig->queue);
    fake_machine_run(rig->machine, 10);
    cr_assert_eq(*request->status, 0xff);
    cr_assert_eq(rig->driver->device->queues[0].vq.in_flight_count, 0, "it stays in the ring");
}

Test(virtio_blk, large_request_is_paid_for_by_the_next)
{
    struct blk_test_request request;
    struct blk_rig rig;

    start_limited(&rig, slow, 1);
    spend(&rig);
    add_and_see_it_wait(&rig, &request);
    blk_rig_end(&rig);
}

Test(virtio_blk, flushes_cost_no_bytes)
{
    struct blk_rig rig;

    start_limited(&rig, slow, 1);
    for (int i = 0; i < 200; i++) {
        struct blk_test_request request = blk_request_make(&rig, VIRTIO_BLK_T_FLUSH, 0);

        cr_assert_eq(blk_request_run(&rig, &request, NULL), VIRTIO_BLK_S_OK);
    }
    blk_rig_end(&rig);
}

Test(virtio_blk, hostile_reset_is_no_way_around_a_limit)
{
    struct blk_test_request request;
    struct blk_rig rig;

    start_limited(&rig, slow, 1);
    spend(&rig);
    add_and_see_it_wait(&rig, &request);
    fake_driver_reset(rig.driver);
    cr_assert_eq(*request.status, 0xff);
    fake_driver_start(rig.driver, BLK_FEATURES | RING_FEATURES, 0);
    add_and_see_it_wait(&rig, &request);
    blk_rig_end(&rig);
}
