/* What belongs to the kernel while an operation is in flight, as AddressSanitizer sees it. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "base/asan.h"
#include "exec/op.h"
#include "fixture.h"

#if defined(__SANITIZE_ADDRESS__)
struct reader {
    struct task task;
    struct op op;
    struct iovec iov[2];
    int fds[2];
    char bytes[2];
};

enum { READ = 1 };

static enum task_verdict reader_poll(struct task *task)
{
    struct reader *const reader = container_of(task, struct reader, task);

    ASYNC_BEGIN(task)
        ;
        op_readv(&reader->op, task, io_file_plain(reader->fds[0]), reader->iov, 2, UINT64_MAX);
        AWAIT(task, READ, op_is_done(&reader->op));
        cr_assert_eq(reader->op.result, 2);
        ASYNC_END(task);
}

static bool reader_waits(void *arg)
{
    const struct reader *reader = arg;

    return reader->task.state == READ;
}

static void assert_poisoned(struct reader *reader, bool expected)
{
    cr_assert_eq(!!__asan_address_is_poisoned(&reader->op.result), expected, "the result");
    cr_assert_eq(!!__asan_address_is_poisoned(&reader->iov[0].iov_len), expected, "the vector");
    cr_assert_eq(!!__asan_address_is_poisoned(&reader->iov[1].iov_base), expected, "all of it");
}

Test(op, in_flight_is_poisoned_with_its_vector)
{
    static const struct task_type type = {.name = "reader", .poll = reader_poll};
    struct executor *executor = fixture_create(NULL);
    struct reader reader = {.iov = {{&reader.bytes[0], 1}, {&reader.bytes[1], 1}}};

    cr_assert_eq(pipe(reader.fds), 0);
    task_spawn(&reader.task, executor, &type);
    cr_assert_eq(executor_run_until(executor, reader_waits, &reader), 0);
    assert_poisoned(&reader, true);
    cr_assert_eq(write(reader.fds[1], "ab", 2), 2);
    cr_assert_eq(executor_run(executor), 0);
    assert_poisoned(&reader, false);
    fixture_finish(executor);
}
#else
Test(op, in_flight_is_poisoned_with_its_vector)
{
    cr_skip_test("needs AddressSanitizer: make asan");
}
#endif
