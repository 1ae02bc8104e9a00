/*
 * The costs of src/virtio: the ring alone, requests that do nothing, and disk reads; with a driver
 * that lives on the same thread, so that no exit and no wake-up is in the figures. Reads stand
 * beside a bare io_uring loop over the same file and buffers: what remains is the device's share.
 *
 *     build/release/bench-virtio [--smoke] [--json FILE] [NAME]
 */
#include <fcntl.h>
#include <liburing.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "report/report.h"
#include "report/run_delay.h"
#include "virtio/blk.h"
#include "virtio/device.h"
#include "virtio/queue.h"

enum {
    QUEUE_SIZE = 256,
    DEPTH_MAX = 32,
    BLOCK = 4096,
    RAM_SIZE = 16 << 20,
    DESC = 0x10000,
    AVAIL = 0x20000,
    USED = 0x30000,
    TABLES = 0x40000, /* per request: an indirect table of three descriptors */
    HEADERS = 0x50000,
    STATUSES = 0x60000,
    DATA = 0x100000,
    DISK_SIZE = 64 << 20,
    PACKED_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
    PACKED_USED = 1 << VRING_PACKED_DESC_F_USED,
};

struct size {
    uint64_t requests, reads;
};

static const struct size size_full = {2000000, 400000};
static const struct size size_smoke = {2000, 500};

/* ---- the driver's side of the ring ---- */

struct driver {
    struct gmem *mem;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t avail_idx, used_idx;
    uint64_t random;
};

static void driver_create(struct driver *driver)
{
    const struct gmem_range range = {{0}, RAM_SIZE};

    CHECK_CMP(gmem_create(&driver->mem, &range, 1, NULL), ==, 0);
    driver->desc = gmem_ptr(driver->mem, gpa(DESC), 16);
    driver->avail = gmem_ptr(driver->mem, gpa(AVAIL), 16);
    driver->used = gmem_ptr(driver->mem, gpa(USED), 16);
    driver->avail_idx = driver->used_idx = 0;
    driver->random = 1;
    memset(gmem_ptr(driver->mem, gpa(DATA), DEPTH_MAX * BLOCK), 1, DEPTH_MAX * BLOCK);
}

/* Request `slot`: header, 4 KiB, status; as three descriptors or as one indirect table. */
static void driver_build(struct driver *driver, unsigned slot, bool indirect)
{
    struct vring_desc chain[3] = {
        {HEADERS + 16ULL * slot, 16, VRING_DESC_F_NEXT, 1},
        {DATA + (uint64_t)BLOCK * slot, BLOCK, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2},
        {STATUSES + slot, 1, VRING_DESC_F_WRITE, 0},
    };

    if (indirect) {
        CHECK_CMP(gmem_write(driver->mem, gpa(TABLES + 48ULL * slot), chain, 48), ==, 0);
        driver->desc[3 * slot] =
            (struct vring_desc){TABLES + 48ULL * slot, 48, VRING_DESC_F_INDIRECT, 0};
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        chain[i].next = 3 * slot + i + 1;
        driver->desc[3 * slot + i] = chain[i];
    }
}

static void driver_send(struct driver *driver, unsigned slot)
{
    driver->avail->ring[driver->avail_idx++ % QUEUE_SIZE] = 3 * slot;
}

static void driver_publish(struct driver *driver)
{
    __atomic_store_n(&driver->avail->idx, driver->avail_idx, __ATOMIC_RELEASE);
}

/* A sector that starts a random block of the disk. */
static uint64_t next_sector(uint64_t *random)
{
    *random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (*random >> 33) % (DISK_SIZE / BLOCK) * (BLOCK / 512);
}

/* ---- the ring alone ---- */

