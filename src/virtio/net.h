/*
 * The network device (virtio 1.2, section 5.1) on a tap: queue pairs, a control queue, checksum and
 * segmentation offloads both ways, mergeable receive buffers. Frames go by io_uring between guest
 * memory and the tap, header included, without a copy; the kernel validates the header it is given.
 * Or the kernel serves the queue pairs by itself (vhost-net), and only the control queue is ours.
 *
 * There is no receive filter: the tap gives what is for this guest, and the commands that set
 * filters are accepted.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "virtio/device.h"
#include "virtio/tap.h"

struct net_config {
    const char *name; /* for messages: "net0"; outlives the device */
    uint8_t mac[6];
    bool has_mac; /* else the driver makes one up */
    uint16_t mtu; /* 0: the driver is not told */
    /* VHOST_NET_PATH: the kernel serves the queue pairs; NULL: the executor does. */
    const char *vhost_path;
    /* Of what the guest gets and gives: frames without their header, all queue pairs together. Not
     * with vhost. */
    struct rate_limit_config rx_limit, tx_limit;
};

/*
 * One queue pair per queue of `tap`, which is the device's from here on: closed with it, or when
 * this fails. -ENOMEM; as vhost_open; -EOPNOTSUPP for packed queues that vhost does not have. With
 * a line. Free with virtio_device_destroy.
 */
must_check int virtio_net_create(struct virtio_device **out, const struct virtio_context *context,
                                 const struct net_config *config, const struct tap *tap,
                                 struct err *err);
