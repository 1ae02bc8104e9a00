/*
 * The kernel's vhost-net (linux/vhost.h): a thread of the kernel that serves two rings in memory of
 * this process, receive and transmit, and a tap. Its system calls and nothing else.
 *
 *     open -> memory -> [features -> rings -> backend ... backend none -> features ...]
 *
 * A descriptor belongs to the process that opened it, forks excluded. Guest memory and the
 * eventfds outlive what serves them. Any thread, one at a time.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mem/gmem.h"

#define VHOST_NET_PATH "/dev/vhost-net"

/* The rings of a descriptor. */
enum { VHOST_RX, VHOST_TX, VHOST_RING_COUNT };

struct vhost_ring {
    uint16_t size;
    bool is_packed;
    const void *desc, *driver, *device; /* host memory of the three areas, wholly in RAM */
    int kick_fd;                        /* eventfds; their owner keeps them */
    int error_fd;                       /* signalled when the driver broke the ring */
};

/*
 * `name` is the device's, for messages. -ENODEV (no driver), -EPERM, -ENOTTY (something else),
 * -EOPNOTSUPP (too old), -ENOMEM and the like, with a line. The caller closes *fd.
 */
must_check int vhost_open(int *fd, const char *path, const char *name, const struct gmem *mem,
                          struct err *err);
/* VIRTIO_F_*, VIRTIO_NET_F_* and so on: what may be set below. */
uint64_t vhost_features(int fd);

/* Negative errno, as all below. While there is no backend. */
must_check int vhost_set_features(int fd, uint64_t features);
/* At the start of the ring. While there is no backend. */
must_check int vhost_set_ring(int fd, unsigned index, const struct vhost_ring *ring);
/* The eventfd that is signalled where the driver wants an interrupt, from now on: when this
 * returns, the one before is not signalled any more. May wait for a turn of the kernel's thread. */
must_check int vhost_set_call(int fd, unsigned index, int call_fd);
/* Starts to serve with the queue `tap_fd` of a tap. -1: stops; when that returns, the kernel does
 * not touch the ring any more, nor any buffer in it, and goes on from there when it starts again.
 * Waits for the kernel's thread. */
must_check int vhost_set_backend(int fd, unsigned index, int tap_fd);
