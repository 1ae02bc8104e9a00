#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exec/executor.h"
#include "exec/op.h"

enum { READ_COUNT = 3 };

struct reader {
    struct task task;
    int fd;
    struct op ops[READ_COUNT];
    struct iovec iov[READ_COUNT];
    char messages[READ_COUNT][8];
};

enum { ALL = 1 };

static bool all_done(const struct reader *reader)
{
    for (unsigned i = 0; i < READ_COUNT; i++)
        if (!op_is_done(&reader->ops[i]))
            return false;
    return true;
}

static enum task_verdict reader_poll(struct task *task)
{
    struct reader *const reader = container_of(task, struct reader, task);

    ASYNC_BEGIN(task)
        for (unsigned i = 0; i < READ_COUNT; i++) {
            reader->iov[i] = (struct iovec){reader->messages[i], sizeof(reader->messages[i])};
            op_readv_nowait(&reader->ops[i], task, io_file_plain(reader->fd), &reader->iov[i], 1,
                            UINT64_MAX);
        }
        AWAIT(task, ALL, all_done(reader));
        ASYNC_END(task);
}

static const struct task_type reader_type = {.name = "reader", .poll = reader_poll};

Test(op, batch_of_reads_that_do_not_wait_is_served_in_order)
{
    const struct executor_config config = {0};
    struct reader reader = {0};
    struct executor *executor;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
    cr_assert_eq(write(fds[1], "first", 6), 6);
    cr_assert_eq(write(fds[1], "second", 7), 7);
    cr_assert_eq(executor_create(&executor, &config, NULL), 0);
    reader.fd = fds[0];
    task_spawn(&reader.task, executor, &reader_type);
    cr_assert_eq(executor_run(executor), 0);
    if (reader.ops[0].result == -EOPNOTSUPP)
        cr_skip_test("this kernel cannot read from a socket without waiting (Linux 6.4 can)");
    cr_assert_eq(reader.ops[0].result, 6);
    cr_assert_str_eq(reader.messages[0], "first");
    cr_assert_eq(reader.ops[1].result, 7);
    cr_assert_str_eq(reader.messages[1], "second");
    cr_assert_eq(reader.ops[2].result, -EAGAIN);
    executor_destroy(executor);
    close(fds[0]);
    close(fds[1]);
}
