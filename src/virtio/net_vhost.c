#include "virtio/net_vhost.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "virtio/vhost.h"

/* Of the queues of a pair: their order is that of the kernel's rings (virtio 1.2, 5.1.2). */
enum { RING_COUNT_MAX = TAP_QUEUE_COUNT_MAX * VHOST_RING_COUNT };

struct net_vhost_ring {
    struct virtio_queue *queue; /* NULL: not enabled */
    bool is_served;             /* of whoever serves and withdraws */
    int call_fd;                /* ours: signalled where the interrupt has no eventfd */
    int signalled_fd;           /* what the kernel signals now; -1: nothing */
    struct op call_op;
};

struct net_vhost {
    struct task task;
    struct net_vhost_config config;
    struct virtio_device *device;
    int fds[TAP_QUEUE_COUNT_MAX];
    uint16_t fd_count;
    uint16_t call_count; /* rings that have their call_fd */
    int error_fd;        /* for all rings */
    struct op error_op;
    struct net_vhost_ring rings[RING_COUNT_MAX];
};

/* ---- create and destroy ---- */

static int eventfd_open(const struct net_vhost_config *config, int *fd, struct err *err)
{
    *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (*fd < 0)
        return err_set(err, -errno, "%s: no eventfd: %s; raise ulimit -n", config->name,
                       strerror(errno));
    return 0;
}

int net_vhost_create(struct net_vhost **out, const struct net_vhost_config *config, struct err *err)
{
    struct net_vhost *vhost = calloc(1, sizeof(*vhost));
    int ret;

    CHECK(config->pair_count && config->pair_count <= TAP_QUEUE_COUNT_MAX);
    if (!vhost)
        return err_set(err, -ENOMEM, "%s: out of memory", config->name);
    vhost->config = *config;
    ret = eventfd_open(config, &vhost->error_fd, err);
    if (ret)
        goto fail;
    for (; vhost->call_count < config->pair_count * VHOST_RING_COUNT; vhost->call_count++) {
        ret = eventfd_open(config, &vhost->rings[vhost->call_count].call_fd, err);
        if (ret)
            goto fail;
    }
    for (; vhost->fd_count < config->pair_count; vhost->fd_count++) {
        ret =
            vhost_open(&vhost->fds[vhost->fd_count], config->path, config->name, config->mem, err);
        if (ret)
            goto fail;
    }
    *out = vhost;
    return 0;
fail:
    net_vhost_destroy(vhost);
    return ret;
}

void net_vhost_destroy(struct net_vhost *vhost)
{
    if (!vhost)
        return;
    CHECK(!task_is_live(&vhost->task));
    while (vhost->fd_count)
        close(vhost->fds[--vhost->fd_count]);
    while (vhost->call_count)
        close(vhost->rings[--vhost->call_count].call_fd);
    if (vhost->error_fd >= 0)
        close(vhost->error_fd);
    free(vhost);
}

uint64_t net_vhost_features(const struct net_vhost *vhost)
{
    return vhost_features(vhost->fds[0]);
}

/* ---- interrupts ---- */

static bool eventfd_take(int fd)
{
    eventfd_t count;

    return !eventfd_read(fd, &count);
}

static void interrupt_route(struct net_vhost *vhost, unsigned index)
{
    struct net_vhost_ring *ring = &vhost->rings[index];
    int fd = virtio_queue_eventfd(ring->queue);

    if (fd < 0)
        fd = ring->call_fd;
    if (fd == ring->signalled_fd)
        return;
    CHECK_CMP(vhost_set_call(vhost->fds[index / VHOST_RING_COUNT], index % VHOST_RING_COUNT, fd),
              ==, 0);
    ring->signalled_fd = fd;
    /* What came for us before, and was not seen yet. */
    if (fd != ring->call_fd && eventfd_take(ring->call_fd))
        virtio_queue_interrupt(ring->queue);
}

void net_vhost_interrupts_changed(struct net_vhost *vhost)
{
    for (unsigned i = 0; i < vhost->call_count; i++)
        if (vhost->rings[i].queue)
            interrupt_route(vhost, i);
}

/* ---- the task ---- */

static void poll_arm(struct net_vhost *vhost, struct op *op, int fd)
{
    if (op_is_in_flight(op))
        return;
    if (op_is_done(op) && op->result < 0)
        virtio_device_needs_reset(vhost->device, "the host cannot poll what vhost signals");
    else
        op_poll_multishot(op, &vhost->task, io_file_plain(fd), POLLIN);
}

static bool is_drained(const struct net_vhost *vhost)
{
    bool is_busy = op_is_in_flight(&vhost->error_op);

    for (unsigned i = 0; i < vhost->call_count; i++)
        is_busy |= op_is_in_flight(&vhost->rings[i].call_op);
    return !is_busy;
}

static enum task_verdict watch_poll(struct task *task)
{
    struct net_vhost *const vhost = container_of(task, struct net_vhost, task);

