/* The pump of a queue: chains in, requests out of a fixed pool, one flush for what they finished.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/arith.h"
#include "base/check.h"
#include "virtio/core.h"

enum { PUMP_RUN, PUMP_DRAIN };

/* ---- the request pool ---- */

static int pool_init(struct virtio_queue *queue)
{
    const struct virtio_request_type *type = queue->spec->requests;
    struct virtio_pool *pool = &queue->pool;

    if (!type)
        return 0;
    CHECK(type->task.done == virtio_request_done);
    CHECK_CMP(type->frame_size, >=, sizeof(struct virtio_request));
    pool->frame_size = align_up(type->frame_size, _Alignof(struct iovec));
    pool->stride = align_up(pool->frame_size + queue->chain_max * sizeof(struct iovec), 64);
    pool->frames = calloc(type->count, pool->stride);
    return pool->frames ? 0 : -ENOMEM;
}

/* Last freed, first used: what an idle guest never needed stays untouched memory. NULL: empty. */
static struct virtio_request *pool_get(struct virtio_queue *queue)
{
    struct virtio_pool *pool = &queue->pool;
    struct virtio_request *request = pool->free;

    if (request) {
        pool->free = request->next;
    } else if (pool->fresh < queue->spec->requests->count) {
        uint8_t *frame = pool->frames + pool->fresh++ * pool->stride;

        request = (struct virtio_request *)(void *)frame;
        request->queue = queue;
        request->chain.iov = (struct iovec *)(void *)(frame + pool->frame_size);
        request->chain.iov_max = queue->chain_max;
        list_init(&request->in_flight_link);
    }
    return request;
}

static void pool_put(struct virtio_queue *queue, struct virtio_request *request)
{
    request->next = queue->pool.free;
    queue->pool.free = request;
}

static enum virtio_pump_verdict requests_start(struct virtio_queue *queue)
{
    const struct virtio_request_type *type = queue->spec->requests;

    for (int i = 0; i < VIRTIO_PUMP_BATCH; i++) {
        struct virtio_request *request = pool_get(queue);

        if (!request)
            return VIRTIO_PUMP_BLOCKED; /* virtio_request_done wakes the pump */
        if (!virtio_queue_pop(queue, &request->chain)) {
            pool_put(queue, request);
            return VIRTIO_PUMP_EMPTY;
        }
        request->used_len = 0;
        request->cancelled = false;
        queue->has_arrived = true;
        list_push_back(&queue->in_flight, &request->in_flight_link);
        task_spawn(&request->task, queue->device->context.executor, &type->task);
    }
    return VIRTIO_PUMP_AGAIN;
}

void virtio_request_done(struct task *task)
{
    struct virtio_request *request = container_of(task, struct virtio_request, task);
    struct virtio_queue *queue = request->queue;

    list_remove(&request->in_flight_link);
    if (!virtio_queue_is_stopping(queue))
        virtq_push(&queue->vq, &request->chain, request->used_len);
    queue->unsignalled++;
    pool_put(queue, request);
    task_wake(&queue->pump);
}

/* ---- the pump ---- */

static void window_begin(struct virtio_queue *queue, uint64_t deadline_ns)
{
    queue->has_arrived = false;
    timer_arm(&queue->window, &queue->pump, deadline_ns);
}

/*
 * Whether the interrupt that is due waits for more completions. A driver that made requests in the
 * window has something to do other than to wait for it, so another window follows; but what is done
 * does not wait for ever for requests that are not.
 */
static bool interrupt_waits(struct virtio_queue *queue)
{
    uint64_t window_ns = moderation_window_ns(&queue->moderation);
    uint64_t now_ns, end_ns;

    if (!window_ns || queue->unsignalled >= MODERATION_BATCH)
        return false;
    if (timer_has_fired(&queue->window) && !queue->has_arrived)
        return false;
    now_ns = executor_now_ns(queue->device->context.executor);
    if (!queue->oldest_ns)
        queue->oldest_ns = now_ns;
    end_ns = queue->oldest_ns + MODERATION_WINDOWS * window_ns;
    if (now_ns >= end_ns)
        return false;
    if (!timer_is_armed(&queue->window))
        window_begin(queue, u64_min(now_ns + window_ns, end_ns));
    return true;
}

