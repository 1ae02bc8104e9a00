#include "virtio/device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/arith.h"
#include "base/check.h"
#include "virtio/core.h"

#define CORE_FEATURES                                                   \
    (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_INDIRECT_DESC | \
     1ULL << VIRTIO_RING_F_EVENT_IDX)

/* Status bits that a driver sets, in the order of 3.1.1; DEVICE_NEEDS_RESET is the device's. */
static const uint8_t status_steps[] = {
    VIRTIO_CONFIG_S_ACKNOWLEDGE,
    VIRTIO_CONFIG_S_DRIVER,
    VIRTIO_CONFIG_S_FEATURES_OK,
    VIRTIO_CONFIG_S_DRIVER_OK,
};
enum {
    STATUS_DRIVER_BITS = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                         VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK |
                         VIRTIO_CONFIG_S_FAILED,
    STATUS_ENDED = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET,
};

static void state_init(struct virtio_device *device)
{
    struct virtio_state *state = &device->state;

    *state = (struct virtio_state){.config_vector = VIRTIO_NO_VECTOR};
    for (uint16_t i = 0; i < device->queue_count; i++) {
        state->queues[i].vector = VIRTIO_NO_VECTOR;
        state->queues[i].config.size = device->queue_specs[i].size_max;
    }
}

int virtio_device_init(struct virtio_device *device, const struct virtio_context *context,
                       struct err *err)
{
    int ret = -ENOMEM;

    CHECK_CMP(device->queue_count, <=, VIRTIO_QUEUE_COUNT_MAX);
    CHECK_CMP(device->config_len, <=, (uint32_t)VIRTIO_CONFIG_LEN_MAX);
    device->context = *context;
    state_init(device);
    device->queues = calloc(device->queue_count, sizeof(*device->queues));
    if (!device->queues)
        goto fail;
    for (uint16_t i = 0; i < device->queue_count; i++) {
        ret = queue_init(&device->queues[i], device, i);
        if (ret)
            goto fail;
    }
    return 0;
fail:
    virtio_device_free(device);
    return err_set(err, ret, "%s: out of memory for its queues; use fewer or smaller ones",
                   device->name);
}

void virtio_device_free(struct virtio_device *device)
{
    CHECK(device->phase == VIRTIO_IDLE);
    if (!device->queues)
        return;
    for (uint16_t i = 0; i < device->queue_count; i++)
        queue_free(&device->queues[i]);
    free(device->queues);
    device->queues = NULL;
}

void virtio_device_attach(struct virtio_device *device, struct virtio_transport transport,
                          const int *doorbell_fds)
{
    device->transport = transport;
    for (uint16_t i = 0; i < device->queue_count; i++)
        device->queues[i].doorbell_fd = doorbell_fds ? doorbell_fds[i] : -1;
}

/* ---- notifications of the configuration ---- */

static void config_interrupt(struct virtio_device *device)
{
    if (device->state.status & VIRTIO_CONFIG_S_DRIVER_OK && !virtio_device_is_stopping(device))
        device->transport.ops->config_interrupt(device->transport.transport);
}

void virtio_device_config_changed(struct virtio_device *device)
{
    device->config_generation++;
    config_interrupt(device);
}

void virtio_device_needs_reset(struct virtio_device *device, const char *why)
{
    if (device->state.status & VIRTIO_CONFIG_S_NEEDS_RESET)
        return;
    log_limited(&device->log_limit, LOG_WARN, "%s: needs a reset by its driver: %s", device->name,
                why);
    device->state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    config_interrupt(device);
}

/* ---- reset: stop, drain, start over ---- */

/* Nothing is in flight any more. The callback comes last: it may go on to destroy the device. */
static void device_drained(struct virtio_device *device)
{
    struct bus_access *access = device->reset_access;
    void (*stopped)(struct virtio_device *, void *) = device->stopped;

    for (uint16_t i = 0; i < device->queue_count; i++) {
        virtq_disable(&device->queues[i].vq);
        device->queues[i].is_external = false;
    }
    if (device->ops->reset)
        device->ops->reset(device);
    state_init(device);
    device->phase = VIRTIO_IDLE;
    device->reset_access = NULL;
    device->stopped = NULL;
    device->transport.ops->reset(device->transport.transport);
    if (access)
        bus_access_complete(access);
    if (stopped)
        stopped(device, device->stopped_arg);
}

void virtio_device_hold(struct virtio_device *device)
{
    CHECK(device->phase != VIRTIO_IDLE);
    device->activities++;
}

void virtio_device_release(struct virtio_device *device)
{
    CHECK(device->activities);
    if (!--device->activities && virtio_device_is_stopping(device))
        device_drained(device);
}

