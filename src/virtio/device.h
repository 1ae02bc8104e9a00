/*
 * The virtio device core (virtio 1.2, chapters 2 and 3): status, feature negotiation, queues,
 * configuration space, reset; and the machinery that keeps devices short:
 *
 *  - a pump task per enabled queue, woken by the queue's doorbell, by a notify register write and
 * by completions. It takes chains from the ring, a bounded number per turn, and makes each a
 *    request: a task from the queue's fixed pool. When requests finish, it flushes the used ring
 *    with ONE interrupt decision for all of them.
 *  - stop and drain: a reset (or shutdown) stops the pumps, cancels the requests and is finished
 *    when nothing is in flight any more. Only then is the status write of 0 answered.
 *
 * All that the guest can see and set is in one struct, virtio_state, which a reset re-initialises
 * as a whole.
 *
 * A device provides: ops, features, config bytes, a table of queues. Per request it writes a task
 * poll function; the frame begins with struct virtio_request. Everything: executor thread, or
 * before it runs.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/bus.h"
#include "exec/blocking.h"
#include "exec/executor.h"
#include "exec/op.h"
#include "exec/task.h"
#include "exec/timer.h"
#include "exec/watch.h"
#include "mem/gmem.h"
#include "virtio/moderation.h"
#include "virtio/queue.h"
#include "virtio/rate_limit.h"

enum {
    VIRTIO_QUEUE_COUNT_MAX = MSIX_VECTOR_COUNT_MAX - 1, /* one vector is for the configuration */
    VIRTIO_CONFIG_LEN_MAX = 4096,
    /* Chains that a pump takes before it lets everything else run (hostile-guest class 10). */
    VIRTIO_PUMP_BATCH = 64,
    VIRTIO_NO_VECTOR = 0xffff,
};

struct virtio_device;
struct virtio_queue;
struct virtio_request;

/* What a queue's pump should do next. */
enum virtio_pump_verdict {
    VIRTIO_PUMP_EMPTY,   /* the ring has no more: sleep until the driver adds to it */
    VIRTIO_PUMP_AGAIN,   /* a batch is done, more may be there: let others run, then come back */
    VIRTIO_PUMP_BLOCKED, /* the device cannot take more now; it wakes the pump when it can */
};

/* How a queue turns chains into requests. */
struct virtio_request_type {
    /* .poll is the device's; .done must be virtio_request_done. */
    struct task_type task;
    uint32_t frame_size; /* of the device's struct, whose FIRST member is struct virtio_request */
    uint16_t count;      /* requests in flight at most: the size of the pool */
    /*
     * The device stops: cancel the operation that this request awaits (op_cancel). Called once per
     * live request, after which virtio_request_is_cancelled holds: start nothing that may wait for
     * long any more.
     */
    void (*cancel)(struct virtio_request *request);
};

struct virtio_queue_spec {
    const char *name;
    uint16_t size_max;  /* power of two: what queue_size says before the driver lowers it */
    uint16_t chain_max; /* buffers in one chain; a longer one is the driver's error. 0: size_max */
    /* Optional: what virtio_queue_pop waits for. Shared by queues of the device, if it likes. */
    struct rate_limit *limit;
    uint16_t header_len; /* bytes of a chain that do not count there */
    /* Either: each chain becomes a request of this type ... */
    const struct virtio_request_type *requests;
    /*
     * ... or: the pump calls this, which takes chains with virtio_queue_pop and gives them back
     * with virtio_queue_push, VIRTIO_PUMP_BATCH per call at most.
     */
    enum virtio_pump_verdict (*pump)(struct virtio_queue *queue);
};

/* Base of a request's frame; lives in the queue's pool. */
struct virtio_request {
    struct task task;
    struct virtio_queue *queue;  /* read-only */
    struct virtq_chain chain;    /* the device's to consume */
    uint32_t used_len;           /* set by the device: bytes written to the writable part */
    bool cancelled;              /* private */
    struct virtio_request *next; /* private: in the pool's free list */
    struct list in_flight_link;  /* private */
};