static double queue_ns(uint64_t requests, bool indirect)
{
    const struct virtq_config config = {
        .size = QUEUE_SIZE, .desc = DESC, .driver = AVAIL, .device = USED};
    const uint64_t features = 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC;
    static struct virtq_chain chains[DEPTH_MAX];
    static struct iovec iov[DEPTH_MAX][3];
    struct driver driver;
    struct virtq vq;
    uint64_t begin_ns, interrupts = 0;

    driver_create(&driver);
    CHECK_CMP(virtq_init(&vq, driver.mem, QUEUE_SIZE), ==, 0);
    CHECK_CMP(virtq_enable(&vq, &config, features), ==, 0);
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        driver_build(&driver, i, indirect);
        chains[i] = (struct virtq_chain){.iov = iov[i], .iov_max = 3};
    }
    begin_ns = clock_now_ns();
    for (uint64_t done = 0; done < requests; done += DEPTH_MAX) {
        for (unsigned i = 0; i < DEPTH_MAX; i++)
            driver_send(&driver, i);
        driver_publish(&driver);
        for (unsigned i = 0; i < DEPTH_MAX; i++)
            CHECK_CMP(virtq_pop(&vq, &chains[i]), ==, 1);
        for (unsigned i = 0; i < DEPTH_MAX; i++)
            virtq_push(&vq, &chains[i], BLOCK + 1);
        interrupts += virtq_flush(&vq);
    }
    begin_ns = clock_now_ns() - begin_ns;
    CHECK_CMP(interrupts, <=, requests);
    virtq_free(&vq);
    gmem_destroy(driver.mem);
    return (double)begin_ns / (double)requests;
}

/* The same through a packed ring. */
struct packed_driver {
    struct vring_packed_desc *ring;
    uint16_t next;
    uint16_t owner; /* bits AVAIL and USED of what is made available */
};

/* Request `slot`, as driver_build's. */
static void packed_build(struct vring_packed_desc chain[3], unsigned slot)
{
    chain[0] = (struct vring_packed_desc){HEADERS + 16ULL * slot, 16, 0, VRING_DESC_F_NEXT};
    chain[1] = (struct vring_packed_desc){DATA + (uint64_t)BLOCK * slot, BLOCK, 0,
                                          VRING_DESC_F_NEXT | VRING_DESC_F_WRITE};
    chain[2] = (struct vring_packed_desc){STATUSES + slot, 1, slot, VRING_DESC_F_WRITE};
}

static void packed_send(struct packed_driver *driver, const struct vring_packed_desc *chain,
                        unsigned count)
{
    struct vring_packed_desc *first = &driver->ring[driver->next];
    uint16_t first_flags = chain[0].flags | driver->owner;

    for (unsigned i = 0; i < count; i++) {
        struct vring_packed_desc *entry = &driver->ring[driver->next];

        entry->addr = chain[i].addr;
        entry->len = chain[i].len;
        entry->id = chain[i].id;
        if (i)
            entry->flags = chain[i].flags | driver->owner;
        if (++driver->next == QUEUE_SIZE) {
            driver->next = 0;
            driver->owner ^= PACKED_AVAIL | PACKED_USED;
        }
    }
    __atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
}

