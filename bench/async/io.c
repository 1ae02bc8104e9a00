/* Operations of io_uring, awaited one by one and in batches; and the same without an executor. */
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/clock.h"
#include "bench.h"
#include "exec/op.h"

enum { BATCH_MAX = 32, BLOCK = 4096, FILE_BLOCKS = 256 };

/* In memory; O_NONBLOCK, since the kernel hands reads of it to worker threads otherwise. */
static int open_file(void)
{
    int memfd = memfd_create("bench", MFD_CLOEXEC);
    char path[32];
    int fd;

    CHECK_CMP(memfd, >=, 0);
    CHECK_CMP(ftruncate(memfd, (off_t)BLOCK * FILE_BLOCKS), ==, 0);
    CHECK_CMP(posix_fallocate(memfd, 0, (off_t)BLOCK * FILE_BLOCKS), ==, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK_CMP(fd, >=, 0);
    close(memfd);
    return fd;
}

static uint64_t offset_of(uint64_t number)
{
    return number * 37 % FILE_BLOCKS * BLOCK;
}

/* ---- tasks that await one operation after the other ---- */

struct awaiter {
    struct task task;
    struct op op;
    uint64_t left;
    struct io_file file;
    unsigned char *buffer; /* NULL: NOPs */
};

enum { OPERATION = 1 };

static enum task_verdict nopper_poll(struct task *task)
{
    struct awaiter *const awaiter = container_of(task, struct awaiter, task);

    ASYNC_BEGIN(task)
        while (awaiter->left--) {
            op_nop(&awaiter->op, task);
            AWAIT(task, OPERATION, op_is_done(&awaiter->op));
        }
        ASYNC_END(task);
}

static enum task_verdict reader_poll(struct task *task)
{
    struct awaiter *const awaiter = container_of(task, struct awaiter, task);

    ASYNC_BEGIN(task)
        while (awaiter->left--) {
            op_read(&awaiter->op, task, awaiter->file, awaiter->buffer, BLOCK,
                    offset_of(awaiter->left));
            AWAIT(task, OPERATION, op_is_done(&awaiter->op));
            CHECK_CMP(awaiter->op.result, ==, BLOCK);
        }
        ASYNC_END(task);
}

static double await_nop(const struct bench_size *size, unsigned batch)
{
    static const struct task_type type = {.name = "nopper", .poll = nopper_poll};
    struct executor *executor = bench_executor(BENCH_POLL_US);
    static struct awaiter awaiters[BATCH_MAX];
    uint64_t each = size->operations / batch;

    for (unsigned i = 0; i < batch; i++) {
        awaiters[i] = (struct awaiter){.left = each};
        task_spawn(&awaiters[i].task, executor, &type);
    }
    return bench_run(executor) / (double)(each * batch);
}

static double await_read(const struct bench_size *size, unsigned batch)
{
    static const struct task_type type = {.name = "reader", .poll = reader_poll};
    struct executor *executor = bench_executor(BENCH_POLL_US);
    unsigned char *buffers = bench_alloc(batch, BLOCK);
    static struct awaiter awaiters[BATCH_MAX];
    uint64_t each = size->operations / batch;
    int fd = open_file();
    struct io_file file = io_file_register(executor, fd);
    double ns;

    for (unsigned i = 0; i < batch; i++) {
        awaiters[i] =
            (struct awaiter){.left = each, .file = file, .buffer = buffers + (size_t)i * BLOCK};
        task_spawn(&awaiters[i].task, executor, &type);
    }
    ns = bench_run(executor) / (double)(each * batch);
    close(fd);
    free(buffers);
    return ns;
}

/* ---- a bare loop of liburing, with the same flags ---- */

static void bare_create(struct io_uring *ring)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN |
                                              IORING_SETUP_TASKRUN_FLAG};

    CHECK_CMP(io_uring_queue_init_params(256, ring, &params), ==, 0);
    CHECK_CMP(io_uring_register_ring_fd(ring), ==, 1);
}

static void bare_turn(struct io_uring *ring, unsigned batch, int expected)
{
    struct io_uring_cqe *cqe;
    unsigned head, reaped = 0;

    CHECK_CMP(io_uring_submit_and_wait(ring, batch), ==, (int)batch);
    io_uring_for_each_cqe(ring, head, cqe)
    {
        CHECK_CMP(cqe->res, ==, expected);
        reaped++;
    }
    io_uring_cq_advance(ring, reaped);
    CHECK_CMP(reaped, ==, batch);
}

