/*
 * The monitors that the bench guest is measured on, each as fast as it can be made: QEMU with
 * io_uring in a thread of the disk's own, which polls.
 */
#pragma once
#include "bench/monitor.h"

enum contestant { RINGVM, QEMU_Q35, QEMU_MICROVM, CONTESTANT_COUNT };

extern const char *const contestant_names[CONTESTANT_COUNT];

enum { CONTESTANT_MEM_MIB = 64, CONTESTANT_RETRIES_MAX = 1 };

struct contestant_config {
    const char *params; /* the guest's command line */
    const char *disk;   /* file, read-only; NULL: none */
    int tap_fd;         /* -1: no network */
};

/* Runs the bench guest to its end; `monitor` lacks only its argv. 0, or a negative errno with its
 * line. */
must_check int contestant_run(enum contestant contestant, const struct contestant_config *config,
                              struct monitor_config *monitor, struct err *err);
