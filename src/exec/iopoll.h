/*
 * Completions that are polled for: a second ring with IORING_SETUP_IOPOLL, for reads and writes of
 * devices that signal nothing and have to be asked. Private to src/exec.
 *
 *  - Submitted and asked in one enter a turn, only while operations are in flight; then there is no
 *    sleep, and the thread yields its cpu when it has asked for long, or when the one that it
 *    works for needs it.
 *  - The kernel cannot cancel these operations: they end as fast as the device.
 *  - All other operations on the same file go to the executor's own ring.
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "exec/ring.h"

struct executor;

struct iopoll {
    struct ring ring;
    uint32_t fruitless; /* times in a row that nothing had completed */
};

/* Makes sure that the executor has one; before executor_bind, -EBUSY later. setup_flags:
 * IORING_SETUP_IOPOLL, or for tests 0: a ring of files that complete by themselves. */
must_check int iopoll_create(struct executor *executor, uint32_t setup_flags, struct err *err);
/* As ring_bind, and as often as one likes. */
must_check int iopoll_bind(struct iopoll *iopoll, struct err *err);
/* NULL is allowed. */
void iopoll_destroy(struct iopoll *iopoll);
