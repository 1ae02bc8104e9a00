#include "virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"
#include "exec/timer.h"

enum {
    QUEUE_SIZE = 64,
    /* The device may write less than the buffer has room for (5.4.6): these bound a turn's work. */
    REQUEST_BYTES_MAX = 4096,
    REQUESTS_PER_TURN = 8,
    /* getrandom(2) of so little never stops half way. */
    PIECE_BYTES = 256,
};
/* Between two looks whether the host has entropy by now. */
#define RETRY_NS (10 * NS_PER_MS)

struct virtio_rng {
    struct virtio_device device;
    ssize_t (*getrandom)(void *buffer, size_t len, unsigned flags);
    bool has_entropy; /* once the host has some, it never runs out (random(7)) */
    struct timer retry;
    struct iovec iov[QUEUE_SIZE];
};

static struct virtio_rng *rng_of(struct virtio_device *device)
{
    return container_of(device, struct virtio_rng, device);
}

/* Never blocks: the executor waits for nobody's entropy. 0, or negative errno; -EAGAIN: not yet. */
static int entropy_look(struct virtio_rng *rng)
{
    uint8_t byte;

    if (!rng->has_entropy && rng->getrandom(&byte, sizeof(byte), GRND_NONBLOCK) < 0)
        return -errno;
    rng->has_entropy = true;
    return 0;
}

/* Returns the bytes of entropy that found room. */
static uint32_t chain_fill(const struct virtio_rng *rng, struct virtq_chain *chain)
{
    uint32_t left = u64_min(chain->writable_len, REQUEST_BYTES_MAX);
    uint32_t done = 0;
    uint8_t piece[PIECE_BYTES];

    while (left) {
        uint32_t len = u64_min(left, sizeof(piece));

        CHECK_CMP(rng->getrandom(piece, len, GRND_NONBLOCK), ==, (ssize_t)len);
        done += virtq_chain_put(chain, piece, len);
        left -= len;
    }
    explicit_bzero(piece, sizeof(piece));
    return done;
}

static enum virtio_pump_verdict rng_pump(struct virtio_queue *queue)
{
    struct virtio_rng *rng = rng_of(queue->device);
    struct virtq_chain chain = {.iov = rng->iov, .iov_max = QUEUE_SIZE};

    /* 5.4.6.2: a buffer comes back with one random byte at least. */
    if (entropy_look(rng)) {
        timer_arm(&rng->retry, &queue->pump,
                  executor_now_ns(queue->device->context.executor) + RETRY_NS);
        return VIRTIO_PUMP_BLOCKED;
    }
    for (int i = 0; i < REQUESTS_PER_TURN; i++) {
        if (!virtio_queue_pop(queue, &chain))
            return VIRTIO_PUMP_EMPTY;
        virtio_queue_push(queue, &chain, chain_fill(rng, &chain));
    }
    return VIRTIO_PUMP_AGAIN;
}

static void rng_stop(struct virtio_device *device)
{
    timer_cancel(&rng_of(device)->retry);
}

static void rng_destroy(struct virtio_device *device)
{
    virtio_device_free(device);
    free(rng_of(device));
}

static const struct virtio_queue_spec queue_specs[] = {
    {.name = "request", .size_max = QUEUE_SIZE, .pump = rng_pump},
};
static const struct virtio_device_ops rng_ops = {.stop = rng_stop, .destroy = rng_destroy};

int virtio_rng_create(struct virtio_device **out, const struct virtio_context *context,
                      const struct rng_config *config, struct err *err)
{
    struct virtio_rng *rng = calloc(1, sizeof(*rng));
    int ret;

    if (!rng)
        return err_set(err, -ENOMEM, "%s: out of memory", config->name);
    rng->getrandom = config->getrandom ? config->getrandom : getrandom;
    ret = entropy_look(rng);
    if (ret && ret != -EAGAIN) {
        ret = err_set(err, ret, "%s: getrandom(2): %s; allow it here, or use --no-rng",
                      config->name, strerror(-ret));
        goto fail;
    }
    rng->device.ops = &rng_ops;
    rng->device.name = config->name;
    rng->device.id = VIRTIO_ID_RNG;
    rng->device.queue_specs = queue_specs;
    rng->device.queue_count = array_count(queue_specs);
    ret = virtio_device_init(&rng->device, context, err);
    if (ret)
        goto fail;
    *out = &rng->device;
    return 0;
fail:
    free(rng);
    return ret;
}
