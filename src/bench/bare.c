#include "bench/bare.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { BUFFER_ALIGNMENT = 4096, REQUESTS_PER_LOOK = 64 };

struct bare {
    const struct bare_config *config;
    struct io_uring ring;
    uint8_t *buffers;
    uint64_t random;
    uint64_t completed;
    unsigned in_flight;
    int failure; /* of the first request that failed */
};

static uint32_t random_next(struct bare *bare)
{
    bare->random = bare->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(bare->random >> 32);
}

static void request_send(struct bare *bare, uint64_t slot)
{
    const struct bare_config *config = bare->config;
    uint64_t block = random_next(bare) * (config->size / config->block) >> 32;
    bool is_read = config->read_percent == 100 || random_next(bare) % 100 < config->read_percent;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&bare->ring);
    uint8_t *buffer = bare->buffers + slot * config->block;

    if (is_read)
        io_uring_prep_read(sqe, 0, buffer, config->block, block * config->block);
    else
        io_uring_prep_write(sqe, 0, buffer, config->block, block * config->block);
    sqe->flags = IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, slot);
    bare->in_flight++;
}

/* Submits, waits, and sends again in the place of each that is done, while all goes well and
 * `goes_on`. */
static int turn(struct bare *bare, bool goes_on)
{
    unsigned head, reaped = 0;
    struct io_uring_cqe *cqe;
    int ret = io_uring_submit_and_wait(&bare->ring, 1);

    if (ret < 0 && ret != -EINTR)
        return ret;
    io_uring_for_each_cqe(&bare->ring, head, cqe)
    {
        reaped++;
        bare->in_flight--;
        if (cqe->res != (int)bare->config->block && !bare->failure)
            bare->failure = cqe->res < 0 ? cqe->res : -EIO;
        if (goes_on && !bare->failure)
            request_send(bare, cqe->user_data);
    }
    io_uring_cq_advance(&bare->ring, reaped);
    bare->completed += reaped;
    return 0;
}

static int requests_run(struct bare *bare, double *iops)
{
    uint64_t begin_ns = clock_now_ns(), now_ns = begin_ns, look_at = 0;
    uint64_t end_ns = begin_ns + bare->config->duration_ns;

    for (unsigned slot = 0; slot < bare->config->depth; slot++)
        request_send(bare, slot);
    while (bare->in_flight) {
        int ret = turn(bare, now_ns < end_ns);

        if (ret)
            return ret;
        if (bare->completed >= look_at) {
            now_ns = clock_now_ns();
            look_at = bare->completed + REQUESTS_PER_LOOK;
        }
    }
    now_ns = clock_now_ns();
    *iops = (double)bare->completed * (double)NS_PER_S / (double)(now_ns - begin_ns);
    return bare->failure;
}

static int ring_open(struct bare *bare, int fd)
{
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int ret = io_uring_queue_init_params(bare->config->depth, &bare->ring, &params);

    if (ret)
        return ret;
    ret = io_uring_register_files(&bare->ring, &fd, 1);
    /* A few nanoseconds a call: as it is where it cannot be had. */
    if (!ret && io_uring_register_ring_fd(&bare->ring) < 0)
        ret = 0;
    if (ret)
        io_uring_queue_exit(&bare->ring);
    return ret;
}

int bare_run(const struct bare_config *config, double *iops, struct err *err)
{
    struct bare bare = {.config = config, .random = config->seed};
    size_t size = (size_t)config->depth * config->block;
    /* O_NONBLOCK: tmpfs reads of io_uring go to its workers otherwise. */
    int fd = open(config->path, (config->read_percent == 100 ? O_RDONLY : O_RDWR) | O_NONBLOCK |
                                    O_CLOEXEC | (config->direct ? O_DIRECT : 0));
    int ret;

    if (fd < 0)
        return err_set(err, -errno, "bare io_uring loop: cannot open the disk's file: %s",
                       strerror(errno));
    size = (size + BUFFER_ALIGNMENT - 1) / BUFFER_ALIGNMENT * BUFFER_ALIGNMENT;
    bare.buffers = aligned_alloc(BUFFER_ALIGNMENT, size);
    if (!bare.buffers) {
        close(fd);
        return err_set(err, -ENOMEM, "bare io_uring loop: no memory for its buffers");
    }
    memset(bare.buffers, 1, size);
    ret = ring_open(&bare, fd);
    if (!ret) {
        ret = requests_run(&bare, iops);
        io_uring_queue_exit(&bare.ring);
    }
    if (ret)
        err_set(err, ret, "bare io_uring loop: %s", strerror(-ret));
    free(bare.buffers);
    close(fd);
    return ret;
}
