/*
 * The host side of a network device: a tap interface, one descriptor per queue pair, opened before
 * the guest runs. Every frame carries the header of virtio (12 bytes, virtio 1.2, 5.1.6), which the
 * kernel's tap reads and writes itself: checksums and segmentation pass through as the guest and
 * the host's stack left them.
 *
 * Addresses, bridges and routes are the user's. An interface that is opened by name and is down is
 * brought up, and gets the MTU that was asked for, if that is permitted; else a warning says so.
 */
#pragma once
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

#ifndef TUN_F_USO4 /* kernel 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum { TAP_QUEUE_COUNT_MAX = 8, TAP_HEADER_SIZE = 12 };

struct tap_config {
    const char *name;     /* made if it is not there and the user may; NULL: use fd */
    int fd;               /* passed in: a tap with IFF_NO_PI and IFF_VNET_HDR */
    uint16_t queue_count; /* 1 to TAP_QUEUE_COUNT_MAX; with fd only 1 is possible */
    uint32_t mtu;         /* that the guest is told; 0: none */
};

/* All read-only. */
struct tap {
    char name[IFNAMSIZ];
    int fds[TAP_QUEUE_COUNT_MAX]; /* O_NONBLOCK */
    uint16_t queue_count;
    uint16_t attached_count; /* the first so many are in use by the interface */
    uint32_t mtu;
    unsigned offloads; /* TUN_F_*: what this kernel can leave to the guest */
};

/*
 * Errors with a line: -ENODEV (no tun driver), -ENOENT (no such interface, and the user may not
 * make it), -EPERM, -EBUSY, -EINVAL (not a tap, or without what is needed), -EBADF (fd not open).
 * Before the guest runs; tap_close releases it.
 */
must_check int tap_open(struct tap *tap, const struct tap_config *config, struct err *err);
void tap_close(struct tap *tap);

/*
 * What the guest accepts in frames that it receives: TUN_F_*, a subset of tap->offloads; 0 when no
 * driver runs. Waits for the lock of the host's network. Any thread, one at a time. Negative errno.
 */
must_check int tap_set_offloads(struct tap *tap, unsigned offloads);
/*
 * Spreads frames over the first `count` descriptors, by flow; reads of the others end in an error
 * until they are in use again. As tap_set_offloads.
 */
must_check int tap_attach_queues(struct tap *tap, uint16_t count);
