#include "exec/op.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "exec/executor_internal.h"
#include "fixture.h"

/* A task with a few operations; its poll is the test's. */
struct probe {
    struct task task;
    struct op op;
    struct op other;
    struct io_file file;
    int fds[2];
    unsigned count;
    char buffer[64];
};

static void run_probe(struct probe *probe, const struct task_type *type)
{
    struct executor *executor = fixture_create(NULL);

    task_spawn(&probe->task, executor, type);
    fixture_finish(executor);
}

static void open_pipe(struct probe *probe)
{
    cr_assert_eq(pipe(probe->fds), 0);
}

/* ---- from idle to done ---- */

enum { FIRST = 1, SECOND, THIRD, FOURTH };

static enum task_verdict lifecycle_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        cr_assert_not(op_is_in_flight(&probe->op) || op_is_done(&probe->op), "zeroed is idle");
        op_nop(&probe->op, task);
        cr_assert(op_is_in_flight(&probe->op));
        cr_assert_eq(task->in_flight, 1);
        AWAIT(task, FIRST, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, 0);
        cr_assert_eq(task->in_flight, 0);
        cr_assert_str_eq(op_name(&probe->op), "NOP");
        op_read(&probe->op, task, io_file_plain(-1), probe->buffer, 1, 0);
        AWAIT(task, SECOND, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, -EBADF, "an error arrives as the result");
        probe->count++;
        ASYNC_END(task);
}

Test(op, goes_from_idle_to_in_flight_to_done_and_again)
{
    static const struct task_type type = {.name = "lifecycle", .poll = lifecycle_poll};
    struct probe probe = {0};

    run_probe(&probe, &type);
    cr_assert_eq(probe.count, 1);
}

static enum task_verdict batch_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    if (!probe->count++) {
        op_nop(&probe->op, task);
        op_nop(&probe->other, task);
        return TASK_PENDING;
    }
    cr_assert(op_is_done(&probe->op) && op_is_done(&probe->other));
    return TASK_DONE;
}

/* Lifetime rule 5: reaping only makes tasks ready. */
Test(op, completions_of_one_batch_are_all_reaped_before_a_task_runs)
{
    static const struct task_type type = {.name = "batch", .poll = batch_poll};
    struct probe probe = {0};

    run_probe(&probe, &type);
    cr_assert_eq(probe.count, 2);
}

static enum task_verdict twice_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    op_nop(&probe->op, task);
    op_nop(&probe->op, task);
    return TASK_PENDING;
}

Test(op, starting_it_twice_is_a_bug, .signal = SIGABRT)
{
    static const struct task_type type = {.name = "twice", .poll = twice_poll};
    struct probe probe = {0};

    run_probe(&probe, &type);
}

static enum task_verdict abandon_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    op_read(&probe->op, task, io_file_plain(probe->fds[0]), probe->buffer, 1, UINT64_MAX);
    return TASK_DONE;
}

Test(op, ending_a_task_with_one_in_flight_is_a_bug, .signal = SIGABRT)
{
    static const struct task_type type = {.name = "abandon", .poll = abandon_poll};
    struct probe probe = {0};

    open_pipe(&probe);
    run_probe(&probe, &type);
}

/* ---- short transfers ---- */

enum { STREAM_SIZE = 1 << 20 };

struct stream {
    struct task task;
    struct op op;
    struct iovec vector[16];
    struct iovec *iov;
    uint32_t iov_count;
    int fd;
    unsigned transfers;
    char *bytes;
};

static void stream_start(struct stream *stream, struct executor *executor, int fd, char *bytes,
                         const struct task_type *type)
{
    size_t chunk = STREAM_SIZE / array_count(stream->vector);

    *stream = (struct stream){
        .fd = fd, .bytes = bytes, .iov = stream->vector, .iov_count = array_count(stream->vector)};
    for (unsigned i = 0; i < stream->iov_count; i++)
        stream->vector[i] = (struct iovec){bytes + i * chunk, chunk};
    task_spawn(&stream->task, executor, type);
}

static enum task_verdict stream_write_poll(struct task *task)
{
    struct stream *const stream = container_of(task, struct stream, task);

    ASYNC_BEGIN(task)
        ;
        while (stream->iov_count) {
            op_writev(&stream->op, task, io_file_plain(stream->fd), stream->iov, stream->iov_count,
                      UINT64_MAX);
            AWAIT(task, FIRST, op_is_done(&stream->op));
            cr_assert_gt(stream->op.result, 0);
            stream->transfers++;
            stream->iov_count =
                iov_advance(&stream->iov, stream->iov_count, (size_t)stream->op.result);
        }
        ASYNC_END(task);
}