bool virtio_device_is_draining(const struct virtio_device *device)
{
    for (uint16_t i = 0; i < device->queue_count; i++)
        if (virtio_queue_is_stopping(&device->queues[i]))
            return true;
    return virtio_device_is_stopping(device);
}

unsigned virtio_device_in_flight(const struct virtio_device *device)
{
    unsigned count = 0;

    for (uint16_t i = 0; i < device->queue_count; i++)
        list_for_each (link, &device->queues[i].in_flight)
            count++;
    return count;
}

static bool queue_has_pump(const struct virtio_device *device, uint16_t index)
{
    return device->state.queues[index].enabled && !device->queues[index].is_external;
}

static void device_stop(struct virtio_device *device)
{
    if (device->phase == VIRTIO_IDLE) {
        device_drained(device);
        return;
    }
    if (virtio_device_is_stopping(device))
        return;
    device->phase = VIRTIO_STOPPING;
    virtio_device_hold(device); /* until everything has been told */
    if (device->ops->stop)
        device->ops->stop(device);
    for (uint16_t i = 0; i < device->queue_count; i++)
        if (queue_has_pump(device, i))
            task_wake(&device->queues[i].pump);
    virtio_device_release(device);
}

void virtio_device_shutdown(struct virtio_device *device,
                            void (*stopped)(struct virtio_device *device, void *arg), void *arg)
{
    CHECK(!device->stopped);
    device->stopped = stopped;
    device->stopped_arg = arg;
    device_stop(device);
}

/* One access waits; the writer of a second 0 meanwhile reads a status that is not 0 yet. */
static enum bus_verdict device_reset(struct virtio_device *device, struct bus_access *access)
{
    bool first = device->phase == VIRTIO_ACTIVE;

    device_stop(device);
    if (!first || !access || device->phase == VIRTIO_IDLE)
        return BUS_DONE;
    device->reset_access = access;
    return BUS_DEFER;
}

/* ---- status and features ---- */

static bool features_accept(const struct virtio_device *device)
{
    uint64_t features = device->state.driver_features;

    if (features & ~virtio_device_features(device) ||
        !virtio_device_has(device, VIRTIO_F_VERSION_1))
        return false;
    return !device->ops->features_valid || device->ops->features_valid(device, features);
}

static void device_activate(struct virtio_device *device)
{
    int ret = 0;

    device->state.status |= VIRTIO_CONFIG_S_DRIVER_OK;
    device->phase = VIRTIO_ACTIVE;
    if (device->ops->activate)
        ret = device->ops->activate(device);
    if (ret) {
        CHECK(!device->activities);
        device->phase = VIRTIO_IDLE;
        virtio_device_needs_reset(device, strerror(-ret));
        return;
    }
    for (uint16_t i = 0; i < device->queue_count; i++)
        if (queue_has_pump(device, i))
            queue_start(&device->queues[i]);
}

enum bus_verdict virtio_device_status_write(struct virtio_device *device, uint8_t status,
                                            struct bus_access *access)
{
    struct virtio_state *state = &device->state;
    uint8_t required = 0;

    if (!status)
        return device_reset(device, access);
    /* 2.1.1: a driver never clears a bit; and after an end there is only reset. */
    if (virtio_device_is_stopping(device) || state->status & STATUS_ENDED ||
        state->status & ~status & STATUS_DRIVER_BITS)
        return BUS_DONE;
    for (size_t i = 0; i < array_count(status_steps); i++) {
        uint8_t bit = status_steps[i];

        if (status & ~state->status & bit && (state->status & required) == required) {
            if (bit == VIRTIO_CONFIG_S_DRIVER_OK)
                device_activate(device);
            else if (bit != VIRTIO_CONFIG_S_FEATURES_OK || features_accept(device))
                state->status |= bit;
        }
        required |= bit;
    }
    state->status |= status & VIRTIO_CONFIG_S_FAILED;
    return BUS_DONE;
}

uint64_t virtio_device_features(const struct virtio_device *device)
{
    uint64_t features = device->features | CORE_FEATURES;

    if (device->context.packed_queue)
        features |= 1ULL << VIRTIO_F_RING_PACKED;
    if (device->context.in_order)
        features |= 1ULL << VIRTIO_F_IN_ORDER;
    return features & ~device->withheld;
}

uint32_t virtio_device_features_read(const struct virtio_device *device, uint32_t select)
{
    return select < 2 ? virtio_device_features(device) >> 32 * select : 0;
}

/* While the driver negotiates: it said DRIVER, and not yet FEATURES_OK or FAILED. */
void virtio_device_features_write(struct virtio_device *device, uint32_t select, uint32_t value)
{
    struct virtio_state *state = &device->state;

    if (select >= 2 || !(state->status & VIRTIO_CONFIG_S_DRIVER) ||
        state->status & (VIRTIO_CONFIG_S_FEATURES_OK | STATUS_ENDED))
        return;
    state->driver_features &= ~(0xffffffffULL << 32 * select);
    state->driver_features |= (uint64_t)value << 32 * select;
}