static void queue_signal(struct virtio_queue *queue)
{
    uint32_t count = queue->unsignalled;
    uint64_t now_ns, window_ns;

    timer_cancel(&queue->window);
    queue->interrupt_is_due = false;
    queue->unsignalled = 0;
    queue->oldest_ns = 0;
    virtio_queue_interrupt(queue);
    if (!queue->spec->requests)
        return;
    now_ns = executor_now_ns(queue->device->context.executor);
    moderation_signalled(&queue->moderation, count, queue->vq.in_flight_count, now_ns);
    window_ns = moderation_window_ns(&queue->moderation);
    /* The next requests of a busy driver are found at the window's end, without a kick. */
    if (window_ns && count > 1)
        window_begin(queue, now_ns + window_ns);
}

static void doorbell_arm(struct virtio_queue *queue)
{
    struct op *op = &queue->doorbell_op;

    if (queue->doorbell_fd < 0 || op_is_in_flight(op))
        return;
    if (op_is_done(op) && op->result < 0) {
        virtio_device_needs_reset(queue->device, "the host cannot poll a doorbell");
        return;
    }
    /* Kicks from before now are in the eventfd's count, so the first poll sees them. */
    op_poll_multishot(op, &queue->pump, io_file_plain(queue->doorbell_fd), POLLIN);
}

/* While the executor is awake it looks at the ring itself, and the driver need not kick. */
static bool watch_has_work(struct watch *watch)
{
    struct virtio_queue *queue = container_of(watch, struct virtio_queue, watch);

    if (queue->verdict != VIRTIO_PUMP_EMPTY || !virtq_has_avail(&queue->vq))
        return false;
    task_wake(&queue->pump);
    return true;
}

static bool watch_rearm(struct watch *watch)
{
    struct virtio_queue *queue = container_of(watch, struct virtio_queue, watch);

    /* The end of the window wakes the pump, which looks: until then the driver need not kick. */
    if (timer_is_armed(&queue->window))
        return false;
    if (queue->verdict != VIRTIO_PUMP_EMPTY || !virtq_notify_enable(&queue->vq))
        return false;
    task_wake(&queue->pump);
    return true;
}

static const struct watch_type watch_type = {.has_work = watch_has_work, .rearm = watch_rearm};

static void pump_run(struct virtio_queue *queue)
{
    doorbell_arm(queue);
    if (queue->device->dma_is_off) {
        queue->verdict = VIRTIO_PUMP_BLOCKED; /* virtio_device_dma_set wakes the pump */
        return;
    }
    queue->interrupt_is_due |= virtq_flush(&queue->vq);
    virtq_notify_disable(&queue->vq);
    queue->verdict = queue->spec->requests ? requests_start(queue) : queue->spec->pump(queue);
    if (queue->rate_waiter.task)
        queue->verdict = VIRTIO_PUMP_BLOCKED; /* the limit wakes the pump */
    queue->interrupt_is_due |= virtq_flush(&queue->vq);
    if (queue->interrupt_is_due && !interrupt_waits(queue))
        queue_signal(queue);
    if (queue->verdict == VIRTIO_PUMP_AGAIN)
        task_wake(&queue->pump);
    else
        watch_start(&queue->watch, queue->device->context.executor, &watch_type);
}

static void pump_stop(struct virtio_queue *queue)
{
    const struct virtio_request_type *type = queue->spec->requests;

    if (queue->is_stopping && queue->device->ops->queue_stop)
        queue->device->ops->queue_stop(queue->device, queue->index);
    watch_stop(&queue->watch);
    if (queue->spec->limit)
        rate_limit_leave(queue->spec->limit, &queue->rate_waiter);
    timer_cancel(&queue->window);
    op_cancel(&queue->doorbell_op);
    list_for_each (link, &queue->in_flight) {
        struct virtio_request *request = container_of(link, struct virtio_request, in_flight_link);

        request->cancelled = true;
        type->cancel(request);
    }
}

static enum task_verdict pump_poll(struct task *task)
{
    struct virtio_queue *queue = container_of(task, struct virtio_queue, pump);

