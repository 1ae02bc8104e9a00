/*
 * Completions that are polled for. No device here can be polled, so most tests have the second ring
 * without IORING_SETUP_IOPOLL, of pipes: their reads, too, show only when the ring is entered.
 */
#include "exec/iopoll.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec/executor_internal.h"
#include "exec/timer.h"
#include "fixture.h"

enum { READ = 1, PAUSE, SYNC, PAUSE_NS = 1000000, FLOOD = 100, CROWD = 5 };

/* An executor whose second ring is of files that complete by themselves. */
static struct executor *create_with_ring(const struct executor_config *config)
{
    struct executor *executor = fixture_create(config);
    struct err err = {""};

    cr_assert_eq(iopoll_create(executor, 0, &err), 0, "%s", err.text);
    return executor;
}

static uint64_t sleeps_of(struct executor *executor)
{
    struct executor_stats stats;

    executor_stats_read(executor, &stats);
    return stats.sleeps;
}

/* Reads from a pipe, then pauses. */
struct reader {
    struct task task;
    struct io_file file;
    struct op op;
    struct iovec iov[2]; /* of `bytes`; two, so that it is a vector */
    char bytes[4];
    bool is_plain;
    bool is_cancelled;
    uint64_t sleeps; /* of the executor, when it was done */
    struct timer timer;
};

static void reader_start(struct reader *reader)
{
    reader->iov[0] = (struct iovec){reader->bytes, 2};
    reader->iov[1] = (struct iovec){reader->bytes + 2, 2};
    if (reader->is_plain)
        op_read(&reader->op, &reader->task, reader->file, reader->bytes, 4, UINT64_MAX);
    else
        op_readv(&reader->op, &reader->task, reader->file, reader->iov, 2, UINT64_MAX);
    if (reader->is_cancelled)
        op_cancel(&reader->op);
}

static enum task_verdict reader_poll(struct task *task)
{
    struct reader *const reader = container_of(task, struct reader, task);

    ASYNC_BEGIN(task)
        reader_start(reader);
        AWAIT(task, READ, op_is_done(&reader->op));
        reader->sleeps = sleeps_of(task->executor);
        /* Once is enough, unless others had the cpu for as long. */
        while (sleeps_of(task->executor) == reader->sleeps) {
            timer_sleep(&reader->timer, task, PAUSE_NS);
            AWAIT(task, PAUSE, timer_has_fired(&reader->timer));
        }
        ASYNC_END(task);
}

static const struct task_type reader_type = {.name = "reader", .poll = reader_poll};

/* Writes into the pipe, a while later. */
struct writer {
    struct task task;
    int fd;
    struct timer timer;
};

static enum task_verdict writer_poll(struct task *task)
{
    struct writer *const writer = container_of(task, struct writer, task);

    ASYNC_BEGIN(task)
        timer_sleep(&writer->timer, task, PAUSE_NS);
        AWAIT(task, PAUSE, timer_has_fired(&writer->timer));
        cr_assert_eq(write(writer->fd, "data", 4), 4);
        ASYNC_END(task);
}

static const struct task_type writer_type = {.name = "writer", .poll = writer_poll};

/* What `reader` finds in a pipe that is filled while it waits. */
static void read_from_pipe(struct reader *reader, uint32_t poll_us_max)
{
    const struct executor_config config = {.poll_us_max = poll_us_max};
    struct executor *executor = create_with_ring(&config);
    struct writer writer = {0};
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    reader->file = io_file_register(executor, fds[0]);
    reader->file.polls = true;
    writer.fd = fds[1];
    task_spawn(&reader->task, executor, &reader_type);
    task_spawn(&writer.task, executor, &writer_type);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_eq(reader->op.result, 4);
    cr_assert_arr_eq(reader->bytes, "data", 4);
    cr_assert_eq(reader->sleeps, 0, "nothing would have woken it");
    /* That it came to its end means that it sleeps when nothing is in flight. */
    executor_destroy(executor);
    close(fds[0]);
    close(fds[1]);
}

Test(iopoll, the_executor_asks_and_does_not_sleep_while_an_operation_is_in_flight)
{
    struct reader reader = {0};

    read_from_pipe(&reader, 0);
}

Test(iopoll, it_does_not_sleep_either_when_it_polls_before_sleeps)
{
    struct reader reader = {.is_plain = true};

    read_from_pipe(&reader, 20);
}

Test(iopoll, a_cancel_waits_for_the_device)
{
    struct reader reader = {.is_cancelled = true};

    read_from_pipe(&reader, 0);
}

/* Polls that fill the first ring, so that the read waits behind them in the backlog. */
struct crowd {
    struct task task;
    struct op polls[CROWD];
    struct op read;
    char byte;
};

static enum task_verdict crowd_poll(struct task *task)
{
    struct crowd *const crowd = container_of(task, struct crowd, task);

    ASYNC_BEGIN(task)
        AWAIT(task, READ, op_is_done(&crowd->read));
        for (unsigned i = 0; i < CROWD; i++)
            op_cancel(&crowd->polls[i]);
        AWAIT(task, PAUSE, task->in_flight == 0);
        ASYNC_END(task);
}

static const struct task_type crowd_type = {.name = "crowd", .poll = crowd_poll};