struct virtio_device_ops {
    /* Optional. DRIVER_OK: device->state.driver_features are final; queues are not running yet.
     * A negative errno, with no hold left, sets DEVICE_NEEDS_RESET. */
    int (*activate)(struct virtio_device *device);
    /*
     * Optional. Reset or shutdown: end the device's own activities (those that are not requests),
     * each of which releases its hold when it has ended.
     */
    void (*stop)(struct virtio_device *device);
    /* Optional. A queue alone stops, whose pump is the device's own: as `stop`, for what works on
     * it. Without this such a queue stops with the device only. */
    void (*queue_stop)(struct virtio_device *device, uint16_t index);
    /* Optional. Drained: forget everything the driver told. Also after a device that never ran. */
    void (*reset)(struct virtio_device *device);
    /* Optional; else writes are ignored. [offset, offset + len) is inside the config space. */
    void (*config_write)(struct virtio_device *device, uint32_t offset, const void *data,
                         uint32_t len);
    /* Optional: false refuses FEATURES_OK (a bit without the one it depends on). `features` is a
     * subset of what is offered. */
    bool (*features_valid)(const struct virtio_device *device, uint64_t features);
    /* Both optional, and called while the device runs, for queues that are served elsewhere: what
     * virtio_queue_eventfd says, or virtio_device_dma_is_on, may have changed. */
    void (*interrupts_changed)(struct virtio_device *device);
    void (*dma_changed)(struct virtio_device *device);
    /* Frees the device; it is stopped, and virtio_device_free was not called yet. */
    void (*destroy)(struct virtio_device *device);
};

/* Guest-visible state of a queue. */
struct virtio_queue_state {
    struct virtq_config config;
    bool enabled;
    uint16_t vector;
};

/* Everything that the guest can see and set; shared by the transports. */
struct virtio_state {
    uint8_t status;
    uint8_t isr; /* 4.1.4.5; only set while MSI-X is off */
    uint32_t device_feature_select;
    uint32_t driver_feature_select;
    uint64_t driver_features;
    uint16_t config_vector;
    uint16_t queue_select;
    struct virtio_queue_state queues[VIRTIO_QUEUE_COUNT_MAX];
};

enum virtio_phase { VIRTIO_IDLE, VIRTIO_ACTIVE, VIRTIO_STOPPING };

struct virtio_pool {
    uint8_t *frames; /* count * stride bytes, touched only as far as they were ever used */
    size_t stride;
    size_t frame_size; /* the vector of the chain follows the frame */
    uint16_t fresh;    /* frames below this index were used before */
    struct virtio_request *free;
};

struct virtio_queue {
    struct virtio_device *device;         /* read-only */
    const struct virtio_queue_spec *spec; /* read-only */
    uint16_t index;                       /* read-only */
    uint16_t chain_max;                   /* read-only */
    /*
     * Set by the device while it activates, until it has drained: someone else serves the ring (a
     * thread of the kernel). No pump runs; whoever serves it hears of kicks by doorbell_fd, and
     * sends interrupts by virtio_queue_eventfd.
     */
    bool is_external;
    int doorbell_fd; /* read-only: an eventfd; -1: the transport has none */
    struct virtq vq;
    struct task pump; /* device: task_wake(&queue->pump) when it is no longer blocked */
    /* private */
    struct watch watch;
    struct op doorbell_op;
    enum virtio_pump_verdict verdict;
    struct rate_waiter rate_waiter;
    struct virtio_pool pool;
    struct list in_flight;
    uint32_t activities; /* holds: the drain waits for 0 */
    bool is_stopping;    /* alone: the device runs on without it */
    struct bus_access *stop_access;
    struct moderation moderation;
    struct timer window;  /* until its end an interrupt may wait, and nobody need kick */
    uint32_t unsignalled; /* requests done since the last interrupt */
    uint64_t oldest_ns;   /* when the interrupt that waits was due first; 0: none waits */
    bool interrupt_is_due;
    bool has_arrived; /* a request, in this window */
};

/* How the core reaches the driver. */
struct virtio_transport_ops {
    void (*queue_interrupt)(void *transport, uint16_t index);
    void (*config_interrupt)(void *transport);
    /* Optional: see virtio_queue_eventfd. */
    int (*queue_eventfd)(void *transport, uint16_t index);
    /* The device is back in its initial state: drop interrupt lines. */
    void (*reset)(void *transport);
};

