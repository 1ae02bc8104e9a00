#include "exec/ring.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "exec/op.h"

enum {
    /* A burst of completions larger than this takes the kernel's slow overflow path, nothing else.
     */
    CQES_PER_SQE = 4,
    /* How long to wait for the kernel to find memory for requests, when it has none. */
    NO_MEMORY_WAIT_MS = 1,
};

#ifdef RING_SLEEPS_IN_POLL
/* Completions that are held back would not end a poll of the ring. */
enum { DEFER_FLAGS = 0 };
#else
enum { DEFER_FLAGS = IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG };
#endif

static int disabled_read(void)
{
    char text[8] = "";
    int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    ssize_t len;

    if (fd < 0)
        return -1;
    len = read(fd, text, sizeof(text) - 1);
    close(fd);
    return len > 0 ? (int)strtol(text, NULL, 10) : -1;
}

int ring_explain(int error, int disabled, struct err *err)
{
    struct utsname host;
    const char *release = uname(&host) ? "unknown" : host.release;

    switch (error) {
    case -EPERM:
    case -EACCES:
        if (disabled == 2)
            return err_set(err, error,
                           "io_uring is switched off for everybody by the sysctl "
                           "kernel.io_uring_disabled=2; set it to 0");
        if (disabled == 1)
            return err_set(err, error,
                           "io_uring is reserved to privileged users by the sysctl "
                           "kernel.io_uring_disabled=1; set it to 0, or put this user in the group "
                           "that kernel.io_uring_group names");
        return err_set(err, error,
                       "io_uring is forbidden here, most likely by a seccomp profile (containers "
                       "have one by default); allow io_uring_setup, io_uring_enter and "
                       "io_uring_register in it");
    case -ENOSYS:
        return err_set(err, error,
                       "io_uring is missing: kernel %s was built without it, or a seccomp profile "
                       "hides it; Linux 6.1 or later with CONFIG_IO_URING is needed",
                       release);
    case -EINVAL:
        return err_set(err, error,
                       "io_uring of kernel %s lacks SINGLE_ISSUER and DEFER_TASKRUN; Linux 6.1 or "
                       "later is needed",
                       release);
    case -ENOMEM:
        return err_set(err, error,
                       "io_uring: no memory for the rings; free some, or raise the limit on locked "
                       "memory (ulimit -l)");
    case -EMFILE:
    case -ENFILE:
        return err_set(err, error,
                       "io_uring: no file descriptor left; raise the limit on open files "
                       "(ulimit -n)");
    default:
        return err_set(err, error, "io_uring_setup: %s", strerror(-error));
    }
}

/* A call on a ring that io_uring_setup has given. */
static int call_failed(const char *what, int error, struct err *err)
{
    if (error == -EPERM || error == -EACCES || error == -ENOSYS)
        return err_set(err, error,
                       "%s is forbidden here, most likely by a seccomp profile; allow "
                       "io_uring_setup, io_uring_enter and io_uring_register in it",
                       what);
    return err_set(err, error, "%s: %s", what, strerror(-error));
}

/* What op.c issues, and nothing else. All of them are in Linux 6.1. */
static const uint8_t opcodes_of_io[] = {
    IORING_OP_NOP,        IORING_OP_READV,        IORING_OP_WRITEV,   IORING_OP_FSYNC,
    IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED,  IORING_OP_POLL_ADD, IORING_OP_ACCEPT,
    IORING_OP_FALLOCATE,  IORING_OP_ASYNC_CANCEL, IORING_OP_READ,     IORING_OP_WRITE,
    IORING_OP_SEND,       IORING_OP_RECV,
};

/* What op.c issues as well, where it was asked for. */
static const uint8_t opcodes_that_open[] = {
    IORING_OP_CONNECT,
    IORING_OP_SHUTDOWN,
    IORING_OP_CLOSE,
};

static const uint8_t opcodes_of_iopoll[] = {
    IORING_OP_READV,
    IORING_OP_WRITEV,
    IORING_OP_READ,
    IORING_OP_WRITE,
};

