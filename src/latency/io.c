/* A task that awaits one operation after the other: no-ops, or reads of blocks at random places. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "exec/op.h"
#include "latency/crew.h"
#include "latency/probe.h"

struct reader {
    _Alignas(FILES_BLOCK_SIZE) unsigned char block[FILES_BLOCK_SIZE];
    struct task task;
    struct op op;
    struct io_file file;
    struct probe_run *run;
    uint64_t begin_ns;
    int result;
    bool reads; /* else no-ops */
};

static void operation_start(struct reader *reader)
{
    uint64_t offset =
        random_between(&reader->run->random, 0, FILES_BLOCK_COUNT - 1) * FILES_BLOCK_SIZE;

    reader->begin_ns = clock_now_ns();
    if (reader->reads)
        op_read(&reader->op, &reader->task, reader->file, reader->block, FILES_BLOCK_SIZE, offset);
    else
        op_nop(&reader->op, &reader->task);
}

enum { READER_OP = 1 };

static enum task_verdict reader_poll(struct task *task)
{
    struct reader *const reader = container_of(task, struct reader, task);

    ASYNC_BEGIN(task)
        ;
        do {
            operation_start(reader);
            AWAIT(task, READER_OP, op_is_done(&reader->op));
            if (reader->op.result != (reader->reads ? FILES_BLOCK_SIZE : 0)) {
                reader->result = reader->op.result < 0 ? reader->op.result : -EIO;
                probe_end(reader->run);
                break;
            }
        } while (!probe_record(reader->run, reader->begin_ns, clock_now_ns()));
        ASYNC_END(task);
}

/* fd -1: no-ops. */
static int measure(struct probe_run *run, int fd, struct err *err)
{
    static const struct task_type type = {.name = "reader", .poll = reader_poll};
    struct reader reader = {.run = run, .reads = fd >= 0};
    struct crew crew;
    int ret = crew_create(&crew, run, 1, run->poll_us, err);

    if (ret)
        return ret;
    if (reader.reads)
        reader.file = io_file_register(crew.executors[0], fd);
    task_spawn(&reader.task, crew.executors[0], &type);
    crew_run(&crew);
    if (reader.reads)
        io_file_unregister(crew.executors[0], &reader.file);
    crew_destroy(&crew);
    if (reader.result)
        return err_set(err, reader.result, "a read of 4 KiB failed: %s", strerror(-reader.result));
    return 0;
}

int nop_measure(struct probe_run *run, struct err *err)
{
    return measure(run, -1, err);
}

int read_measure(struct probe_run *run, struct err *err)
{
    return measure(run, run->files->memory_fd, err);
}

int disk_measure(struct probe_run *run, struct err *err)
{
    return measure(run, run->files->disk_fd, err);
}
