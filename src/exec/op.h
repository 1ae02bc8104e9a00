/*
 * One io_uring operation, embedded in the frame of the task that awaits it.
 *
 *     op_readv(&req->op, task, disk->file, req->iov, req->iov_count, offset);
 *     AWAIT(task, READ, op_is_done(&req->op));
 *     ret = req->op.result;
 *
 * Rules:
 *  1. From start to completion the kernel owns the op, its vector and its buffers: the frame is
 *     neither freed nor moved, the buffers are not reused. Starting an op that is in flight, and
 *     a task that ends with an op in flight, are caught by assertions; under ASan the op and its
 *     vector are poisoned meanwhile.
 *  2. Starting never fails and never blocks: a full submission queue is the executor's own
 *     business. Every error arrives as `result` at the await.
 *  3. Cancel is a request. The result, whatever it is, still arrives at the same await; usually
 *     -ECANCELED, but success, -EINTR or another value are normal.
 *  4. A multishot op is in flight until op_is_done: each shot wakes the task, see op_take_shots.
 *  5. Results: bytes transferred or 0, or negative errno. -EINTR is retried inside, unless the op
 *     was cancelled. -EAGAIN arrives for descriptors that are O_NONBLOCK and are not regular files:
 *     await op_poll, or open them without. Short transfers are returned as they are: the caller
 *     goes on from where it stopped, never from the start (base/iov.h).
 * All functions: executor thread only (or before executor_run starts).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/err.h"
#include "exec/future.h"
#include "exec/task.h"

/* A file the executor may do I/O on: a plain descriptor, or a slot of the ring's registered files
 * (cheaper). */
struct io_file {
    int fd;
    int slot;   /* -1: not registered */
    bool waits; /* for the other end, though asked not to: read and written by a worker thread */
    bool polls; /* its device is asked for the completions of reads and writes */
};

enum op_status { OP_IDLE, OP_QUEUED, OP_SUBMITTED, OP_DONE };

struct op {
    struct task *task;  /* private: woken at completion */
    uint8_t status;     /* private: enum op_status */
    uint8_t flags;      /* private */
    uint8_t opcode;     /* private: this and the rest of what an SQE says, for a retry */
    uint8_t sqe_flags;  /* private */
    uint32_t shots;     /* private: completions of a multishot since op_take_shots */
    int32_t result;     /* valid once done (or per shot) */
    uint32_t cqe_flags; /* of the last completion */
    uint64_t offset;    /* private */
    uint64_t addr;      /* private */
    uint32_t len;       /* private */
    uint32_t op_flags;  /* private */
    int32_t fd;         /* private */
    uint16_t buf_index; /* private */
    uint16_t ioprio;    /* private */
    struct op *next;    /* private: in the executor's backlog */
};

_Static_assert(sizeof(struct op) == 64, "an operation is one cache line");

static inline struct io_file io_file_plain(int fd)
{
    return (struct io_file){.fd = fd, .slot = -1};
}

/* A terminal, which ignores that it must not wait in the kernel unless it is O_NONBLOCK. */
static inline struct io_file io_file_terminal(int fd)
{
    return (struct io_file){.fd = fd, .slot = -1, .waits = true};
}

/*
 * Registers `fd`, which stays the caller's, in a free slot. Falls back to a plain io_file when
 * there is none, so it never fails. Unregister before closing the descriptor, with no operation in
 * flight on it.
 */
struct io_file io_file_register(struct executor *executor, int fd);
/*
 * As io_file_register, for a file with O_DIRECT on a device whose queue can be polled
 * (IORING_SETUP_IOPOLL): its reads and writes complete without an interrupt, and the executor does
 * not sleep while there are any; op_cancel does not hasten them. On another file they end in
 * -EOPNOTSUPP. Before executor_bind. -ENOMEM, ...: as executor_create.
 */
must_check int io_file_register_polled(struct executor *executor, int fd, struct io_file *file,
                                       struct err *err);