static enum task_verdict stream_read_poll(struct task *task)
{
    struct stream *const stream = container_of(task, struct stream, task);

    ASYNC_BEGIN(task)
        ;
        while (stream->iov_count) {
            op_readv(&stream->op, task, io_file_plain(stream->fd), stream->iov, stream->iov_count,
                     UINT64_MAX);
            AWAIT(task, FIRST, op_is_done(&stream->op));
            cr_assert_gt(stream->op.result, 0);
            stream->transfers++;
            stream->iov_count =
                iov_advance(&stream->iov, stream->iov_count, (size_t)stream->op.result);
        }
        ASYNC_END(task);
}

Test(op, short_transfers_go_on_where_they_stopped)
{
    static const struct task_type write_type = {.name = "write", .poll = stream_write_poll};
    static const struct task_type read_type = {.name = "read", .poll = stream_read_poll};
    struct executor *executor = fixture_create(NULL);
    struct stream writer, reader;
    char *out = malloc(STREAM_SIZE), *in = calloc(1, STREAM_SIZE);
    int fds[2];

    cr_assert(out && in);
    for (unsigned i = 0; i < STREAM_SIZE; i++)
        out[i] = (char)(i * 2654435761U >> 24);
    cr_assert_eq(pipe(fds), 0);
    stream_start(&writer, executor, fds[1], out, &write_type);
    stream_start(&reader, executor, fds[0], in, &read_type);
    fixture_finish(executor);
    /* The writer's are short too where the kernel does not let a worker thread wait (from 6.4). */
    cr_assert_gt(reader.transfers, 1, "a pipe holds less");
    cr_assert_arr_eq(in, out, STREAM_SIZE);
    free(out);
    free(in);
}

/* ---- polls ---- */

static enum task_verdict shots_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        op_poll_multishot(&probe->op, task, io_file_plain(probe->fds[0]), POLLIN);
        for (; probe->count < 10; probe->count++) {
            cr_assert_eq(eventfd_write(probe->fds[0], 1), 0);
            AWAIT(task, FIRST, op_take_shots(&probe->op) > 0);
            cr_assert(op_is_in_flight(&probe->op), "until it is cancelled");
            cr_assert(probe->op.result & POLLIN);
        }
        op_cancel(&probe->op);
        AWAIT(task, SECOND, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, -ECANCELED);
        /* One shot. */
        op_poll(&probe->op, task, io_file_plain(probe->fds[0]), POLLIN);
        AWAIT(task, THIRD, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, POLLIN);
        probe->count++;
        ASYNC_END(task);
}

Test(op, a_multishot_poll_wakes_at_every_edge_until_cancelled)
{
    static const struct task_type type = {.name = "shots", .poll = shots_poll};
    struct probe probe = {0};

    probe.fds[0] = eventfd(0, EFD_CLOEXEC);
    cr_assert_geq(probe.fds[0], 0);
    run_probe(&probe, &type);
    cr_assert_eq(probe.count, 11);
}

/* ---- files ---- */

static int open_scratch(void)
{
    char path[] = "/tmp/ringvm-op-XXXXXX";
    int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    unlink(path);
    return fd;
}

static enum task_verdict files_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        op_fallocate(&probe->op, task, probe->file, 0, 0, 8192);
        AWAIT(task, FIRST, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, 0);
        cr_assert_eq(lseek(probe->fds[0], 0, SEEK_END), 8192);
        op_write(&probe->op, task, probe->file, "ringvm", 6, 4096);
        AWAIT(task, SECOND, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, 6);
        op_fsync(&probe->op, task, probe->file, true);
        op_fsync(&probe->other, task, probe->file, false);
        AWAIT(task, THIRD, op_is_done(&probe->op) && op_is_done(&probe->other));
        cr_assert_eq(probe->op.result, 0);
        cr_assert_eq(probe->other.result, 0);
        op_read(&probe->op, task, probe->file, probe->buffer, sizeof(probe->buffer), 8192 - 32);
        op_read(&probe->other, task, probe->file, probe->buffer + 32, 6, 4096);
        AWAIT(task, FOURTH, op_is_done(&probe->op) && op_is_done(&probe->other));
        cr_assert_eq(probe->op.result, 32, "short at the end of the file");
        cr_assert_eq(probe->other.result, 6);
        cr_assert_eq(memcmp(probe->buffer + 32, "ringvm", 6), 0);
        probe->count++;
        ASYNC_END(task);
}

static const struct task_type files_type = {.name = "files", .poll = files_poll};