static double packed_ns(uint64_t requests, bool indirect)
{
    const struct virtq_config config = {
        .size = QUEUE_SIZE, .desc = DESC, .driver = AVAIL, .device = USED};
    const uint64_t features = 1ULL << VIRTIO_RING_F_EVENT_IDX |
                              1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_F_RING_PACKED;
    static struct virtq_chain chains[DEPTH_MAX];
    static struct iovec iov[DEPTH_MAX][3];
    struct packed_driver packed = {.owner = PACKED_AVAIL};
    struct vring_packed_desc built[DEPTH_MAX][3];
    struct driver driver;
    struct virtq vq;
    uint64_t begin_ns, interrupts = 0;

    driver_create(&driver);
    packed.ring = (void *)driver.desc;
    CHECK_CMP(virtq_init(&vq, driver.mem, QUEUE_SIZE), ==, 0);
    CHECK_CMP(virtq_enable(&vq, &config, features), ==, 0);
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        packed_build(built[i], i);
        if (indirect) {
            CHECK_CMP(gmem_write(driver.mem, gpa(TABLES + 48ULL * i), built[i], 48), ==, 0);
            built[i][0] =
                (struct vring_packed_desc){TABLES + 48ULL * i, 48, i, VRING_DESC_F_INDIRECT};
        }
        chains[i] = (struct virtq_chain){.iov = iov[i], .iov_max = 3};
    }
    begin_ns = clock_now_ns();
    for (uint64_t done = 0; done < requests; done += DEPTH_MAX) {
        for (unsigned i = 0; i < DEPTH_MAX; i++)
            packed_send(&packed, built[i], indirect ? 1 : 3);
        for (unsigned i = 0; i < DEPTH_MAX; i++)
            CHECK_CMP(virtq_pop(&vq, &chains[i]), ==, 1);
        for (unsigned i = 0; i < DEPTH_MAX; i++)
            virtq_push(&vq, &chains[i], BLOCK + 1);
        interrupts += virtq_flush(&vq);
    }
    begin_ns = clock_now_ns() - begin_ns;
    CHECK_CMP(interrupts, <=, requests);
    virtq_free(&vq);
    gmem_destroy(driver.mem);
    return (double)begin_ns / (double)requests;
}

static double packed_direct(const struct size *size)
{
    return packed_ns(size->requests, false);
}

static double packed_indirect(const struct size *size)
{
    return packed_ns(size->requests, true);
}

static double queue_direct(const struct size *size)
{
    return queue_ns(size->requests, false);
}

static double queue_indirect(const struct size *size)
{
    return queue_ns(size->requests, true);
}

/* ---- a device without a transport ---- */

static void interrupt_nobody(void *transport, uint16_t index)
{
    (void)transport;
    (void)index;
}

static void config_interrupt_nobody(void *transport)
{
    (void)transport;
}

static const struct virtio_transport_ops transport_ops = {
    .queue_interrupt = interrupt_nobody,
    .config_interrupt = config_interrupt_nobody,
    .reset = config_interrupt_nobody,
};

static void device_start(struct virtio_device *device)
{
    uint8_t status = 0;
    const uint8_t steps[] = {VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
                             VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK};
    struct virtq_config *config;

    virtio_device_attach(device, (struct virtio_transport){.ops = &transport_ops}, NULL);
    for (size_t i = 0; i < array_count(steps); i++) {
        if (steps[i] == VIRTIO_CONFIG_S_FEATURES_OK)
            for (uint32_t word = 0; word < 2; word++)
                virtio_device_features_write(device, word,
                                             virtio_device_features_read(device, word));
        if (steps[i] == VIRTIO_CONFIG_S_DRIVER_OK) {
            config = virtio_device_queue_config(device);
            CHECK(config);
            config->desc = DESC;
            config->driver = AVAIL;
            config->device = USED;
            virtio_device_queue_enable(device);
        }
        status |= steps[i];
        CHECK(virtio_device_status_write(device, status, NULL) == BUS_DONE);
        CHECK_CMP(device->state.status, ==, status);
    }
}

/* Keeps `depth` requests in flight; always ready, as a guest that polls its used ring. */
struct client {
    struct task task;
    struct driver driver;
    struct virtio_device *device;
    uint64_t left; /* to be sent */
    unsigned in_flight;
};

static void client_send(struct client *client, unsigned slot)
{
    struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN,
                                       .sector = next_sector(&client->driver.random)};

    CHECK_CMP(gmem_write(client->driver.mem, gpa(HEADERS + 16ULL * slot), &header, 16), ==, 0);
    driver_send(&client->driver, slot);
    client->left--;
    client->in_flight++;
}

static void client_stopped(struct virtio_device *device, void *arg)
{
    (void)device;
    (void)arg;
}

static enum task_verdict client_poll(struct task *task)
{
    struct client *client = container_of(task, struct client, task);
    struct driver *driver = &client->driver;
    uint16_t used = __atomic_load_n(&driver->used->idx, __ATOMIC_ACQUIRE);