static double bare_nop(const struct bench_size *size, unsigned batch)
{
    uint64_t turns = size->operations / batch;
    struct io_uring ring;
    struct stopwatch watch;
    double ns;

    bare_create(&ring);
    stopwatch_start(&watch);
    for (uint64_t turn = 0; turn < turns; turn++) {
        for (unsigned i = 0; i < batch; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

            io_uring_prep_nop(sqe);
            io_uring_sqe_set_data64(sqe, i + 1);
        }
        bare_turn(&ring, batch, 0);
    }
    ns = stopwatch_ns(&watch);
    io_uring_queue_exit(&ring);
    return ns / (double)(turns * batch);
}

static double bare_read(const struct bench_size *size, unsigned batch)
{
    uint64_t turns = size->operations / batch;
    unsigned char *buffers = bench_alloc(batch, BLOCK);
    int fd = open_file();
    struct io_uring ring;
    struct stopwatch watch;
    double ns;

    bare_create(&ring);
    CHECK_CMP(io_uring_register_files(&ring, &fd, 1), ==, 0);
    stopwatch_start(&watch);
    for (uint64_t turn = 0; turn < turns; turn++) {
        for (unsigned i = 0; i < batch; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

            io_uring_prep_read(sqe, 0, buffers + (size_t)i * BLOCK, BLOCK, offset_of(turn));
            sqe->flags = IOSQE_FIXED_FILE;
            io_uring_sqe_set_data64(sqe, i + 1);
        }
        bare_turn(&ring, batch, BLOCK);
    }
    ns = stopwatch_ns(&watch);
    io_uring_queue_exit(&ring);
    close(fd);
    free(buffers);
    return ns / (double)(turns * batch);
}

/* ---- libuv, which reads on threads of its pool ---- */

struct libuv_reader {
    uv_fs_t request;
    uv_buf_t buffer;
    uint64_t left;
    int fd;
};

static void libuv_reader_next(struct libuv_reader *reader, uv_loop_t *loop);

static void libuv_reader_called(uv_fs_t *request)
{
    struct libuv_reader *reader = request->data;

    CHECK_CMP(request->result, ==, BLOCK);
    uv_fs_req_cleanup(request);
    libuv_reader_next(reader, request->loop);
}

static void libuv_reader_next(struct libuv_reader *reader, uv_loop_t *loop)
{
    if (!reader->left)
        return;
    reader->left--;
    reader->request.data = reader;
    CHECK_CMP(uv_fs_read(loop, &reader->request, reader->fd, &reader->buffer, 1,
                         (int64_t)offset_of(reader->left), libuv_reader_called),
              ==, 0);
}

static double libuv_read(const struct bench_size *size, unsigned batch)
{
    unsigned char *buffers = bench_alloc(batch, BLOCK);
    static struct libuv_reader readers[BATCH_MAX];
    uint64_t each = size->operations / 20 / batch + 1, begin_ns;
    int fd = open_file();
    uv_loop_t loop;

    CHECK_CMP(uv_loop_init(&loop), ==, 0);
    begin_ns = clock_now_ns();
    for (unsigned i = 0; i < batch; i++) {
        readers[i] = (struct libuv_reader){.left = each, .fd = fd};
        readers[i].buffer = uv_buf_init((char *)buffers + (size_t)i * BLOCK, BLOCK);
        libuv_reader_next(&readers[i], &loop);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    begin_ns = clock_now_ns() - begin_ns;
    CHECK_CMP(uv_loop_close(&loop), ==, 0);
    close(fd);
    free(buffers);
    return (double)begin_ns / (double)(each * batch);
}

static void print_sizes(void)
{
    printf(", op %zu", sizeof(struct op));
}

static const struct bench benches[] = {
    {"await_nop_b1", "ns", await_nop, "bare liburing", bare_nop, 1},
    {"await_nop_b32", "ns", await_nop, "bare liburing", bare_nop, 32},
    {"await_read_4k_b1", "ns", await_read, "bare liburing", bare_read, 1},
    {"await_read_4k_b32", "ns", await_read, "bare liburing", bare_read, 32},
    {"await_read_4k_b1_uv", "ns", await_read, "libuv fs_read", libuv_read, 1},
    {"await_read_4k_b32_uv", "ns", await_read, "libuv fs_read", libuv_read, 32},
};
const struct bench_group bench_io = {benches, array_count(benches), print_sizes};