    if (!virtio_queue_is_stopping(queue)) {
        pump_run(queue);
        return TASK_PENDING;
    }
    if (task->state == PUMP_RUN) {
        task->state = PUMP_DRAIN;
        pump_stop(queue);
    }
    if (op_is_in_flight(&queue->doorbell_op) || !list_is_empty(&queue->in_flight) ||
        queue->activities)
        return TASK_PENDING;
    return TASK_DONE;
}

void queue_disable(struct virtio_queue *queue)
{
    virtq_disable(&queue->vq);
    queue->device->state.queues[queue->index].enabled = false;
}

/* The device comes last: its reset may end here. */
static void pump_done(struct task *task)
{
    struct virtio_queue *queue = container_of(task, struct virtio_queue, pump);
    struct bus_access *access = queue->stop_access;

    if (queue->is_stopping)
        queue_disable(queue);
    queue->is_stopping = false;
    queue->stop_access = NULL;
    if (access)
        bus_access_complete(access);
    virtio_device_release(queue->device);
}

static const char *const pump_state_names[] = {"run", "drain"};
static const struct task_type pump_type = {
    .name = "virtio pump",
    .poll = pump_poll,
    .done = pump_done,
    .state_names = pump_state_names,
    .state_count = array_count(pump_state_names),
};

int queue_init(struct virtio_queue *queue, struct virtio_device *device, uint16_t index)
{
    const struct virtio_queue_spec *spec = &device->queue_specs[index];
    int ret;

    CHECK(!spec->requests != !spec->pump);
    queue->device = device;
    queue->spec = spec;
    queue->index = index;
    queue->chain_max = spec->chain_max ? spec->chain_max : spec->size_max;
    queue->doorbell_fd = -1;
    list_init(&queue->in_flight);
    ret = pool_init(queue);
    if (!ret)
        ret = virtq_init(&queue->vq, device->context.mem, spec->size_max);
    if (!ret && device->context.in_order)
        ret = virtq_init_order(&queue->vq);
    return ret;
}

void queue_free(struct virtio_queue *queue)
{
    virtq_free(&queue->vq);
    free(queue->pool.frames);
}

void queue_start(struct virtio_queue *queue)
{
    virtio_device_hold(queue->device);
    queue->doorbell_op = (struct op){0};
    queue->moderation = (struct moderation){0};
    queue->interrupt_is_due = false;
    queue->unsignalled = 0;
    queue->oldest_ns = 0;
    queue->window = (struct timer){0};
    task_spawn(&queue->pump, queue->device->context.executor, &pump_type);
}

void virtio_queue_hold(struct virtio_queue *queue)
{
    virtio_device_hold(queue->device);
    queue->activities++;
}

/* The device comes last, as in pump_done. */
void virtio_queue_release(struct virtio_queue *queue)
{
    CHECK(queue->activities);
    if (!--queue->activities && virtio_queue_is_stopping(queue))
        task_wake(&queue->pump);
    virtio_device_release(queue->device);
}

static uint32_t payload_len(const struct virtio_queue *queue, const struct virtq_chain *chain)
{
    uint32_t len = chain->readable_len + chain->writable_len;

    return len > queue->spec->header_len ? len - queue->spec->header_len : 0;
}

bool virtio_queue_pop(struct virtio_queue *queue, struct virtq_chain *chain)
{
    struct rate_limit *limit = queue->spec->limit;
    int ret;

    if (unlikely(limit) && !rate_limit_admits(limit, &queue->rate_waiter, &queue->pump))
        return false;
    ret = virtq_pop(&queue->vq, chain);
    if (unlikely(ret < 0))
        virtio_device_needs_reset(queue->device, virtq_error(&queue->vq));
    if (unlikely(limit) && ret > 0)
        rate_limit_charge(limit, queue->device->context.executor, 1, payload_len(queue, chain));
    return ret > 0;
}

void virtio_queue_push(struct virtio_queue *queue, const struct virtq_chain *chain, uint32_t len)
{
    if (virtio_queue_is_stopping(queue))
        return;
    virtq_push(&queue->vq, chain, len);
    task_wake(&queue->pump);
}