    while (driver->used_idx != used) {
        unsigned slot = driver->used->ring[driver->used_idx++ % QUEUE_SIZE].id / 3;

        client->in_flight--;
        if (client->left)
            client_send(client, slot);
    }
    driver_publish(driver);
    if (client->in_flight) {
        task_wake(task);
        return TASK_PENDING;
    }
    virtio_device_shutdown(client->device, client_stopped, NULL);
    return TASK_DONE;
}

static const struct task_type client_type = {.name = "driver", .poll = client_poll};

static double client_run(struct client *client, struct executor *executor, unsigned depth,
                         uint64_t count)
{
    uint64_t begin_ns;

    client->left = count;
    for (unsigned i = 0; i < depth; i++) {
        driver_build(&client->driver, i, true);
        client_send(client, i);
    }
    driver_publish(&client->driver);
    device_start(client->device);
    task_spawn(&client->task, executor, &client_type);
    begin_ns = clock_now_ns();
    CHECK_CMP(executor_run(executor), ==, 0);
    begin_ns = clock_now_ns() - begin_ns;
    virtio_device_destroy(client->device);
    executor_destroy(executor);
    gmem_destroy(client->driver.mem);
    return (double)begin_ns / (double)count;
}

/* ---- requests that do nothing ---- */

static enum task_verdict null_poll(struct task *task)
{
    (void)task;
    return TASK_DONE;
}

static void null_cancel(struct virtio_request *request)
{
    (void)request;
}

static void null_destroy(struct virtio_device *device)
{
    virtio_device_free(device);
}

static double null_requests(const struct size *size)
{
    static const struct virtio_request_type type = {
        .task = {.name = "null", .poll = null_poll, .done = virtio_request_done},
        .frame_size = sizeof(struct virtio_request),
        .count = QUEUE_SIZE,
        .cancel = null_cancel,
    };
    static const struct virtio_queue_spec spec = {
        .name = "null", .size_max = QUEUE_SIZE, .requests = &type};
    static const struct virtio_device_ops ops = {.destroy = null_destroy};
    struct virtio_device device = {
        .ops = &ops, .name = "null", .id = VIRTIO_ID_BLOCK, .queue_specs = &spec, .queue_count = 1};
    struct client client = {.device = &device};
    struct virtio_context context = {0};

    driver_create(&client.driver);
    CHECK_CMP(executor_create(&context.executor, NULL, NULL), ==, 0);
    context.mem = client.driver.mem;
    CHECK_CMP(virtio_device_init(&device, &context, NULL), ==, 0);
    return client_run(&client, context.executor, DEPTH_MAX, size->requests);
}

/* ---- reads ---- */

static char disk_path[] = "/dev/shm/ringvm-bench-XXXXXX";

static void disk_make(void)
{
    static uint8_t block[1 << 20];
    int fd = mkstemp(disk_path);

    if (fd < 0) {
        perror(disk_path);
        exit(1);
    }
    for (size_t done = 0; done < DISK_SIZE; done += sizeof(block))
        CHECK_CMP(write(fd, block, sizeof(block)), ==, (ssize_t)sizeof(block));
    close(fd);
}

static double blk_read(uint64_t reads, unsigned depth)
{
    const struct blk_config config = {
        .name = "blk0", .disk = {.path = disk_path, .read_only = true}, .queue_count = 1};
    struct client client = {.left = 0};
    struct virtio_context context = {0};

    driver_create(&client.driver);
    CHECK_CMP(executor_create(&context.executor, NULL, NULL), ==, 0);
    context.mem = client.driver.mem;
    CHECK_CMP(virtio_blk_create(&client.device, &context, &config, NULL), ==, 0);
    return client_run(&client, context.executor, depth, reads);
}