struct virtio_transport {
    const struct virtio_transport_ops *ops;
    void *transport;
};

/* What every device is created with. */
struct virtio_context {
    struct executor *executor;
    const struct gmem *mem;
    struct blocking_pool *blocking; /* for system calls that wait for locks of the host */
    bool packed_queue;              /* VIRTIO_F_RING_PACKED is offered, beside the split layout */
    bool in_order; /* VIRTIO_F_IN_ORDER is offered: what is done early waits for its turn */
};

/* Embedded in the device's own struct. */
struct virtio_device {
    /* Set by the device before virtio_device_init; constant afterwards. */
    const struct virtio_device_ops *ops;
    const char *name;   /* for messages: "blk0"; outlives the device */
    uint16_t id;        /* VIRTIO_ID_* of linux/virtio_ids.h */
    uint64_t features;  /* offered, device-specific; the core adds its own (VERSION_1, rings) ... */
    uint64_t withheld;  /* ... but not these, which the device cannot do */
    const void *config; /* the device's bytes, little-endian; see virtio_device_config_changed */
    uint32_t config_len;
    const struct virtio_queue_spec *queue_specs;
    uint16_t queue_count;

    /* read-only */
    struct virtio_context context;
    struct virtio_queue *queues;
    struct virtio_state state;

    /* private */
    struct virtio_transport transport;
    enum virtio_phase phase;
    bool dma_is_off;
    uint8_t config_generation; /* 2.5; for transports */
    uint32_t activities;       /* live pumps and holds: the drain waits for 0 */
    struct bus_access *reset_access;
    void (*stopped)(struct virtio_device *device, void *arg);
    void *stopped_arg;
    struct log_limit log_limit;
};

/* ---- for devices ---- */

/* Allocates queues and pools; everything later happens without allocation. -ENOMEM, -EINVAL. */
must_check int virtio_device_init(struct virtio_device *device,
                                  const struct virtio_context *context, struct err *err);
/* The counterpart, called by ops->destroy; the device is stopped. */
void virtio_device_free(struct virtio_device *device);

/* True when the driver accepted feature bit `bit`. */
static inline bool virtio_device_has(const struct virtio_device *device, unsigned bit)
{
    return device->state.driver_features >> bit & 1;
}

/* Bytes of device->config changed: new generation, and a notification if the driver runs (2.5). */
void virtio_device_config_changed(struct virtio_device *device);
/* The driver (or the host) broke the device: DEVICE_NEEDS_RESET and a rate-limited line (2.1.2). */
void virtio_device_needs_reset(struct virtio_device *device, const char *why);

/* An activity of the device's own (a task that is not a request): the drain waits for its release.
 */
void virtio_device_hold(struct virtio_device *device);
void virtio_device_release(struct virtio_device *device);
/* True from the start of a reset or shutdown until it is drained. */
static inline bool virtio_device_is_stopping(const struct virtio_device *device)
{
    return device->phase == VIRTIO_STOPPING;
}

/* The same, and from when its driver takes one queue back until that is drained. */
bool virtio_device_is_draining(const struct virtio_device *device);
/* Requests that were taken and not answered, of queues that have requests. */
unsigned virtio_device_in_flight(const struct virtio_device *device);

/* The same for what works on one queue: it ends with the queue. */
void virtio_queue_hold(struct virtio_queue *queue);
void virtio_queue_release(struct virtio_queue *queue);
/* True from when the queue, or the device, is told to stop until it is drained. */
static inline bool virtio_queue_is_stopping(const struct virtio_queue *queue)
{
    return queue->is_stopping || virtio_device_is_stopping(queue->device);
}

/* task_type.done of every request type: gives the chain back, returns the frame to its pool. */
void virtio_request_done(struct task *task);
static inline bool virtio_request_is_cancelled(const struct virtio_request *request)
{
    return request->cancelled;
}

/* For pump functions. As virtq_pop, but a broken queue is reported and looks empty, and so does one
 * whose limit does not admit more now (the pump is woken when it does): true when *chain is filled.
 */
