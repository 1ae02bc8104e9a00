/*
 * The io_uring of one executor: set-up, the submission queue, and the one place that decides what
 * each error of io_uring_enter means. Private to src/exec.
 */
#pragma once
#include <errno.h>
#include <liburing.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/err.h"
#include "base/syscall.h"

enum { RING_REGIONS_MAX = 4, RING_SLICES_MAX = 1024 };
/* The kernel registers at most this much as one buffer. */
#define RING_SLICE_SIZE (1ULL << 30)

/* Memory that is registered as fixed buffers, one for each slice of it. */
struct ring_region {
    uintptr_t base;
    size_t size;
    uint16_t first_index;
};

/* Which opcodes it may be used for: all that do I/O; and those that open connections; or only reads
 * and writes whose completions are polled for. */
enum ring_use { RING_IO, RING_OPENS, RING_IOPOLL };

struct ring {
    struct io_uring uring;
    uint32_t sqe_tail;    /* SQEs filled in; published by ring_enter */
    uint32_t file_count;  /* slots of the registered file table; 0: none */
    uint64_t *file_slots; /* one bit per slot: in use */
    uint64_t enters;
    enum ring_use use; /* set before ring_bind */
    bool bound;        /* enabled, by the thread that owns it now */
    struct ring_region regions[RING_REGIONS_MAX];
    uint32_t region_count;
    int enter_fd;
    unsigned enter_flags; /* REGISTERED_RING when enter_fd is an index of registered descriptors */
};

/* The ring starts disabled: ring_bind enables it. setup_flags: IORING_SETUP_IOPOLL or 0. 0, or a
 * negative errno with the reason in err. */
must_check int ring_create(struct ring *ring, uint32_t entries, uint32_t file_count,
                           uint32_t setup_flags, struct err *err);
void ring_destroy(struct ring *ring);

/*
 * Makes the calling thread the only one that may submit, and restricts the ring to the opcodes of
 * its use: a request of ours that an attacker forges can read, write and poll what is open already,
 * but neither open nor connect anything, unless it was asked to allow that.
 */
must_check int ring_bind(struct ring *ring, struct err *err);

/* See executor_register_memory. */
must_check int ring_register_memory(struct ring *ring, const struct iovec *regions, uint32_t count);

int ring_register_file(struct ring *ring, int fd);
void ring_unregister_file(struct ring *ring, int slot);

/* The text for a failed io_uring_setup; `disabled` is the sysctl kernel.io_uring_disabled, -1 when
 * there is none. */
int ring_explain(int error, int disabled, struct err *err);
void ring_describe(const struct ring *ring, FILE *out);

/* SQEs that the kernel has not taken yet. */
static inline uint32_t ring_unsubmitted(const struct ring *ring)
{
    return ring->sqe_tail - io_uring_smp_load_acquire(ring->uring.sq.khead);
}

/* SQEs filled in whose completions were not reaped yet, where each has one. */
static inline uint32_t ring_in_flight(const struct ring *ring)
{
    return ring->sqe_tail - *ring->uring.cq.khead;
}

/* The fixed buffer that holds all of these bytes, or -1. */
static inline int ring_find_buffer(const struct ring *ring, const void *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < ring->region_count; i++) {
        const struct ring_region *region = &ring->regions[i];
        uintptr_t offset = (uintptr_t)bytes - region->base;

        if (offset < region->size && len <= region->size - offset)
            return len <= RING_SLICE_SIZE - offset % RING_SLICE_SIZE
                       ? region->first_index + (int)(offset / RING_SLICE_SIZE)
                       : -1;
    }
    return -1;
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

/* What a negative errno of io_uring_enter means: 0 to go on, else the error. */
cold_fn must_check int ring_decide(struct ring *ring, int error);

/*
 * Submits what is filled in and waits for `wait_count` completions or until `timeout_ns` have
 * passed (UINT64_MAX: no limit), and makes completions visible. 0 also when it was interrupted, ran
 * into the timeout, or the kernel could not take everything: what is left goes with the next
 * ring_enter. Another negative errno is one that no retry mends.
 *
 * Inline, like its callers up to the loop: the kernel clears the return predictor on its way out,
 * so that each return to a frame older than the system call costs 7 ns.
 */
static inline must_check int ring_enter_flags(struct ring *ring, unsigned wait_count,
                                              unsigned flags, struct io_uring_getevents_arg *arg)
{
    unsigned to_submit = ring_unsubmitted(ring);
    long ret;

    io_uring_smp_store_release(ring->uring.sq.ktail, ring->sqe_tail);
    ring->enters++;
    ret = syscall_6(SYS_io_uring_enter, ring->enter_fd, to_submit, wait_count,
                    flags | ring->enter_flags, (long)(uintptr_t)arg, arg ? sizeof(*arg) : 0);
    return likely(ret >= 0) ? 0 : ring_decide(ring, (int)ret);
}

/* valgrind takes io_uring_enter for a call that never blocks: no other thread would run meanwhile.
 */
#ifdef RING_SLEEPS_IN_POLL
must_check int ring_enter_and_poll(struct ring *ring, uint64_t timeout_ns);
#endif

static inline must_check int ring_enter(struct ring *ring, unsigned wait_count, uint64_t timeout_ns)
{
    struct __kernel_timespec timeout;
    struct io_uring_getevents_arg arg = {.sigmask_sz = _NSIG / 8, .ts = (uintptr_t)&timeout};

#ifdef RING_SLEEPS_IN_POLL
    if (wait_count)
        return ring_enter_and_poll(ring, timeout_ns);
#endif
    if (!wait_count || timeout_ns == UINT64_MAX)
        return ring_enter_flags(ring, wait_count, IORING_ENTER_GETEVENTS, NULL);
    timeout.tv_sec = (long long)(timeout_ns / NS_PER_S);
    timeout.tv_nsec = (long long)(timeout_ns % NS_PER_S);
    return ring_enter_flags(ring, wait_count, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg);
}

/* Submits only, to make room; completions stay where they are. */
static inline must_check int ring_flush(struct ring *ring)
{
    return ring_enter_flags(ring, 0, 0, NULL);
}
