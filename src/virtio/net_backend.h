/*
 * What a network device has on the host: its tap, and the kernel's vhost-net if that serves the
 * queue pairs. Their settings are changed by system calls that wait, for the lock of the host's
 * network or for the kernel's thread; so a task makes them on the pool for blocking calls, and says
 * when they are in force. Executor thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "exec/blocking.h"
#include "exec/task.h"
#include "virtio/device.h"
#include "virtio/net_vhost.h"
#include "virtio/tap.h"

struct net_settings {
    unsigned offloads;   /* as of tap_set_offloads */
    uint16_t pair_count; /* as of tap_attach_queues */
    bool is_served;      /* with vhost: by the kernel, as far as pair_count says */
};

struct net_backend {
    /* Set by the owner before the first start; constant. */
    struct virtio_device *device;
    struct tap tap;
    struct net_vhost *vhost; /* NULL: none */
    /* The last settings that net_backend_set was given are in force, or failed: a negative errno.
     * Not called any more once the device stops. */
    void (*changed)(struct virtio_device *device, int ret);

    struct net_settings settings; /* read-only: in force */
    /* private */
    struct task task;
    struct blocking_call call;
    struct net_settings wanted;
    struct net_settings next; /* being put in force */
    bool is_wanted;
    bool is_last;
    int ret;
    struct log_limit log_limit;
};

/* DRIVER_OK: spawns the task, which holds the device until net_backend_stop, and sets `settings`.
 */
void net_backend_start(struct net_backend *backend, const struct net_settings *settings);
/* Replaces what was wanted before. While started, and the device does not stop. */
void net_backend_set(struct net_backend *backend, const struct net_settings *settings);
/* The device stops: its settings go back to those of no driver, and then it is released. A no-op
 * unless started. */
void net_backend_stop(struct net_backend *backend);