/*
 * Whether that is such a file: reads its first `len` bytes so, and waits for them. Their number, or
 * a negative errno: -EOPNOTSUPP, that file systems which cannot poll give. Any thread, at set-up.
 */
must_check int io_file_try_polled(int fd, void *buffer, uint32_t len);
void io_file_unregister(struct executor *executor, struct io_file *file);

/* Zeroed is idle. Idle -> in flight (started) -> done; a done op may be started again. */
static inline bool op_is_done(const struct op *op)
{
    return op->status == OP_DONE;
}

static inline bool op_is_in_flight(const struct op *op)
{
    return op->status == OP_QUEUED || op->status == OP_SUBMITTED;
}

void op_nop(struct op *op, struct task *task);
/* offset UINT64_MAX: the file position (pipes, taps, terminals); so for all reads and writes. */
void op_read(struct op *op, struct task *task, struct io_file file, void *buffer, uint32_t len,
             uint64_t offset);
void op_write(struct op *op, struct task *task, struct io_file file, const void *buffer,
              uint32_t len, uint64_t offset);
/* `iov` stays valid and unchanged until done. */
void op_readv(struct op *op, struct task *task, struct io_file file, const struct iovec *iov,
              uint32_t iov_count, uint64_t offset);
/*
 * As op_readv, but never waits: -EAGAIN when there is nothing to read now, -EOPNOTSUPP where the
 * kernel cannot tell (a tap before 6.4). Several, started one after the other, are served in that
 * order: for batches from pipes, sockets and taps.
 */
void op_readv_nowait(struct op *op, struct task *task, struct io_file file, const struct iovec *iov,
                     uint32_t iov_count, uint64_t offset);
void op_writev(struct op *op, struct task *task, struct io_file file, const struct iovec *iov,
               uint32_t iov_count, uint64_t offset);
/* datasync: fdatasync instead of fsync. */
void op_fsync(struct op *op, struct task *task, struct io_file file, bool datasync);
/* mode as in fallocate(2). */
void op_fallocate(struct op *op, struct task *task, struct io_file file, int mode, uint64_t offset,
                  uint64_t len);
/* One-shot poll; result is the mask of events. */
void op_poll(struct op *op, struct task *task, struct io_file file, uint32_t events);
/*
 * Multishot poll: wakes the task at every edge until cancelled. Edges merge: count work by what the
 * file says, never by shots. An eventfd that is only polled this way need not be read. It may end
 * by itself (op_is_done with a result that is no error): start it again then.
 */
void op_poll_multishot(struct op *op, struct task *task, struct io_file file, uint32_t events);
/* Completions since the last call, and clears them. */
uint32_t op_take_shots(struct op *op);

/* The result is the new descriptor; accept_flags as in accept4(2). */
void op_accept(struct op *op, struct task *task, struct io_file file, int accept_flags);
void op_recv(struct op *op, struct task *task, struct io_file file, void *buffer, uint32_t len,
             int msg_flags);
void op_send(struct op *op, struct task *task, struct io_file file, const void *buffer,
             uint32_t len, int msg_flags);

/*
 * The next three are for executors whose config `opens`; others refuse them with -EACCES, so that
 * who takes over a sandboxed process cannot do with its ring what its system calls may not.
 *
 * `address` stays valid and unchanged until done; address_len as in connect(2).
 */
void op_connect(struct op *op, struct task *task, struct io_file file,
                const struct sockaddr *address, socklen_t address_len);
/* how: SHUT_RD, SHUT_WR or SHUT_RDWR. */
void op_shutdown(struct op *op, struct task *task, struct io_file file, int how);
/* Closes a descriptor that is not registered and has no operation in flight, without waiting on
 * this thread for what that takes. */
void op_close(struct op *op, struct task *task, int fd);

/* Asks the kernel to cancel; a no-op unless in flight. May be called again. */
void op_cancel(struct op *op);

/* Finished when it is done. */
struct future op_future(struct op *op);

/* "READV", for dumps and logs. */
const char *op_name(const struct op *op);
