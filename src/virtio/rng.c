#include "virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/arith.h"

enum {
    QUEUE_SIZE = 64,
    /* The device may write less than the buffer has room for (5.4.6): these bound a turn's work. */
    REQUEST_BYTES_MAX = 4096,
    REQUESTS_PER_TURN = 8,
    /* getrandom(2) of so little never stops half way. */
    PIECE_BYTES = 256,
};

struct virtio_rng {
    struct virtio_device device;
    struct iovec iov[QUEUE_SIZE];
};

/* Returns the bytes of entropy that found room; 0 as long as the host has none. */
static uint32_t chain_fill(struct virtq_chain *chain)
{
    uint32_t left = u64_min(chain->writable_len, REQUEST_BYTES_MAX);
    uint32_t done = 0;
    uint8_t piece[PIECE_BYTES];

    while (left) {
        uint32_t len = u64_min(left, sizeof(piece));

        /* Never blocks: the executor waits for nobody's entropy. */
        if (getrandom(piece, len, GRND_NONBLOCK) != (ssize_t)len)
            break;
        done += virtq_chain_put(chain, piece, len);
        left -= len;
    }
    explicit_bzero(piece, sizeof(piece));
    return done;
}

static enum virtio_pump_verdict rng_pump(struct virtio_queue *queue)
{
    struct virtio_rng *rng = container_of(queue->device, struct virtio_rng, device);
    struct virtq_chain chain = {.iov = rng->iov, .iov_max = QUEUE_SIZE};

    for (int i = 0; i < REQUESTS_PER_TURN; i++) {
        if (!virtio_queue_pop(queue, &chain))
            return VIRTIO_PUMP_EMPTY;
        virtio_queue_push(queue, &chain, chain_fill(&chain));
    }
    return VIRTIO_PUMP_AGAIN;
}

static void rng_destroy(struct virtio_device *device)
{
    virtio_device_free(device);
    free(container_of(device, struct virtio_rng, device));
}

static const struct virtio_queue_spec queue_specs[] = {
    {.name = "request", .size_max = QUEUE_SIZE, .pump = rng_pump},
};
static const struct virtio_device_ops rng_ops = {.destroy = rng_destroy};

int virtio_rng_create(struct virtio_device **out, const struct virtio_context *context,
                      const char *name, struct err *err)
{
    struct virtio_rng *rng = calloc(1, sizeof(*rng));
    int ret;

    if (!rng)
        return err_set(err, -ENOMEM, "%s: out of memory", name);
    rng->device.ops = &rng_ops;
    rng->device.name = name;
    rng->device.id = VIRTIO_ID_RNG;
    rng->device.queue_specs = queue_specs;
    rng->device.queue_count = array_count(queue_specs);
    ret = virtio_device_init(&rng->device, context, err);
    if (ret) {
        free(rng);
        return ret;
    }
    *out = &rng->device;
    return 0;
}
