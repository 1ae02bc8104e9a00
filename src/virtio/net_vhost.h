/*
 * Queue pairs of a network device that the kernel serves (vhost-net): their rings are external,
 * kicks go straight from the guest to the kernel, and interrupts straight from the kernel to the
 * guest, as long as the transport has an eventfd for a queue. Where it has none (a masked vector, a
 * pin), the kernel signals one of ours, and a task makes the interrupt; so that no interrupt is
 * lost or comes through a mask, whatever the guest does to its vectors meanwhile.
 *
 * Executor thread, unless it says otherwise.
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mem/gmem.h"
#include "virtio/device.h"
#include "virtio/tap.h"

struct net_vhost;

struct net_vhost_config {
    const char *path; /* VHOST_NET_PATH */
    const char *name; /* the device's, for messages */
    const struct gmem *mem;
    uint16_t pair_count; /* 1 to TAP_QUEUE_COUNT_MAX */
    /* The driver broke a ring; the device needs a reset already. */
    void (*broken)(struct virtio_device *device);
};

/* Before the guest runs. As vhost_open, and -EMFILE. */
must_check int net_vhost_create(struct net_vhost **out, const struct net_vhost_config *config,
                                struct err *err);
/* NULL is allowed. Not while started. */
void net_vhost_destroy(struct net_vhost *vhost);
/* VHOST_GET_FEATURES. */
uint64_t net_vhost_features(const struct net_vhost *vhost);

/*
 * DRIVER_OK: tells the kernel about the enabled queues of the first `pair_count` pairs, and makes
 * them external; nothing is served yet. Holds the device until net_vhost_stop. Negative errno, and
 * nothing is held.
 */
must_check int net_vhost_start(struct net_vhost *vhost, struct virtio_device *device,
                               uint16_t pair_count);
/* The device stops; net_vhost_withdraw all pairs as well. */
void net_vhost_stop(struct net_vhost *vhost);
/* The device's interrupts_changed. */
void net_vhost_interrupts_changed(struct net_vhost *vhost);

/*
 * Serve the enabled queues of the first `pair_count` pairs, and no others: from that number on;
 * before it. Any thread, one at a time; both wait for the kernel's thread. While started, or until
 * the device has drained. Negative errno.
 */
must_check int net_vhost_withdraw(struct net_vhost *vhost, uint16_t pair_count);
must_check int net_vhost_serve(struct net_vhost *vhost, const struct tap *tap, uint16_t pair_count);