/* The file table is optional: without it operations name descriptors, which costs 20 ns each. */
static int files_create(struct ring *ring, uint32_t file_count)
{
    int ret;

    if (!file_count)
        return 0;
    ring->file_slots = calloc((file_count + 63) / 64, sizeof(uint64_t));
    if (!ring->file_slots)
        return -ENOMEM;
    ret = io_uring_register_files_sparse(&ring->uring, file_count);
    if (ret == -ENOMEM || ret == -EMFILE)
        return 0;
    if (ret == 0)
        ring->file_count = file_count;
    return ret;
}

int ring_create(struct ring *ring, uint32_t entries, uint32_t file_count, uint32_t setup_flags,
                struct err *err)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | DEFER_FLAGS | IORING_SETUP_R_DISABLED |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | setup_flags,
        .cq_entries = entries * CQES_PER_SQE,
    };
    int ret;

    *ring = (struct ring){.enter_fd = -1};
    ret = io_uring_queue_init_params(entries, &ring->uring, &params);
    if (ret < 0)
        return ring_explain(ret, disabled_read(), err);
    /* The array maps slots to SQEs; ours are used in order, so it is written once. */
    for (uint32_t i = 0; i < ring->uring.sq.ring_entries; i++)
        ring->uring.sq.array[i] = i;
    ret = files_create(ring, file_count);
    if (ret < 0) {
        call_failed("io_uring_register", ret, err);
        ring_destroy(ring);
    }
    return ret;
}

void ring_destroy(struct ring *ring)
{
    free(ring->file_slots);
    io_uring_queue_exit(&ring->uring);
}

/* liburing 2.3 declares helpers for what this is used for, but does not export them. */
static int ring_register(const struct ring *ring, unsigned opcode, void *arg, unsigned count)
{
    return syscall(SYS_io_uring_register, ring->uring.ring_fd, opcode, arg, count) < 0 ? -errno : 0;
}

static unsigned allow(struct io_uring_restriction *rules, const uint8_t *opcodes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rules[i] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
                                                 .sqe_op = opcodes[i]};
    return (unsigned)count;
}

static int restrict_ring(struct ring *ring)
{
    struct io_uring_restriction
        rules[array_count(opcodes_of_io) + array_count(opcodes_that_open) + 3] = {
            {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
             .sqe_flags = IOSQE_FIXED_FILE | IOSQE_ASYNC},
            {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_FILES_UPDATE},
            /* A thread has room for 16 ring descriptors, and each holds its ring. */
            {.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_UNREGISTER_RING_FDS},
        };
    unsigned count = 3;

    if (ring->use == RING_IOPOLL)
        count += allow(&rules[count], opcodes_of_iopoll, array_count(opcodes_of_iopoll));
    else
        count += allow(&rules[count], opcodes_of_io, array_count(opcodes_of_io));
    if (ring->use == RING_OPENS)
        count += allow(&rules[count], opcodes_that_open, array_count(opcodes_that_open));
    return ring_register(ring, IORING_REGISTER_RESTRICTIONS, rules, count);
}

int ring_bind(struct ring *ring, struct err *err)
{
    int ret;

    ret = restrict_ring(ring);
    if (ret < 0)
        return call_failed("io_uring_register (restrictions)", ret, err);
    /* Before enabling, after which the restrictions refuse it. Optional: saves 12 ns a call. */
    ret = io_uring_register_ring_fd(&ring->uring);
    ring->enter_flags = ret == 1 ? IORING_ENTER_REGISTERED_RING : 0;
    ring->enter_fd = ret == 1 ? ring->uring.enter_ring_fd : ring->uring.ring_fd;
    ret = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (ret < 0)
        return call_failed("io_uring_register (enable)", ret, err);
    /* Nothing to submit or to wait for: only whether it may be called. */
    ret = ring_enter(ring, 0, 0);
    if (ret < 0)
        return call_failed("io_uring_enter", ret, err);
    ring->bound = true;
    return 0;
}

