#include "echo_device.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct echo_request {
    struct virtio_request base;
    struct op op;
};

static struct echo_device *echo_of(struct virtio_device *device)
{
    return container_of(device, struct echo_device, device);
}

static void live_add(struct echo_device *echo)
{
    echo->live++;
    if (echo->live > echo->live_max)
        echo->live_max = echo->live;
}

enum { ECHO_WAIT = 1 };

static enum task_verdict echo_poll(struct task *task)
{
    struct virtio_request *const request = container_of(task, struct virtio_request, task);
    struct echo_device *const echo = echo_of(request->queue->device);
    struct virtq_chain *const chain = &request->chain;

    ASYNC_BEGIN(task)
        ;
        live_add(echo);
        if (!echo->first_batch)
            echo->first_batch = request->queue->vq.in_flight_count;
        AWAIT(task, ECHO_WAIT,
              !echo->held || (virtio_request_is_cancelled(request) && !echo->ignores_cancel));
        while (chain->readable_len && chain->writable_len) {
            uint8_t byte;

            cr_assert(virtq_chain_pull(chain, &byte, 1));
            request->used_len += virtq_chain_put(chain, &byte, 1);
        }
        echo->live--;
        ASYNC_END(task);
}

static void echo_cancel(struct virtio_request *request)
{
    task_wake(&request->task);
}

static enum task_verdict pipe_poll(struct task *task)
{
    struct virtio_request *const base = container_of(task, struct virtio_request, task);
    struct echo_request *const request = container_of(base, struct echo_request, base);
    struct echo_device *const echo = echo_of(base->queue->device);

    ASYNC_BEGIN(task)
        ;
        live_add(echo);
        if (!virtio_request_is_cancelled(base)) {
            op_readv(&request->op, task, io_file_plain(echo->pipe[0]), base->chain.writable,
                     base->chain.writable_count, UINT64_MAX);
            AWAIT(task, ECHO_WAIT, op_is_done(&request->op));
            base->used_len = request->op.result > 0 ? request->op.result : 0;
        }
        echo->live--;
        ASYNC_END(task);
}

static void pipe_cancel(struct virtio_request *base)
{
    op_cancel(&container_of(base, struct echo_request, base)->op);
}

static const struct virtio_request_type echo_type = {
    .task = {.name = "echo request", .poll = echo_poll, .done = virtio_request_done},
    .frame_size = sizeof(struct virtio_request),
    .count = ECHO_POOL_SIZE,
    .cancel = echo_cancel,
};
static const struct virtio_request_type pipe_type = {
    .task = {.name = "pipe request", .poll = pipe_poll, .done = virtio_request_done},
    .frame_size = sizeof(struct echo_request),
    .count = ECHO_POOL_SIZE,
    .cancel = pipe_cancel,
};

static const struct virtio_queue_spec queue_specs[] = {
    [ECHO_QUEUE] = {.name = "echo",
                    .size_max = ECHO_QUEUE_SIZE,
                    .chain_max = ECHO_CHAIN_MAX,
                    .requests = &echo_type},
    [ECHO_PIPE_QUEUE] = {.name = "pipe", .size_max = 16, .requests = &pipe_type},
};

static int echo_activate(struct virtio_device *device)
{
    echo_of(device)->activations++;
    device->queues[ECHO_QUEUE].is_external = echo_of(device)->is_external;
    return echo_of(device)->activate_result;
}

static void echo_stop(struct virtio_device *device)
{
    echo_of(device)->stops++;
}

static void echo_reset(struct virtio_device *device)
{
    cr_assert_eq(echo_of(device)->live, 0, "reset before it is drained");
    echo_of(device)->resets++;
}

static void echo_interrupts_changed(struct virtio_device *device)
{
    echo_of(device)->interrupt_changes++;
}

static void echo_dma_changed(struct virtio_device *device)
{
    echo_of(device)->dma_changes++;
}

static void echo_config_write(struct virtio_device *device, uint32_t offset, const void *data,
                              uint32_t len)
{
    cr_assert_leq(offset + len, ECHO_CONFIG_LEN);
    memcpy(echo_of(device)->config + offset, data, len);
}

static bool echo_features_valid(const struct virtio_device *device, uint64_t features)
{
    (void)device;
    return !(features >> ECHO_F_NEEDS_A & 1) || features >> ECHO_F_A & 1;
}

static void echo_destroy(struct virtio_device *device)
{
    struct echo_device *echo = echo_of(device);

    virtio_device_free(device);
    close(echo->pipe[0]);
    close(echo->pipe[1]);
    free(echo);
}

static const struct virtio_device_ops echo_ops = {
    .activate = echo_activate,
    .stop = echo_stop,
    .reset = echo_reset,
    .config_write = echo_config_write,
    .features_valid = echo_features_valid,
    .interrupts_changed = echo_interrupts_changed,
    .dma_changed = echo_dma_changed,
    .destroy = echo_destroy,
};

struct echo_device *echo_create(const struct virtio_context *context)
{
    struct echo_device *echo = calloc(1, sizeof(*echo));

    cr_assert_not_null(echo);
    cr_assert_eq(pipe(echo->pipe), 0);
    for (uint8_t i = 0; i < ECHO_CONFIG_LEN; i++)
        echo->config[i] = 1 + i;
    echo->behind_config = 0xee;
    echo->device.ops = &echo_ops;
    echo->device.name = "echo0";
    echo->device.id = ECHO_ID;
    echo->device.features = 1ULL << ECHO_F_A | 1ULL << ECHO_F_NEEDS_A;
    echo->device.config = echo->config;
    echo->device.config_len = ECHO_CONFIG_LEN;
    echo->device.queue_specs = queue_specs;
    echo->device.queue_count = ECHO_QUEUE_COUNT;
    cr_assert_eq(virtio_device_init(&echo->device, context, NULL), 0);
    return echo;
}

void echo_release(struct echo_device *echo)
{
    echo->held = false;
    list_for_each (link, &echo->device.queues[ECHO_QUEUE].in_flight)
        task_wake(&container_of(link, struct virtio_request, in_flight_link)->task);
}
