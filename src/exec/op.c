#include "exec/op.h"

#include <errno.h>
#include <fcntl.h>

#include "base/check.h"
#include "exec/executor_internal.h"

/* `what` is the op itself, or what is about to be stored there: then this reads registers. */
static always_inline_fn void fill_sqe(struct io_uring_sqe *sqe, const struct op *what,
                                      const struct op *op)
{
    *sqe = (struct io_uring_sqe){
        .opcode = what->opcode,
        .flags = what->sqe_flags,
        .ioprio = what->ioprio,
        .fd = what->fd,
        .off = what->offset,
        .addr = what->addr,
        .len = what->len,
        .rw_flags = (int)what->op_flags,
        .user_data = (uintptr_t)op,
        .buf_index = what->buf_index,
    };
}

static void fill_cancel(struct io_uring_sqe *sqe, const struct op *op)
{
    *sqe = (struct io_uring_sqe){
        .opcode = IORING_OP_ASYNC_CANCEL,
        .fd = -1,
        .addr = (uintptr_t)op,
        .user_data = USER_DATA_IGNORED,
    };
}

static void backlog_push(struct executor *executor, struct op *op)
{
    op->next = NULL;
    *executor->backlog_end = op;
    executor->backlog_end = &op->next;
}

static void backlog_remove(struct executor *executor, struct op *op)
{
    struct op **at = &executor->backlog_first;

    while (*at != op)
        at = &(*at)->next;
    *at = op->next;
    if (executor->backlog_end == &op->next)
        executor->backlog_end = at;
}

static struct ring *ring_of(struct executor *executor, const struct op *op)
{
    return op->flags & OP_IOPOLL ? &executor->iopoll->ring : &executor->ring;
}

void op_backlog_flush(struct executor *executor)
{
    struct op *op;
    struct io_uring_sqe *sqe;

    while ((op = executor->backlog_first) && (sqe = ring_sqe(ring_of(executor, op)))) {
        backlog_remove(executor, op);
        if (op->status == OP_QUEUED) {
            fill_sqe(sqe, op, op);
            op->status = OP_SUBMITTED;
            op_poison(op);
        } else {
            op->flags &= (uint8_t)~OP_CANCEL_QUEUED;
            fill_cancel(sqe, op);
        }
    }
}

/* Makes room in the submission queue, if that is possible right now. */
cold_fn static struct io_uring_sqe *make_room(struct executor *executor, struct ring *ring)
{
    if (executor_current != executor)
        return NULL;
    if (!executor->error)
        executor->error = ring_flush(ring);
    op_backlog_flush(executor);
    return executor->backlog_first ? NULL : ring_sqe(ring);
}

/* A free SQE when no other op is ahead, or NULL. */
static inline struct io_uring_sqe *get_sqe(struct executor *executor, struct ring *ring)
{
    struct io_uring_sqe *sqe = executor->backlog_first ? NULL : ring_sqe(ring);

    return likely(sqe) ? sqe : make_room(executor, ring);
}

/* Starts an op whose SQE is described in `what`; the rest of it is reset. */
static always_inline_fn void start_in(struct ring *ring, struct op *op, struct task *task,
                                      struct op what)
{
    struct executor *executor = task->executor;
    struct io_uring_sqe *sqe = get_sqe(executor, ring);

    CHECK(!op_is_in_flight(op));
    CHECK_CMP(task->in_flight, <, UINT16_MAX);
    task->in_flight++;
    executor->stats.submitted++;
    what.task = task;
    what.status = sqe ? OP_SUBMITTED : OP_QUEUED;
    *op = what;
    if (likely(sqe)) {
        fill_sqe(sqe, &what, op);
        op_poison(op);
    } else {
        backlog_push(executor, op);
    }
}

static always_inline_fn void start(struct op *op, struct task *task, struct op what)
{
    start_in(&task->executor->ring, op, task, what);
}

static inline int32_t sqe_fd(struct io_file file)
{
    return file.slot >= 0 ? file.slot : file.fd;
}

static inline uint8_t sqe_file_flag(struct io_file file)
{
    return (file.slot >= 0 ? IOSQE_FIXED_FILE : 0) | (file.waits ? IOSQE_ASYNC : 0);
}

/* A poll never waits in the kernel. On a worker thread, moreover, it would be armed in spite of a
 * cancel that came while it was on its way: the kernel says -EALREADY to that, and goes on. */
static inline struct io_file file_to_poll(struct io_file file)
{
    file.waits = false;
    return file;
}

#define FILE_OP(file, code) .opcode = (code), .fd = sqe_fd(file), .sqe_flags = sqe_file_flag(file)

