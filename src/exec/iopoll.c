#include "exec/iopoll.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "exec/executor_internal.h"
#include "exec/op.h"

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

int iopoll_bind(struct iopoll *iopoll, struct err *err)
{
    struct err cause = {""};
    int ret = iopoll->ring.bound ? 0 : ring_bind(&iopoll->ring, &cause);

    if (ret)
        return err_set(err, ret, "the ring for files that are polled (iopoll): %s", cause.text);
    return 0;
}

int io_file_try_polled(int fd, void *buffer, uint32_t len)
{
    struct io_uring_cqe *cqe;
    struct io_uring uring;
    int ret = io_uring_queue_init(1, &uring, IORING_SETUP_IOPOLL);

    if (ret < 0)
        return ret;
    io_uring_prep_read(io_uring_get_sqe(&uring), fd, buffer, len, 0);
    ret = io_uring_submit(&uring);
    if (ret > 0) {
        do
            ret = io_uring_wait_cqe(&uring, &cqe);
        while (ret == -EINTR || ret == -EAGAIN || ret == -EBUSY);
        CHECK_CMP(ret, ==, 0); /* the buffer is the kernel's until it has answered */
        ret = cqe->res;
    }
    io_uring_queue_exit(&uring);
    return ret;
}

void iopoll_destroy(struct iopoll *iopoll)
{
    if (!iopoll)
        return;
    ring_destroy(&iopoll->ring);
    free(iopoll);
}