Test(iopoll, what_comes_from_the_backlog_before_a_sleep_is_asked_for)
{
    const struct executor_config config = {.entries = 4};
    struct executor *executor = create_with_ring(&config);
    struct crowd crowd = {0};
    struct io_file file;
    int silent[2], full[2];

    cr_assert_eq(pipe(silent), 0);
    cr_assert_eq(pipe(full), 0);
    cr_assert_eq(write(full[1], "x", 1), 1);
    file = io_file_register(executor, full[0]);
    file.polls = true;
    task_spawn(&crowd.task, executor, &crowd_type);
    /* Before it runs, since then a full ring is submitted. */
    for (unsigned i = 0; i < CROWD; i++)
        op_poll(&crowd.polls[i], &crowd.task, io_file_plain(silent[0]), POLLIN);
    op_read(&crowd.read, &crowd.task, file, &crowd.byte, 1, UINT64_MAX);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert_eq(crowd.read.result, 1);
    executor_destroy(executor);
    for (unsigned i = 0; i < 2; i++) {
        close(silent[i]);
        close(full[i]);
    }
}

/* More reads than the ring has entries, and writes that other reads see. */
struct flood {
    struct task task;
    struct io_file file;
    struct op ops[FLOOD];
    uint8_t bytes[FLOOD];
    bool writes;
};

static enum task_verdict flood_poll(struct task *task)
{
    struct flood *const flood = container_of(task, struct flood, task);

    ASYNC_BEGIN(task)
        for (unsigned i = 0; i < FLOOD; i++)
            if (flood->writes)
                op_write(&flood->ops[i], task, flood->file, &flood->bytes[i], 1, i);
            else
                op_read(&flood->ops[i], task, flood->file, &flood->bytes[i], 1, i);
        AWAIT(task, READ, task->in_flight == 0);
        for (unsigned i = 0; i < FLOOD; i++)
            cr_assert_eq(flood->ops[i].result, 1);
        op_fsync(&flood->ops[0], task, flood->file, true);
        AWAIT(task, SYNC, op_is_done(&flood->ops[0]));
        cr_assert_eq(flood->ops[0].result, 0, "it went to the ring that takes it");
        ASYNC_END(task);
}

static const struct task_type flood_type = {.name = "flood", .poll = flood_poll};

Test(iopoll, more_operations_than_the_ring_holds_complete_and_a_sync_goes_elsewhere)
{
    const struct executor_config config = {.entries = 4};
    struct executor *executor = create_with_ring(&config);
    struct flood flood = {.writes = true};
    int fd = memfd_create("disk", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    flood.file = io_file_register(executor, fd);
    flood.file.polls = true;
    for (unsigned i = 0; i < FLOOD; i++)
        flood.bytes[i] = (uint8_t)(i + 1);
    task_spawn(&flood.task, executor, &flood_type);
    cr_assert_eq(executor_run(executor), 0);
    memset(flood.bytes, 0, sizeof(flood.bytes));
    flood.writes = false;
    task_spawn(&flood.task, executor, &flood_type);
    cr_assert_eq(executor_run(executor), 0);
    for (unsigned i = 0; i < FLOOD; i++)
        cr_assert_eq(flood.bytes[i], i + 1);
    executor_destroy(executor);
    close(fd);
}

Test(iopoll, an_operation_in_flight_survives_a_pause_of_the_executor)
{
    struct executor *executor = create_with_ring(NULL);
    struct reader reader = {0};
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    reader.file = io_file_register(executor, fds[0]);
    reader.file.polls = true;
    task_spawn(&reader.task, executor, &reader_type);
    executor_stop(executor);
    cr_assert_eq(executor_run(executor), 0);
    cr_assert(op_is_in_flight(&reader.op));
    cr_assert_eq(ring_unsubmitted(&executor->iopoll->ring), 0);
    cr_assert_eq(write(fds[1], "data", 4), 4);
    fixture_finish(executor);
    cr_assert_eq(reader.op.result, 4);
    close(fds[0]);
    close(fds[1]);
}

Test(iopoll, an_executor_that_runs_gets_no_second_ring)
{
    struct executor *executor = fixture_create(NULL);
    struct io_file file;
    struct err err = {""};

    cr_assert_eq(executor_bind(executor, &err), 0, "%s", err.text);
    cr_assert_eq(io_file_register_polled(executor, 0, &file, &err), -EBUSY);
    executor_destroy(executor);
}

/* Or it would run, and refuse each operation on that ring. */
Test(iopoll, an_executor_is_not_bound_before_both_of_its_rings_are)
{
    struct executor *executor = create_with_ring(NULL);
    struct ring *ring = &executor->iopoll->ring;
    int fd = ring->uring.ring_fd;
    struct err err = {""};

    ring->uring.ring_fd = -1;
    cr_assert_lt(executor_bind(executor, &err), 0);
    cr_assert(strstr(err.text, "iopoll"), "%s", err.text);
    ring->uring.ring_fd = fd;
    cr_assert_eq(executor_bind(executor, &err), 0, "%s", err.text);
    cr_assert(ring->bound);
    executor_destroy(executor);
}

/* Of a file without a device, with the real thing. */
static enum task_verdict refused_poll(struct task *task)
{
    struct reader *const reader = container_of(task, struct reader, task);

    ASYNC_BEGIN(task)
        op_read(&reader->op, task, reader->file, reader->bytes, 4, 0);
        AWAIT(task, READ, op_is_done(&reader->op));
        ASYNC_END(task);
}

Test(iopoll, a_file_that_cannot_be_polled_says_so)
{
    static const struct task_type type = {.name = "refused", .poll = refused_poll};
    struct executor *executor = fixture_create(NULL);
    struct reader reader = {0};
    struct err err = {""};
    int fd = memfd_create("disk", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(io_file_register_polled(executor, fd, &reader.file, &err), 0, "%s", err.text);
    task_spawn(&reader.task, executor, &type);
    fixture_finish(executor);
    cr_assert_eq(reader.op.result, -EOPNOTSUPP);
    close(fd);
}