must_check bool virtio_queue_pop(struct virtio_queue *queue, struct virtq_chain *chain);
/* As virtq_push; may be called outside the pump too (it wakes the pump, which flushes). A no-op
 * once the device stops. */
void virtio_queue_push(struct virtio_queue *queue, const struct virtq_chain *chain, uint32_t len);

/* For queues that are external. */
/* An eventfd whose signal is this queue's interrupt, as things stand, and needs nobody here; -1:
 * there is none now, and virtio_queue_interrupt is the way. */
int virtio_queue_eventfd(const struct virtio_queue *queue);
void virtio_queue_interrupt(const struct virtio_queue *queue);
/* False: whoever serves a queue leaves guest memory alone. */
static inline bool virtio_device_dma_is_on(const struct virtio_device *device)
{
    return !device->dma_is_off;
}

/* ---- for the machine ---- */

/*
 * Stops and drains the device, in whatever state it is, and brings it back to its initial state;
 * then calls stopped(device, arg), possibly before this returns. Also while a reset by the guest is
 * under way. Once at a time. For power-off, and for a reboot in place.
 */
void virtio_device_shutdown(struct virtio_device *device,
                            void (*stopped)(struct virtio_device *device, void *arg), void *arg);
/* NULL is allowed; the device is stopped. */
static inline void virtio_device_destroy(struct virtio_device *device)
{
    if (device)
        device->ops->destroy(device);
}

/* ---- for transports: the guest's register accesses ---- */

/* Before the guest runs. `doorbell_fds` has an eventfd per queue, owned by the transport, or is
 * NULL. */
void virtio_device_attach(struct virtio_device *device, struct virtio_transport transport,
                          const int *doorbell_fds);
uint64_t virtio_device_features(const struct virtio_device *device);
uint32_t virtio_device_features_read(const struct virtio_device *device, uint32_t select);
void virtio_device_features_write(struct virtio_device *device, uint32_t select, uint32_t value);
/*
 * Writes device_status. A write of 0 while the device runs is deferred until it is drained: then
 * `access` is completed, unless it is NULL (an access that cannot wait; the driver sees the end of
 * the reset when it reads 0, 4.1.4.3.1).
 */
enum bus_verdict virtio_device_status_write(struct virtio_device *device, uint8_t status,
                                            struct bus_access *access);
/* The selected queue; NULL when there is none. Its vector may be changed in any state. */
struct virtio_queue_state *virtio_device_queue_selected(struct virtio_device *device);
/* The selected queue's config while the driver may change it (FEATURES_OK, not DRIVER_OK, queue not
 * enabled), else NULL. */
struct virtq_config *virtio_device_queue_config(struct virtio_device *device);
/* Writes queue_size of the selected queue; what its maximum or its layout does not allow is
 * ignored.
 */
void virtio_device_queue_size_write(struct virtio_device *device, uint16_t size);
/* Writes 1 to queue_enable of the selected queue. An impossible set-up needs a reset. */
void virtio_device_queue_enable(struct virtio_device *device);
/*
 * Takes that back. While the device runs, the queue's requests are cancelled and drained like those
 * of a reset, and `access` is completed when nothing touches the queue any more: then it stays
 * disabled until a reset. See virtio_device_ops.queue_stop for queues whose pump is the device's.
 */
enum bus_verdict virtio_device_queue_disable(struct virtio_device *device,
                                             struct bus_access *access);
/*
 * For transports whose driver can switch off the device's access to memory; at first it is on.
 * While it is off the pumps wait: no chain is taken, nothing is published.
 */
void virtio_device_dma_set(struct virtio_device *device, bool on);
/* What queue_eventfd answers may have changed. */
void virtio_device_interrupts_changed(struct virtio_device *device);
/* A notification for queue `index`, in any state, any index: wakes its pump if it runs. */
void virtio_device_notify(struct virtio_device *device, uint16_t index);
/* Device configuration space: what lies outside reads 0 and ignores writes. */
void virtio_device_config_read(const struct virtio_device *device, uint32_t offset, void *data,
                               uint32_t len);
void virtio_device_config_write(struct virtio_device *device, uint32_t offset, const void *data,
                                uint32_t len);