static double bare_read(uint64_t reads, unsigned depth)
{
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int fd = open(disk_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct driver driver;
    struct io_uring ring;
    uint64_t begin_ns;
    uint8_t *data;

    CHECK_CMP(fd, >=, 0);
    driver_create(&driver);
    data = gmem_ptr(driver.mem, gpa(DATA), DEPTH_MAX * BLOCK);
    CHECK_CMP(io_uring_queue_init_params(256, &ring, &params), ==, 0);
    CHECK_CMP(io_uring_register_ring_fd(&ring), ==, 1);
    CHECK_CMP(io_uring_register_files(&ring, &fd, 1), ==, 0);
    begin_ns = clock_now_ns();
    for (uint64_t done = 0; done < reads; done += depth) {
        struct io_uring_cqe *cqe;
        unsigned head, reaped = 0;

        for (unsigned i = 0; i < depth; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

            io_uring_prep_read(sqe, 0, data + (size_t)BLOCK * i, BLOCK,
                               512 * next_sector(&driver.random));
            sqe->flags = IOSQE_FIXED_FILE;
        }
        CHECK_CMP(io_uring_submit_and_wait(&ring, depth), ==, (int)depth);
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            CHECK_CMP(cqe->res, ==, BLOCK);
            reaped++;
        }
        io_uring_cq_advance(&ring, reaped);
    }
    begin_ns = clock_now_ns() - begin_ns;
    io_uring_queue_exit(&ring);
    close(fd);
    gmem_destroy(driver.mem);
    return (double)begin_ns / (double)reads;
}

static double blk_read_d1(const struct size *size)
{
    return blk_read(size->reads, 1);
}

static double bare_read_d1(const struct size *size)
{
    return bare_read(size->reads, 1);
}

static double blk_read_d32(const struct size *size)
{
    return blk_read(size->reads, DEPTH_MAX);
}

static double bare_read_d32(const struct size *size)
{
    return bare_read(size->reads, DEPTH_MAX);
}

static const struct benchmark {
    const char *name;
    const char *reference;
    double (*ours)(const struct size *size);
    double (*other)(const struct size *size);
} benchmarks[] = {
    {"queue_direct", NULL, queue_direct, NULL},
    {"queue_indirect", NULL, queue_indirect, NULL},
    {"queue_packed_direct", NULL, packed_direct, NULL},
    {"queue_packed_indirect", NULL, packed_indirect, NULL},
    {"request_null", NULL, null_requests, NULL},
    {"blk_read_4k_d1", "bare io_uring loop", blk_read_d1, bare_read_d1},
    {"blk_read_4k_d32", "bare io_uring loop", blk_read_d32, bare_read_d32},
};

int main(int argc, char **argv)
{
    static struct report report;
    const struct size *size = &size_full;
    const char *json = NULL, *filter = NULL;
    uint64_t delay_ns = run_delay_ns();
    unsigned runs = 7;
    struct err err;
    int ret = 0;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--smoke")) {
            size = &size_smoke;
            runs = 1;
        } else if (!strcmp(argv[i], "--json") && i + 1 < argc) {
            json = argv[++i];
        } else {
            filter = argv[i];
        }
    }
    disk_make();
    printf("sizes: request %zu, queue %zu, device %zu bytes\n", sizeof(struct virtio_request),
           sizeof(struct virtio_queue), sizeof(struct virtio_device));
    report_print_heading(stdout);
    for (size_t b = 0; b < array_count(benchmarks); b++) {
        const struct benchmark *benchmark = &benchmarks[b];
        struct report_row *row;

        if (filter && !strstr(benchmark->name, filter))
            continue;
        row = report_add(&report, benchmark->name, "ns/request", benchmark->reference);
        for (unsigned i = 0; i < runs; i++) {
            report_sample(&row->ours, benchmark->ours(size));
            if (benchmark->other)
                report_sample(&row->other, benchmark->other(size));
        }
        report_print_row(row, stdout);
        fflush(stdout);
    }
    unlink(disk_path);
    printf("run delay of this thread: %.1f ms (large: the machine was busy)\n",
           (double)(run_delay_ns() - delay_ns) / 1e6);
    if (json)
        ret = report_write_json(&report, json, &err);
    if (ret < 0)
        fprintf(stderr, "bench-virtio: %s\n", err.text);
    return ret < 0;
}
