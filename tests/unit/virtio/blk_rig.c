#include "blk_rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void blk_rig_image(struct blk_rig *rig, off_t size)
{
    *rig = (struct blk_rig){.fd = memfd_create("disk", MFD_CLOEXEC)};
    cr_assert_geq(rig->fd, 0);
    cr_assert_eq(ftruncate(rig->fd, size), 0);
    snprintf(rig->path, sizeof(rig->path), "/proc/self/fd/%d", rig->fd);
    rig->config = (struct blk_config){.name = "blk0", .queue_count = 1};
}

void blk_rig_file(struct blk_rig *rig, off_t size)
{
    char path[] = "/tmp/ringvm-blk-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    /* Opened twice: the device's flags, such as O_DIRECT, are not the test's. */
    *rig = (struct blk_rig){.fd = open(path, O_RDWR | O_CLOEXEC)};
    cr_assert_geq(rig->fd, 0);
    unlink(path);
    cr_assert_eq(ftruncate(rig->fd, size), 0);
    snprintf(rig->path, sizeof(rig->path), "/proc/self/fd/%d", fd);
    rig->config = (struct blk_config){.name = "blk0", .queue_count = 1};
}

void blk_rig_attach(struct blk_rig *rig)
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

void blk_rig_start(struct blk_rig *rig)
{
    blk_rig_attach(rig);
    fake_driver_start(rig->driver, BLK_FEATURES | RING_FEATURES, 0);
}

void blk_rig_end(struct blk_rig *rig)
{
    fake_driver_detach(rig->driver);
    fake_machine_destroy(rig->machine);
    close(rig->fd);
}

struct virtio_blk_outhdr *blk_request_header(const struct blk_test_request *request)
{
    return (struct virtio_blk_outhdr *)(void *)request->buffers[0].host;
}

struct blk_test_request blk_request_make(struct blk_rig *rig, uint32_t type, uint64_t sector)
{
    struct blk_test_request request = {.readable = 1};

    request.buffers[0] = fake_buffer(rig->machine, sizeof(struct virtio_blk_outhdr));
    *blk_request_header(&request) = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    return request;
}

void blk_request_readable(struct blk_test_request *request, struct fake_buffer buffer)
{
    cr_assert_eq(request->writable, 0);
    request->buffers[request->readable++] = buffer;
}

void blk_request_writable(struct blk_test_request *request, struct fake_buffer buffer)
{
    request->buffers[request->readable + request->writable++] = buffer;
}

void blk_request_add(struct blk_rig *rig, struct fake_queue *queue,
                     struct blk_test_request *request)
{
    struct fake_buffer status = fake_buffer(rig->machine, 1);

    *status.host = 0xff;
    request->status = status.host;
    blk_request_writable(request, status);
    fake_queue_add(queue, request->buffers, request->readable, request->writable);
}

uint8_t blk_request_run(struct blk_rig *rig, struct blk_test_request *request, uint32_t *len)
{
    uint32_t ignored;

    blk_request_add(rig, rig->queue, request);
    fake_queue_kick(rig->queue);
    *(len ? len : &ignored) = fake_queue_wait(rig->queue);
    return *request->status;
}

uint8_t blk_read(struct blk_rig *rig, uint64_t sector, struct fake_buffer buffer, uint32_t *len)
{
    struct blk_test_request request = blk_request_make(rig, VIRTIO_BLK_T_IN, sector);

    blk_request_writable(&request, buffer);
    return blk_request_run(rig, &request, len);
}

uint8_t blk_write(struct blk_rig *rig, uint64_t sector, struct fake_buffer buffer, uint32_t *len)
{
    struct blk_test_request request = blk_request_make(rig, VIRTIO_BLK_T_OUT, sector);

    blk_request_readable(&request, buffer);
    return blk_request_run(rig, &request, len);
}

uint8_t blk_run_ranges(struct blk_rig *rig, uint32_t type,
                       const struct virtio_blk_discard_write_zeroes *ranges, size_t count)
{
    struct blk_test_request request = blk_request_make(rig, type, 0);
    struct fake_buffer buffer = fake_buffer(rig->machine, (uint32_t)(count * sizeof(*ranges)));
    uint32_t len;
    uint8_t status;

    memcpy(buffer.host, ranges, buffer.len);
    blk_request_readable(&request, buffer);
    status = blk_request_run(rig, &request, &len);
    cr_assert_eq(len, 1);
    return status;
}

uint8_t blk_run_range(struct blk_rig *rig, uint32_t type, uint64_t sector, uint32_t count,
                      uint32_t flags)
{
    const struct virtio_blk_discard_write_zeroes range = {
        .sector = sector, .num_sectors = count, .flags = flags};

    return blk_run_ranges(rig, type, &range, 1);
}

void blk_pattern(uint8_t *bytes, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((i + seed) * 2654435761U >> 13);
}

void blk_image_fill(struct blk_rig *rig, uint8_t *pattern, size_t len, uint32_t seed)
{
    blk_pattern(pattern, len, seed);
    cr_assert_eq(pwrite(rig->fd, pattern, len, 0), (ssize_t)len);
}

bool blk_image_is(struct blk_rig *rig, off_t offset, const void *bytes, size_t len)
{
    uint8_t *content = malloc(len);
    bool same =
        pread(rig->fd, content, len, offset) == (ssize_t)len && !memcmp(content, bytes, len);

    free(content);
    return same;
}

uint64_t blk_image_allocated(struct blk_rig *rig)
{
    struct stat status;

    cr_assert_eq(fstat(rig->fd, &status), 0);
    return (uint64_t)status.st_blocks * SECTOR;
}

uint64_t blk_config_get(struct blk_rig *rig, uint32_t offset, uint8_t size)
{
    return fake_driver_read(rig->driver, VIRTIO_PCI_CAP_DEVICE_CFG, offset, size);
}
