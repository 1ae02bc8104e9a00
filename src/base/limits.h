/* Limits that more than one module relies on. A limit of one module lives in its own header. */
#pragma once

enum {
    VCPU_COUNT_MAX = 64,
    /* virtio 1.2, 2.6: a split queue has at most 32768 entries; ours start at this default. */
    VIRTQ_SIZE_MAX = 32768,
    VIRTQ_SIZE_DEFAULT = 256,
    MSIX_VECTOR_COUNT_MAX = 64, /* per function */
};