    if (virtio_device_is_stopping(vhost->device))
        return is_drained(vhost) ? TASK_DONE : TASK_PENDING;
    poll_arm(vhost, &vhost->error_op, vhost->error_fd);
    if (op_take_shots(&vhost->error_op) && eventfd_take(vhost->error_fd)) {
        virtio_device_needs_reset(vhost->device, "its driver broke a ring that vhost serves");
        vhost->config.broken(vhost->device);
    }
    for (unsigned i = 0; i < vhost->call_count; i++) {
        struct net_vhost_ring *ring = &vhost->rings[i];

        if (!ring->queue)
            continue;
        poll_arm(vhost, &ring->call_op, ring->call_fd);
        if (op_take_shots(&ring->call_op) && eventfd_take(ring->call_fd))
            virtio_queue_interrupt(ring->queue);
    }
    return TASK_PENDING;
}

static void watch_done(struct task *task)
{
    virtio_device_release(container_of(task, struct net_vhost, task)->device);
}

static const struct task_type watch_type = {
    .name = "net vhost", .poll = watch_poll, .done = watch_done};

/* ---- start and stop ---- */

static int ring_set(struct net_vhost *vhost, unsigned index)
{
    const struct virtio_queue *queue = vhost->rings[index].queue;
    const struct virtq_config *config = &vhost->device->state.queues[index].config;
    const struct gmem *mem = vhost->config.mem;
    /* virtq_enable found all of each area in RAM. */
    const struct vhost_ring ring = {
        .size = config->size,
        .is_packed = virtio_device_has(vhost->device, VIRTIO_F_RING_PACKED),
        .desc = gmem_ptr(mem, gpa(config->desc), 1),
        .driver = gmem_ptr(mem, gpa(config->driver), 1),
        .device = gmem_ptr(mem, gpa(config->device), 1),
        .kick_fd = queue->doorbell_fd,
        .error_fd = vhost->error_fd,
    };

    CHECK_CMP(ring.kick_fd, >=, 0);
    return vhost_set_ring(vhost->fds[index / VHOST_RING_COUNT], index % VHOST_RING_COUNT, &ring);
}

/* Of the time before: nothing of it is for the driver that starts. */
static void ring_init(struct net_vhost_ring *ring, struct virtio_queue *queue)
{
    CHECK(!ring->is_served);
    (void)eventfd_take(ring->call_fd);
    ring->queue = queue;
    ring->signalled_fd = -1;
    ring->call_op = (struct op){0};
}

int net_vhost_start(struct net_vhost *vhost, struct virtio_device *device, uint16_t pair_count)
{
    uint64_t features = device->state.driver_features & net_vhost_features(vhost);
    int ret = 0;

    CHECK_CMP(pair_count, <=, vhost->fd_count);
    vhost->device = device;
    vhost->error_op = (struct op){0};
    (void)eventfd_take(vhost->error_fd);
    for (unsigned i = 0; i < vhost->call_count; i++) {
        bool is_used = i < pair_count * (unsigned)VHOST_RING_COUNT;

        ring_init(&vhost->rings[i],
                  is_used && device->state.queues[i].enabled ? &device->queues[i] : NULL);
    }
    for (unsigned i = 0; !ret && i < pair_count; i++)
        ret = vhost_set_features(vhost->fds[i], features);
    for (unsigned i = 0; !ret && i < vhost->call_count; i++)
        if (vhost->rings[i].queue)
            ret = ring_set(vhost, i);
    if (ret)
        return ret;
    for (unsigned i = 0; i < vhost->call_count; i++)
        if (vhost->rings[i].queue)
            vhost->rings[i].queue->is_external = true;
    net_vhost_interrupts_changed(vhost);
    virtio_device_hold(device);
    task_spawn(&vhost->task, device->context.executor, &watch_type);
    return 0;
}

void net_vhost_stop(struct net_vhost *vhost)
{
    if (!task_is_live(&vhost->task))
        return;
    op_cancel(&vhost->error_op);
    for (unsigned i = 0; i < vhost->call_count; i++)
        op_cancel(&vhost->rings[i].call_op);
    task_wake(&vhost->task);
}

/* ---- serve and withdraw ---- */

static int backend_set(struct net_vhost *vhost, unsigned index, int tap_fd)
{
    struct net_vhost_ring *ring = &vhost->rings[index];
    bool serve = tap_fd >= 0;
    int ret;

    if (!ring->queue || ring->is_served == serve)
        return 0;
    ret = vhost_set_backend(vhost->fds[index / VHOST_RING_COUNT], index % VHOST_RING_COUNT, tap_fd);
    if (!ret)
        ring->is_served = serve;
    return ret;
}

int net_vhost_withdraw(struct net_vhost *vhost, uint16_t pair_count)
{
    int ret = 0;

    for (unsigned i = pair_count * (unsigned)VHOST_RING_COUNT; !ret && i < vhost->call_count; i++)
        ret = backend_set(vhost, i, -1);
    return ret;
}

int net_vhost_serve(struct net_vhost *vhost, const struct tap *tap, uint16_t pair_count)
{
    unsigned count = pair_count * (unsigned)VHOST_RING_COUNT;
    int ret = 0;

    for (unsigned i = 0; !ret && i < count; i++)
        ret = backend_set(vhost, i, tap->fds[i / VHOST_RING_COUNT]);
    return ret;
}
