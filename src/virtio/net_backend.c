#include "virtio/net_backend.h"

#include <string.h>

#include "base/check.h"

/* What the kernel serves gives way to the tap's changes, and then follows them. On a thread of the
 * pool; touches what nobody else does meanwhile. */
static int settings_apply(struct net_backend *backend)
{
    const struct net_settings *next = &backend->next;
    uint16_t served_count = next->is_served ? next->pair_count : 0;
    int ret = 0;

    if (backend->vhost) {
        ret = net_vhost_withdraw(backend->vhost, served_count);
        /* What may still write to guest memory cannot be drained. */
        CHECK_CMP(ret, ==, 0);
    }
    if (!ret)
        ret = tap_set_offloads(&backend->tap, next->offloads);
    if (!ret)
        ret = tap_attach_queues(&backend->tap, next->pair_count);
    if (!ret && backend->vhost)
        ret = net_vhost_serve(backend->vhost, &backend->tap, served_count);
    return ret;
}

static int64_t apply_run(struct blocking_call *call)
{
    struct net_backend *backend = container_of(call, struct net_backend, call);

    backend->ret = settings_apply(backend);
    return 0;
}

static void settings_applied(struct net_backend *backend)
{
    /* No thread to be had: then it is done here, and waits here. */
    if (backend->call.result < 0)
        (void)apply_run(&backend->call);
    if (!backend->ret)
        backend->settings = backend->next;
    if (backend->is_last && backend->ret)
        log_limited(&backend->log_limit, LOG_WARN, "%s: cannot reset its tap: %s",
                    backend->device->name, strerror(-backend->ret));
    if (!backend->is_wanted && !virtio_device_is_stopping(backend->device))
        backend->changed(backend->device, backend->ret);
}

enum { IDLE = 1, APPLY };

static enum task_verdict backend_poll(struct task *task)
{
    struct net_backend *const backend = container_of(task, struct net_backend, task);

    ASYNC_BEGIN(task)
        ;
        do {
            AWAIT(task, IDLE, backend->is_wanted);
            backend->is_wanted = false;
            backend->is_last = virtio_device_is_stopping(backend->device);
            backend->next = backend->wanted;
            blocking_call_start(&backend->call, task, backend->device->context.blocking, apply_run);
            AWAIT(task, APPLY, blocking_call_poll(&backend->call));
            settings_applied(backend);
        } while (!backend->is_last);
        ASYNC_END(task);
}

static void backend_done(struct task *task)
{
    virtio_device_release(container_of(task, struct net_backend, task)->device);
}

static const char *const state_names[] = {"starting", "idle", "applying settings"};
static const struct task_type backend_type = {
    .name = "net backend",
    .poll = backend_poll,
    .done = backend_done,
    .state_names = state_names,
    .state_count = array_count(state_names),
};

void net_backend_start(struct net_backend *backend, const struct net_settings *settings)
{
    virtio_device_hold(backend->device);
    task_spawn(&backend->task, backend->device->context.executor, &backend_type);
    net_backend_set(backend, settings);
}

void net_backend_set(struct net_backend *backend, const struct net_settings *settings)
{
    CHECK(task_is_live(&backend->task));
    backend->wanted = *settings;
    backend->is_wanted = true;
    task_wake(&backend->task);
}

void net_backend_stop(struct net_backend *backend)
{
    const struct net_settings none = {.pair_count = 1};

    if (task_is_live(&backend->task))
        net_backend_set(backend, &none);
}