void op_complete_special(struct op *op, int32_t result)
{
    struct executor *executor = op->task->executor;

    if (op->flags & OP_MULTISHOT) {
        op->shots++;
        if (op->cqe_flags & IORING_CQE_F_MORE) {
            executor_make_ready(executor, op->task);
            return;
        }
    }
    if (op->flags & OP_CANCEL_QUEUED)
        backlog_remove(executor, op);
    /* A signal got in the way of an operation that ran on our own thread: not its fault. */
    if (result == -EINTR && !(op->flags & OP_CANCEL_WANTED)) {
        op->status = OP_QUEUED;
        backlog_push(executor, op);
        return;
    }
    op_finish(op);
}

void op_cancel(struct op *op)
{
    struct executor *executor;
    struct io_uring_sqe *sqe;

    if (!op_is_in_flight(op) || op->flags & OP_CANCEL_QUEUED)
        return;
    executor = op->task->executor;
    op->flags |= OP_CANCEL_WANTED;
    if (op->status == OP_QUEUED) {
        backlog_remove(executor, op);
        op->result = -ECANCELED;
        op_finish(op);
        return;
    }
    if (op->flags & OP_IOPOLL)
        return;
    sqe = get_sqe(executor, &executor->ring);
    if (sqe) {
        fill_cancel(sqe, op);
    } else {
        op->flags |= OP_CANCEL_QUEUED;
        backlog_push(executor, op);
    }
}

static bool poll_op(void *self)
{
    return op_is_done(self);
}

static void cancel_op(void *self)
{
    op_cancel(self);
}

struct future op_future(struct op *op)
{
    static const struct future_type type = {poll_op, cancel_op};

    return (struct future){&type, op};
}

uint32_t op_take_shots(struct op *op)
{
    uint32_t shots = op->shots;

    op->shots = 0;
    return shots;
}

void op_nop(struct op *op, struct task *task)
{
    start(op, task, (struct op){.opcode = IORING_OP_NOP, .fd = -1});
}

/* The ring that is polled has no registered files and buffers. */
noinline_fn static void start_polled(struct op *op, struct task *task, struct io_file file,
                                     uint8_t opcode, const void *addr, uint32_t len,
                                     uint64_t offset)
{
    start_in(&task->executor->iopoll->ring, op, task,
             (struct op){.opcode = opcode,
                         .fd = file.fd,
                         .addr = (uintptr_t)addr,
                         .len = len,
                         .offset = offset,
                         .flags = OP_IOPOLL});
}

/* A read or write of one buffer: fixed, where the buffer is in registered memory. */
static inline void start_transfer(struct op *op, struct task *task, struct io_file file,
                                  bool writes, const void *buffer, uint32_t len, uint64_t offset)
{
    int index = ring_find_buffer(&task->executor->ring, buffer, len);
    uint8_t opcode = writes ? IORING_OP_WRITE : IORING_OP_READ;
    uint8_t fixed_opcode = writes ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;

    if (unlikely(file.polls)) {
        start_polled(op, task, file, opcode, buffer, len, offset);
        return;
    }
    start(op, task,
          (struct op){FILE_OP(file, index < 0 ? opcode : fixed_opcode), .addr = (uintptr_t)buffer,
                      .len = len, .offset = offset, .buf_index = index < 0 ? 0 : (uint16_t)index});
}

void op_read(struct op *op, struct task *task, struct io_file file, void *buffer, uint32_t len,
             uint64_t offset)
{
    start_transfer(op, task, file, false, buffer, len, offset);
}

void op_write(struct op *op, struct task *task, struct io_file file, const void *buffer,
              uint32_t len, uint64_t offset)
{
    start_transfer(op, task, file, true, buffer, len, offset);
}

/* A vector of one is as good as its buffer, which may be fixed and need not be looked up. */
static inline bool is_plain(const struct iovec *iov, uint32_t iov_count)
{
    return iov_count == 1 && iov->iov_len <= UINT32_MAX;
}

void op_readv(struct op *op, struct task *task, struct io_file file, const struct iovec *iov,
              uint32_t iov_count, uint64_t offset)
{
    if (is_plain(iov, iov_count))
        start_transfer(op, task, file, false, iov->iov_base, (uint32_t)iov->iov_len, offset);
    else if (unlikely(file.polls))
        start_polled(op, task, file, IORING_OP_READV, iov, iov_count, offset);
    else
        start(op, task,
              (struct op){FILE_OP(file, IORING_OP_READV), .addr = (uintptr_t)iov, .len = iov_count,
                          .offset = offset});
}

void op_readv_nowait(struct op *op, struct task *task, struct io_file file, const struct iovec *iov,
                     uint32_t iov_count, uint64_t offset)
{
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_READV), .addr = (uintptr_t)iov, .len = iov_count,
                      .offset = offset, .op_flags = RWF_NOWAIT});
}

