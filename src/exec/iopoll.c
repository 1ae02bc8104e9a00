#include "exec/iopoll.h"

#include <errno.h>
#include <stdlib.h>

#include "exec/executor_internal.h"

int iopoll_create(struct executor *executor, uint32_t setup_flags, struct err *err)
{
    struct iopoll *iopoll;
    int ret;

    if (executor->iopoll)
        return 0;
    if (executor->ring.bound)
        return err_set(err, -EBUSY, "executor: runs already, and has no ring that is polled");
    iopoll = calloc(1, sizeof(*iopoll));
    if (!iopoll)
        return err_set(err, -ENOMEM, "executor: no memory");
    ret = ring_create(&iopoll->ring, executor->ring.uring.sq.ring_entries, 0, setup_flags, err);
    if (ret < 0) {
        free(iopoll);
        return ret;
    }
    iopoll->ring.use = RING_IOPOLL;
    executor->iopoll = iopoll;
    return 0;
}

void iopoll_destroy(struct iopoll *iopoll)
{
    if (!iopoll)
        return;
    ring_destroy(&iopoll->ring);
    free(iopoll);
}
