#include "exec/op.h"

#include <errno.h>
#include <fcntl.h>

#include "base/check.h"
#include "exec/executor_internal.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum {
    OP_MULTISHOT = 1,
    OP_CANCEL_WANTED = 2,
    OP_CANCEL_QUEUED = 4, /* in the backlog for its cancel */
};

/* While the kernel has an op, nobody else has business with its results and its vector. */
static void poison(struct op *op)
{
    if (op->opcode == IORING_OP_READV || op->opcode == IORING_OP_WRITEV)
        ASAN_POISON_MEMORY_REGION((void *)(uintptr_t)op->addr, op->len * sizeof(struct iovec));
    /* Last: it covers what the line before reads. */
    ASAN_POISON_MEMORY_REGION(&op->result, offsetof(struct op, next) - offsetof(struct op, result));
}

static void unpoison(struct op *op)
{
    ASAN_UNPOISON_MEMORY_REGION(&op->result,
                                offsetof(struct op, next) - offsetof(struct op, result));
    if (op->opcode == IORING_OP_READV || op->opcode == IORING_OP_WRITEV)
        ASAN_UNPOISON_MEMORY_REGION((void *)(uintptr_t)op->addr, op->len * sizeof(struct iovec));
}

static void fill_sqe(struct io_uring_sqe *sqe, struct op *op)
{
    *sqe = (struct io_uring_sqe){
        .opcode = op->opcode,
        .flags = op->sqe_flags,
        .ioprio = op->ioprio,
        .fd = op->fd,
        .off = op->offset,
        .addr = op->addr,
        .len = op->len,
        .rw_flags = (int)op->op_flags,
        .user_data = (uintptr_t)op,
        .buf_index = op->buf_index,
    };
    op->status = OP_SUBMITTED;
    poison(op);
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

void op_backlog_flush(struct executor *executor)
{
    struct op *op;
    struct io_uring_sqe *sqe;

    while ((op = executor->backlog_first) && (sqe = ring_sqe(&executor->ring))) {
        backlog_remove(executor, op);
        if (op->status == OP_QUEUED) {
            fill_sqe(sqe, op);
        } else {
            op->flags &= (uint8_t)~OP_CANCEL_QUEUED;
            fill_cancel(sqe, op);
        }
    }
}

/* A free SQE when nothing else is ahead, making room if that is possible right now; else NULL. */
static struct io_uring_sqe *get_sqe(struct executor *executor)
{
    struct io_uring_sqe *sqe;

    if (likely(!executor->backlog_first)) {
        sqe = ring_sqe(&executor->ring);
        if (likely(sqe))
            return sqe;
    }
    if (executor_current != executor)
        return NULL;
    if (!executor->error)
        executor->error = ring_flush(&executor->ring);
    op_backlog_flush(executor);
    return executor->backlog_first ? NULL : ring_sqe(&executor->ring);
}

static void queue(struct executor *executor, struct op *op)
{
    struct io_uring_sqe *sqe = get_sqe(executor);

    op->status = OP_QUEUED;
    if (likely(sqe))
        fill_sqe(sqe, op);
    else
        backlog_push(executor, op);
}

/* Starts an op whose SQE is described in `what`; the rest of it is reset. */
static inline void start(struct op *op, struct task *task, struct op what)
{
    CHECK(!op_is_in_flight(op));
    CHECK_CMP(task->in_flight, <, UINT16_MAX);
    *op = what;
    op->task = task;
    task->in_flight++;
    task->executor->stats.submitted++;
    queue(task->executor, op);
}

static inline int32_t sqe_fd(struct io_file file)
{
    return file.slot >= 0 ? file.slot : file.fd;
}

static inline uint8_t sqe_file_flag(struct io_file file)
{
    return file.slot >= 0 ? IOSQE_FIXED_FILE : 0;
}

#define FILE_OP(file, code) .opcode = (code), .fd = sqe_fd(file), .sqe_flags = sqe_file_flag(file)

static void finish(struct op *op)
{
    struct task *task = op->task;

    op->status = OP_DONE;
    task->in_flight--;
    executor_make_ready(task->executor, task);
}

void op_complete(struct op *op, int32_t result, uint32_t cqe_flags)
{
    unpoison(op);
    op->result = result;
    op->cqe_flags = cqe_flags;
    op->task->executor->stats.completed++;
    if (unlikely(op->flags)) {
        if (op->flags & OP_MULTISHOT) {
            op->shots++;
            if (cqe_flags & IORING_CQE_F_MORE) {
                executor_make_ready(op->task->executor, op->task);
                return;
            }
        }
        if (op->flags & OP_CANCEL_QUEUED)
            backlog_remove(op->task->executor, op);
    }
    /* A signal got in the way of an operation that ran on our own thread: not its fault. */
    if (unlikely(result == -EINTR) && !(op->flags & OP_CANCEL_WANTED)) {
        op->status = OP_QUEUED;
        backlog_push(op->task->executor, op);
        return;
    }
    finish(op);
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
        finish(op);
        return;
    }
    sqe = get_sqe(executor);
    if (sqe) {
        fill_cancel(sqe, op);
    } else {
        op->flags |= OP_CANCEL_QUEUED;
        backlog_push(executor, op);
    }
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

void op_read(struct op *op, struct task *task, struct io_file file, void *buffer, uint32_t len,
             uint64_t offset)
{
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_READ), .addr = (uintptr_t)buffer, .len = len,
                      .offset = offset});
}

void op_write(struct op *op, struct task *task, struct io_file file, const void *buffer,
              uint32_t len, uint64_t offset)
{
    start(op, task,
          (struct op){FILE_OP(file, IORING_OP_WRITE), .addr = (uintptr_t)buffer, .len = len,
                      .offset = offset});
}

void op_readv(struct op *op, struct task *task, struct io_file file, const struct iovec *iov,
              uint32_t iov_count, uint64_t offset)
{
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
    start(op, task, (struct op){FILE_OP(file, IORING_OP_POLL_ADD), .op_flags = events});
}

void op_poll_multishot(struct op *op, struct task *task, struct io_file file, uint32_t events)
{
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
    case OP_CODE_READ_MULTISHOT:
        return "READ_MULTISHOT";
    default:
        return "?";
    }
}

struct io_file io_file_register(struct executor *executor, int fd)
{
    return (struct io_file){.fd = fd, .slot = ring_register_file(&executor->ring, fd)};
}

void io_file_unregister(struct executor *executor, struct io_file *file)
{
    if (file->slot >= 0)
        ring_unregister_file(&executor->ring, file->slot);
    file->slot = -1;
}