/* EAGAIN: the kernel has no memory for requests. Completions give some back. */
static int wait_for_memory(struct ring *ring)
{
    struct __kernel_timespec wait = {.tv_nsec = NO_MEMORY_WAIT_MS * NS_PER_MS};
    struct io_uring_getevents_arg arg = {.sigmask_sz = _NSIG / 8, .ts = (uintptr_t)&wait};
    long ret;

    /* A ring that is polled does not sleep, and does not wait when nothing is in flight. */
    if (ring->use == RING_IOPOLL) {
        (void)nanosleep(&(struct timespec){.tv_nsec = NO_MEMORY_WAIT_MS * NS_PER_MS}, NULL);
        return 0;
    }
    ret = syscall(SYS_io_uring_enter, ring->enter_fd, 0, 1,
                  IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | ring->enter_flags, &arg,
                  sizeof(arg));
    ring->enters++;
    return ret < 0 && errno != ETIME && errno != EINTR && errno != EBUSY ? -errno : 0;
}

#ifdef RING_SLEEPS_IN_POLL
int ring_enter_and_poll(struct ring *ring, uint64_t timeout_ns)
{
    const struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                                     .tv_nsec = (long)(timeout_ns % NS_PER_S)};
    struct pollfd fd = {.fd = ring->uring.ring_fd, .events = POLLIN};
    int ret = ring_enter_flags(ring, 0, IORING_ENTER_GETEVENTS, NULL);

    if (ret < 0 || ring_has_cqes(ring))
        return ret;
    (void)ppoll(&fd, 1, timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);
    return ring_enter_flags(ring, 0, IORING_ENTER_GETEVENTS, NULL);
}
#endif

int ring_decide(struct ring *ring, int error)
{
    switch (error) {
    case -EINTR: /* a signal: its handler may have asked for something, so look around */
    case -ETIME: /* the timeout of the wait */
    case -EBUSY: /* completions wait for room in their queue: reap, then again */
        return 0;
    case -EAGAIN:
        return wait_for_memory(ring);
    default:
        return error;
    }
}

int ring_register_memory(struct ring *ring, const struct iovec *regions, uint32_t count)
{
    struct iovec slices[RING_REGIONS_MAX * RING_SLICES_MAX];
    unsigned slice_count = 0;
    int ret;

    if (ring->region_count || ring->bound)
        return -EBUSY;
    if (count > RING_REGIONS_MAX)
        return -ERANGE;
    for (uint32_t i = 0; i < count; i++) {
        char *base = regions[i].iov_base;
        size_t left = regions[i].iov_len;

        if (left > RING_SLICES_MAX * RING_SLICE_SIZE)
            return -ERANGE;
        ring->regions[i] = (struct ring_region){(uintptr_t)base, left, (uint16_t)slice_count};
        while (left) {
            size_t len = left < RING_SLICE_SIZE ? left : RING_SLICE_SIZE;

            slices[slice_count++] = (struct iovec){base, len};
            base += len;
            left -= len;
        }
    }
    ret = io_uring_register_buffers(&ring->uring, slices, slice_count);
    if (ret == 0)
        ring->region_count = count;
    return ret;
}

int ring_register_file(struct ring *ring, int fd)
{
    for (uint32_t word = 0; word < (ring->file_count + 63) / 64; word++) {
        int slot;

        if (!~ring->file_slots[word])
            continue;
        slot = (int)(word * 64) + __builtin_ctzll(~ring->file_slots[word]);
        if ((uint32_t)slot >= ring->file_count ||
            io_uring_register_files_update(&ring->uring, (unsigned)slot, &fd, 1) != 1)
            return -1;
        ring->file_slots[word] |= 1ULL << (slot % 64);
        return slot;
    }
    return -1;
}

void ring_unregister_file(struct ring *ring, int slot)
{
    const int none = -1;

    CHECK_CMP((uint32_t)slot, <, ring->file_count);
    /* Cannot fail for a slot of ours; where io_uring_register is denied by now, the slot stays
     * taken until the ring goes. */
    if (io_uring_register_files_update(&ring->uring, (unsigned)slot, &none, 1) == 1)
        ring->file_slots[slot / 64] &= ~(1ULL << (slot % 64));
}

void ring_describe(const struct ring *ring, FILE *out)
{
    fprintf(out,
            "io_uring: SINGLE_ISSUER DEFER_TASKRUN, %u submission and %u completion entries, "
            "%u registered files%s%s\n",
            ring->uring.sq.ring_entries, ring->uring.cq.ring_entries, ring->file_count,
            ring->enter_flags ? ", ring descriptor registered" : "",
            ring->region_count ? ", memory registered" : "");
}
