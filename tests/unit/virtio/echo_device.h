/*
 * A device for tests of the core and the transports. Queue "echo" copies the readable part of a
 * chain to its writable part, when the test lets it; queue "pipe" reads the writable part from a
 * pipe with io_uring.
 */
#pragma once
#include <stdint.h>

#include "virtio/device.h"

enum {
    ECHO_QUEUE,
    ECHO_PIPE_QUEUE,
    ECHO_QUEUE_COUNT,
    ECHO_QUEUE_SIZE = 256,
    ECHO_POOL_SIZE = 100,
    ECHO_CHAIN_MAX = 16,

    ECHO_ID = 42,
    ECHO_F_A = 0,
    ECHO_F_NEEDS_A = 1, /* only together with ECHO_F_A */
    ECHO_CONFIG_LEN = 7,
};

struct echo_device {
    struct virtio_device device;
    uint8_t config[ECHO_CONFIG_LEN]; /* 1, 2, 3 ...; the driver may write it */
    uint8_t behind_config;           /* 0xee: nothing that the driver should see */
    int pipe[2];

    /* set by the test */
    bool held;           /* echo requests wait for echo_release */
    bool ignores_cancel; /* ... even when they are cancelled */
    int activate_result;
    bool is_external; /* the echo queue; nobody serves it */

    /* counted */
    unsigned activations;
    unsigned stops;
    unsigned resets;
    unsigned interrupt_changes;
    unsigned dma_changes;
    unsigned live; /* requests of both queues */
    unsigned live_max;
    uint16_t first_batch; /* chains that were taken before the first echo request ran */
};

/* Freed with virtio_device_destroy. */
struct echo_device *echo_create(const struct virtio_context *context);
/* Lets the echo requests go on. */
void echo_release(struct echo_device *echo);
