/*
 * The io_uring of one executor: set-up, the submission queue, and the one place that decides what
 * each error of io_uring_enter means. Private to src/exec.
 */
#pragma once
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/err.h"

struct ring {
    struct io_uring uring;
    uint32_t sqe_tail;    /* SQEs filled in; published by ring_enter */
    uint32_t file_count;  /* slots of the registered file table; 0: none */
    uint64_t *file_slots; /* one bit per slot: in use */
    uint64_t enters;
    uint64_t opcodes; /* one bit per opcode that the kernel knows, of those we use */
    bool bound;       /* enabled, by the thread that owns it now */
    bool registered;  /* the ring's own descriptor is registered: enter_fd is an index */
    int enter_fd;
};

/* The ring starts disabled: ring_bind enables it. 0, or a negative errno with the reason in err. */
must_check int ring_create(struct ring *ring, uint32_t entries, uint32_t file_count,
                           struct err *err);
void ring_destroy(struct ring *ring);

/*
 * Makes the calling thread the only one that may submit, and restricts the ring to the opcodes in
 * op.c: a request of ours that an attacker forges can read, write and poll what is open already,
 * but neither open nor connect anything.
 */
must_check int ring_bind(struct ring *ring, struct err *err);

/*
 * Submits what is filled in and waits for `wait_count` completions or until `timeout_ns` have
 * passed (UINT64_MAX: no limit), and makes completions visible. 0 also when it was interrupted, ran
 * into the timeout, or the kernel could not take everything: what is left goes with the next
 * ring_enter. Another negative errno is one that no retry mends.
 */
must_check int ring_enter(struct ring *ring, unsigned wait_count, uint64_t timeout_ns);
/* Submits only, to make room; completions stay where they are. */
must_check int ring_flush(struct ring *ring);

int ring_register_file(struct ring *ring, int fd);
void ring_unregister_file(struct ring *ring, int slot);

/* The text for a failed io_uring_setup; `disabled` is the sysctl kernel.io_uring_disabled, -1 when
 * there is none. */
int ring_explain(int error, int disabled, struct err *err);
void ring_describe(const struct ring *ring, FILE *out);

static inline bool ring_has_opcode(const struct ring *ring, unsigned opcode)
{
    return opcode < 64 && ring->opcodes >> opcode & 1;
}

/* SQEs that the kernel has not taken yet. */
static inline uint32_t ring_unsubmitted(const struct ring *ring)
{
    return ring->sqe_tail - io_uring_smp_load_acquire(ring->uring.sq.khead);
}

/* A free SQE, not cleared, or NULL when the queue is full. */
static inline struct io_uring_sqe *ring_sqe(struct ring *ring)
{
    if (unlikely(ring_unsubmitted(ring) == ring->uring.sq.ring_entries))
        return NULL;
    return &ring->uring.sq.sqes[ring->sqe_tail++ & ring->uring.sq.ring_mask];
}

/* Completions that can be reaped without a system call. */
static inline bool ring_has_cqes(const struct ring *ring)
{
    return io_uring_smp_load_acquire(ring->uring.cq.ktail) != *ring->uring.cq.khead;
}

/*
 * The kernel holds completions back until the next ring_enter: with DEFER_TASKRUN it finishes polls
 * and asynchronous operations only there, and what did not fit into the completion queue moves up
 * there.
 */
static inline bool ring_wants_enter(const struct ring *ring)
{
    return IO_URING_READ_ONCE(*ring->uring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}