void op_writev(struct op *op, struct task *task, struct io_file file, const struct iovec *iov,
               uint32_t iov_count, uint64_t offset)
{
    if (is_plain(iov, iov_count))
        start_transfer(op, task, file, true, iov->iov_base, (uint32_t)iov->iov_len, offset);
    else if (unlikely(file.polls))
        start_polled(op, task, file, IORING_OP_WRITEV, iov, iov_count, offset);
    else
        start(op, task,
              (struct op){FILE_OP(file, IORING_OP_WRITEV), .addr = (uintptr_t)iov, .len = iov_count,
                          .offset = offset});
}

void op_fsync(struct op *op, struct task *task, struct io_file file, bool datasync)
{
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_FSYNC),
                      .op_flags = datasync ? IORING_FSYNC_DATASYNC : 0});
}

void op_fallocate(struct op *op, struct task *task, struct io_file file, int mode, uint64_t offset,
                  uint64_t len)
{
    /* The kernel takes the length in addr and the mode in len. */
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_FALLOCATE), .addr = len, .len = (uint32_t)mode,
                      .offset = offset});
}

/* poll32_events is stored with its halves swapped on big-endian machines; we have none. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "poll events are not swapped");

void op_poll(struct op *op, struct task *task, struct io_file file, uint32_t events)
{
    file = file_to_poll(file);
    start(op, task, (struct op){FILE_OP(file, IORING_OP_POLL_ADD), .op_flags = events});
}

void op_poll_multishot(struct op *op, struct task *task, struct io_file file, uint32_t events)
{
    file = file_to_poll(file);
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_POLL_ADD), .op_flags = events,
                      .len = IORING_POLL_ADD_MULTI, .flags = OP_MULTISHOT});
}

void op_accept(struct op *op, struct task *task, struct io_file file, int accept_flags)
{
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_ACCEPT), .op_flags = (uint32_t)accept_flags});
}

void op_recv(struct op *op, struct task *task, struct io_file file, void *buffer, uint32_t len,
             int msg_flags)
{
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_RECV), .addr = (uintptr_t)buffer, .len = len,
                      .op_flags = (uint32_t)msg_flags});
}

void op_send(struct op *op, struct task *task, struct io_file file, const void *buffer,
             uint32_t len, int msg_flags)
{
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_SEND), .addr = (uintptr_t)buffer, .len = len,
                      .op_flags = (uint32_t)msg_flags});
}

void op_connect(struct op *op, struct task *task, struct io_file file,
                const struct sockaddr *address, socklen_t address_len)
{
    /* The kernel takes the length in off. */
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_CONNECT), .addr = (uintptr_t)address,
                      .offset = address_len});
}

void op_shutdown(struct op *op, struct task *task, struct io_file file, int how)
{
    start(op, task, (struct op){FILE_OP(file, IORING_OP_SHUTDOWN), .len = (uint32_t)how});
}

void op_close(struct op *op, struct task *task, int fd)
{
    start(op, task, (struct op){.opcode = IORING_OP_CLOSE, .fd = fd});
}

const char *op_name(const struct op *op)
{
    switch (op->opcode) {
    case IORING_OP_NOP:
        return "NOP";
    case IORING_OP_READV:
        return "READV";
    case IORING_OP_WRITEV:
        return "WRITEV";
    case IORING_OP_FSYNC:
        return "FSYNC";
    case IORING_OP_READ_FIXED:
        return "READ_FIXED";
    case IORING_OP_WRITE_FIXED:
        return "WRITE_FIXED";
    case IORING_OP_POLL_ADD:
        return "POLL_ADD";
    case IORING_OP_ACCEPT:
        return "ACCEPT";
    case IORING_OP_FALLOCATE:
        return "FALLOCATE";
    case IORING_OP_READ:
        return "READ";
    case IORING_OP_WRITE:
        return "WRITE";
    case IORING_OP_SEND:
        return "SEND";
    case IORING_OP_RECV:
        return "RECV";
    case IORING_OP_CONNECT:
        return "CONNECT";
    case IORING_OP_SHUTDOWN:
        return "SHUTDOWN";
    case IORING_OP_CLOSE:
        return "CLOSE";
    default:
        return "?";
    }
}

struct io_file io_file_register(struct executor *executor, int fd)
{
    return (struct io_file){.fd = fd, .slot = ring_register_file(&executor->ring, fd)};
}

int io_file_register_polled(struct executor *executor, int fd, struct io_file *file,
                            struct err *err)
{
    int ret = iopoll_create(executor, IORING_SETUP_IOPOLL, err);

    if (ret < 0)
        return ret;
    *file = io_file_register(executor, fd);
    file->polls = true;
    return 0;
}

void io_file_unregister(struct executor *executor, struct io_file *file)
{
    if (file->slot >= 0)
        ring_unregister_file(&executor->ring, file->slot);
    file->slot = -1;
}
