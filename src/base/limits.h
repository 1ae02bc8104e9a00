/* Limits that more than one module relies on. A limit of one module lives in its own header. */
#pragma once

enum {
    VCPU_COUNT_MAX = 64,
    VIRTQ_SIZE_MAX = 32768,     /* virtio 1.2, 2.6: entries of a split queue */
    MSIX_VECTOR_COUNT_MAX = 64, /* per function */
};