Test(op, reads_writes_and_syncs_a_plain_and_a_registered_file)
{
    struct executor *executor = fixture_create(NULL);

    for (unsigned registered = 0; registered < 2; registered++) {
        struct probe probe = {.fds[0] = open_scratch()};

        probe.file =
            registered ? io_file_register(executor, probe.fds[0]) : io_file_plain(probe.fds[0]);
        cr_assert_eq(probe.file.slot >= 0, registered);
        task_spawn(&probe.task, executor, &files_type);
        cr_assert_eq(executor_run(executor), 0);
        cr_assert_eq(probe.count, 1);
        io_file_unregister(executor, &probe.file);
        cr_assert_eq(probe.file.slot, -1);
        close(probe.fds[0]);
    }
    executor_destroy(executor);
}

Test(op, a_full_file_table_falls_back_to_plain_descriptors)
{
    const struct executor_config config = {.file_slots = 70};
    struct executor *executor = fixture_create(&config);
    struct io_file files[71];
    int fd = open_scratch();

    for (unsigned i = 0; i < 71; i++) {
        files[i] = io_file_register(executor, fd);
        cr_assert_eq(files[i].slot, i < 70 ? (int)i : -1);
        cr_assert_eq(files[i].fd, fd);
    }
    io_file_unregister(executor, &files[66]);
    cr_assert_eq(io_file_register(executor, fd).slot, 66, "a free slot is used again");
    executor_destroy(executor);
}

enum { REGION_SIZE = 1 << 20 };

struct fixed {
    struct task task;
    struct op ops[4];
    struct iovec iov;
    char *inside;
    char outside[16];
    int fd;
};

static enum task_verdict fixed_poll(struct task *task)
{
    struct fixed *const fixed = container_of(task, struct fixed, task);
    struct io_file file = io_file_plain(fixed->fd);

    ASYNC_BEGIN(task)
        ;
        memcpy(fixed->inside, "registered", 11);
        memcpy(fixed->outside, "plain", 6);
        fixed->iov = (struct iovec){fixed->inside, 11};
        op_write(&fixed->ops[0], task, file, fixed->inside, 11, 0);
        op_write(&fixed->ops[1], task, file, fixed->outside, 6, 100);
        op_writev(&fixed->ops[2], task, file, &fixed->iov, 1, 200);
        /* One byte too many for the region: not fixed, and no fault either. */
        op_write(&fixed->ops[3], task, file, fixed->inside + REGION_SIZE - 1, 2, 300);
        cr_assert_str_eq(op_name(&fixed->ops[0]), "WRITE_FIXED");
        cr_assert_str_eq(op_name(&fixed->ops[1]), "WRITE");
        cr_assert_str_eq(op_name(&fixed->ops[2]), "WRITE_FIXED");
        cr_assert_str_eq(op_name(&fixed->ops[3]), "WRITE");
        AWAIT(task, FIRST, task->in_flight == 0);
        cr_assert_eq(fixed->ops[0].result, 11);
        cr_assert_eq(fixed->ops[1].result, 6);
        cr_assert_eq(fixed->ops[2].result, 11);
        cr_assert_eq(fixed->ops[3].result, 2);
        op_read(&fixed->ops[0], task, file, fixed->inside + 4096, 11, 200);
        op_read(&fixed->ops[1], task, file, fixed->outside, 6, 100);
        cr_assert_str_eq(op_name(&fixed->ops[0]), "READ_FIXED");
        AWAIT(task, SECOND, task->in_flight == 0);
        cr_assert_str_eq(fixed->inside + 4096, "registered");
        cr_assert_str_eq(fixed->outside, "plain");
        ASYNC_END(task);
}