/* ---- queues ---- */

struct virtio_queue_state *virtio_device_queue_selected(struct virtio_device *device)
{
    uint16_t index = device->state.queue_select;

    return index < device->queue_count ? &device->state.queues[index] : NULL;
}

struct virtq_config *virtio_device_queue_config(struct virtio_device *device)
{
    struct virtio_queue_state *queue = virtio_device_queue_selected(device);
    uint8_t status = device->state.status;

    if (!queue || queue->enabled || !(status & VIRTIO_CONFIG_S_FEATURES_OK) ||
        status & (VIRTIO_CONFIG_S_DRIVER_OK | STATUS_ENDED))
        return NULL;
    return &queue->config;
}

void virtio_device_queue_size_write(struct virtio_device *device, uint16_t size)
{
    struct virtq_config *config = virtio_device_queue_config(device);

    if (config && virtq_size_is_possible(&device->queues[device->state.queue_select].vq, size,
                                         device->state.driver_features))
        config->size = size;
}

void virtio_device_queue_enable(struct virtio_device *device)
{
    struct virtq_config *config = virtio_device_queue_config(device);
    uint16_t index = device->state.queue_select;

    if (!config)
        return;
    if (virtq_enable(&device->queues[index].vq, config, device->state.driver_features))
        virtio_device_needs_reset(device, "a queue was enabled with impossible addresses");
    else
        device->state.queues[index].enabled = true;
}

enum bus_verdict virtio_device_queue_disable(struct virtio_device *device,
                                             struct bus_access *access)
{
    struct virtio_queue_state *state = virtio_device_queue_selected(device);
    struct virtio_queue *queue;

    if (!state || !state->enabled)
        return BUS_DONE;
    queue = &device->queues[device->state.queue_select];
    if (device->phase == VIRTIO_IDLE) {
        queue_disable(queue);
        return BUS_DONE;
    }
    /* One access waits; the writer of a second 0 meanwhile reads 1, which is still true. */
    if (virtio_queue_is_stopping(queue) || queue->is_external ||
        (!queue->spec->requests && !device->ops->queue_stop))
        return BUS_DONE;
    queue->is_stopping = true;
    queue->stop_access = access;
    task_wake(&queue->pump);
    return BUS_DEFER;
}

void virtio_device_notify(struct virtio_device *device, uint16_t index)
{
    /* Before DRIVER_OK nothing runs; the pump looks at the ring when it starts (3.1.1). */
    if (device->phase != VIRTIO_ACTIVE || index >= device->queue_count)
        return;
    if (queue_has_pump(device, index))
        task_wake(&device->queues[index].pump);
    else if (device->queues[index].is_external)
        /* Fails when the count is at its end, which is a signal, too. */
        (void)eventfd_write(device->queues[index].doorbell_fd, 1);
}

void virtio_device_dma_set(struct virtio_device *device, bool on)
{
    device->dma_is_off = !on;
    if (device->phase == VIRTIO_ACTIVE && device->ops->dma_changed)
        device->ops->dma_changed(device);
    for (uint16_t i = 0; i < device->queue_count; i++)
        virtio_device_notify(device, i);
}

/* ---- interrupts of external queues ---- */

int virtio_queue_eventfd(const struct virtio_queue *queue)
{
    const struct virtio_transport *transport = &queue->device->transport;

    if (!transport->ops->queue_eventfd)
        return -1;
    return transport->ops->queue_eventfd(transport->transport, queue->index);
}

void virtio_queue_interrupt(const struct virtio_queue *queue)
{
    const struct virtio_transport *transport = &queue->device->transport;

    transport->ops->queue_interrupt(transport->transport, queue->index);
}

void virtio_device_interrupts_changed(struct virtio_device *device)
{
    if (device->phase == VIRTIO_ACTIVE && device->ops->interrupts_changed)
        device->ops->interrupts_changed(device);
}

/* ---- configuration space ---- */

void virtio_device_config_read(const struct virtio_device *device, uint32_t offset, void *data,
                               uint32_t len)
{
    uint32_t inside = 0;

    if (offset < device->config_len)
        inside = u64_min(len, device->config_len - offset);
    memset(data, 0, len);
    if (inside)
        memcpy(data, (const uint8_t *)device->config + offset, inside);
}

void virtio_device_config_write(struct virtio_device *device, uint32_t offset, const void *data,
                                uint32_t len)
{
    if (device->ops->config_write && offset < device->config_len &&
        len <= device->config_len - offset && !virtio_device_is_stopping(device))
        device->ops->config_write(device, offset, data, len);
}