Test(op, buffers_in_registered_memory_are_fixed_and_others_are_not)
{
    static const struct task_type type = {.name = "fixed", .poll = fixed_poll};
    struct executor *executor = fixture_create(NULL);
    struct fixed fixed = {.fd = open_scratch()};
    struct iovec region = {.iov_len = REGION_SIZE};
    int ret;

    fixed.inside =
        mmap(NULL, 2 * REGION_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(fixed.inside, MAP_FAILED);
    region.iov_base = fixed.inside;
    ret = executor_register_memory(executor, &region, 1);
    if (ret == -ENOMEM)
        cr_skip_test("the limit on locked memory is too low");
    cr_assert_eq(ret, 0);
    cr_assert_eq(executor_register_memory(executor, &region, 1), -EBUSY, "once");
    task_spawn(&fixed.task, executor, &type);
    fixture_finish(executor);
    munmap(fixed.inside, 2 * REGION_SIZE);
}

Test(op, a_buffer_across_two_slices_of_registered_memory_is_not_fixed)
{
    const struct ring ring = {
        .regions = {{.base = 0x1000, .size = 3 * RING_SLICE_SIZE, .first_index = 0},
                    {.base = 16 * RING_SLICE_SIZE, .size = 0x2000, .first_index = 3}},
        .region_count = 2,
    };
    const struct {
        uintptr_t address;
        uint32_t len;
        int index;
    } cases[] = {
        {0x1000, 1, 0},
        {0xfff, 1, -1},
        {0x1000 + RING_SLICE_SIZE - 1, 1, 0},
        {0x1000 + RING_SLICE_SIZE - 1, 2, -1},
        {0x1000 + RING_SLICE_SIZE, 4096, 1},
        {0x1000 + 3 * RING_SLICE_SIZE - 1, 1, 2},
        {0x1000 + 3 * RING_SLICE_SIZE - 1, 2, -1},
        {0x1000 + 3 * RING_SLICE_SIZE, 1, -1},
        {16 * RING_SLICE_SIZE + 0x1000, 0x1000, 3},
        {16 * RING_SLICE_SIZE + 0x1000, 0x1001, -1},
        {16 * RING_SLICE_SIZE, UINT32_MAX, -1},
        {UINTPTR_MAX, UINT32_MAX, -1},
    };

    for (unsigned i = 0; i < array_count(cases); i++)
        cr_assert_eq(ring_find_buffer(&ring, (void *)cases[i].address, cases[i].len),
                     cases[i].index, "case %u", i);
}

/* ---- sockets ---- */

static enum task_verdict socket_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        op_accept(&probe->op, task, io_file_plain(probe->fds[0]), SOCK_CLOEXEC);
        AWAIT(task, FIRST, op_is_done(&probe->op));
        cr_assert_geq(probe->op.result, 0);
        cr_assert_eq(fcntl(probe->op.result, F_GETFD), FD_CLOEXEC);
        probe->fds[0] = probe->op.result;
        op_recv(&probe->op, task, io_file_plain(probe->fds[0]), probe->buffer,
                sizeof(probe->buffer), 0);
        op_send(&probe->other, task, io_file_plain(probe->fds[1]), "hello", 5, 0);
        AWAIT(task, SECOND, op_is_done(&probe->op) && op_is_done(&probe->other));
        cr_assert_eq(probe->other.result, 5);
        cr_assert_eq(probe->op.result, 5);
        cr_assert_eq(memcmp(probe->buffer, "hello", 5), 0);
        probe->count++;
        ASYNC_END(task);
}

Test(op, accepts_receives_and_sends)
{
    static const struct task_type type = {.name = "socket", .poll = socket_poll};
    struct sockaddr abstract = {.sa_family = AF_UNIX};
    struct probe probe = {0};
    socklen_t len = sizeof(abstract);

    probe.fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    probe.fds[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* The family alone: the kernel picks an abstract name. */
    cr_assert_eq(bind(probe.fds[0], &abstract, sizeof(sa_family_t)), 0);
    cr_assert_eq(listen(probe.fds[0], 1), 0);
    cr_assert_eq(getsockname(probe.fds[0], &abstract, &len), 0);
    cr_assert_eq(connect(probe.fds[1], &abstract, len), 0);
    run_probe(&probe, &type);
    cr_assert_eq(probe.count, 1);
}

/* ---- what the ring refuses ---- */

static struct io_uring_sqe *newest_sqe(struct ring *ring)
{
    return &ring->uring.sq.sqes[(ring->sqe_tail - 1) & ring->uring.sq.ring_mask];
}

static enum task_verdict forbidden_poll(struct task *task)
{
    struct probe *const probe = container_of(task, struct probe, task);

    ASYNC_BEGIN(task)
        ;
        /* What somebody who can forge requests would try first. */
        op_nop(&probe->op, task);
        newest_sqe(&task->executor->ring)->opcode = IORING_OP_OPENAT;
        AWAIT(task, FIRST, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, -EACCES);
        op_nop(&probe->op, task);
        newest_sqe(&task->executor->ring)->flags |= IOSQE_CQE_SKIP_SUCCESS;
        AWAIT(task, SECOND, op_is_done(&probe->op));
        cr_assert_eq(probe->op.result, -EACCES);
        probe->count++;
        ASYNC_END(task);
}

Test(op, what_is_not_in_the_list_of_operations_is_refused_by_the_kernel)
{
    static const struct task_type type = {.name = "forbidden", .poll = forbidden_poll};
    struct probe probe = {0};

    run_probe(&probe, &type);
    cr_assert_eq(probe.count, 1);
}
