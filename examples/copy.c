/*
 * Copies a file with 32 reads (or writes) in flight.
 *
 *     copy FROM TO
 *
 * Each of 32 jobs copies every 32nd block. They are a group that fails fast: the first error
 * cancels the others, and the copy ends when the kernel has let go of all buffers.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringvm/async.h>

enum { JOBS = 32, BLOCK_SIZE = 64 * 1024 };

struct copy;

struct copier {
    struct job job;
    struct copy *copy;
    uint64_t offset; /* of the block */
    uint32_t done;   /* bytes read, then bytes written, of the block */
    uint32_t len;
    struct op op;
    char buffer[BLOCK_SIZE];
};

struct copy {
    struct task task;
    struct io_file from, to;
    uint64_t size, copied;
    struct job_group group;
    struct copier copiers[JOBS];
};

enum { COPIER_READ = 1, COPIER_WRITE };

static enum task_verdict copier_poll(struct task *task)
{
    struct copier *const copier = container_of(task, struct copier, job.task);
    struct copy *const copy = copier->copy;
    struct job *const job = &copier->job;

    ASYNC_BEGIN(task)
        for (; copier->offset < copy->size; copier->offset += (uint64_t)JOBS * BLOCK_SIZE) {
            copier->len = copy->size - copier->offset < BLOCK_SIZE
                              ? (uint32_t)(copy->size - copier->offset)
                              : BLOCK_SIZE;
            /* Reads and writes may be short: go on from where they stopped. */
            for (copier->done = 0; copier->done < copier->len;
                 copier->done += (uint32_t)copier->op.result) {
                op_read(&copier->op, task, copy->from, copier->buffer + copier->done,
                        copier->len - copier->done, copier->offset + copier->done);
                JOB_AWAIT(job, COPIER_READ, op_future(&copier->op));
                if (copier->op.result <= 0)
                    goto failed;
            }
            for (copier->done = 0; copier->done < copier->len;
                 copier->done += (uint32_t)copier->op.result) {
                op_write(&copier->op, task, copy->to, copier->buffer + copier->done,
                         copier->len - copier->done, copier->offset + copier->done);
                JOB_AWAIT(job, COPIER_WRITE, op_future(&copier->op));
                if (copier->op.result <= 0)
                    goto failed;
            }
            copy->copied += copier->len;
        }
        return TASK_DONE;
    failed:
        /* 0: the file shrank meanwhile. */
        job->result = copier->op.result ? copier->op.result : -EIO;
        ASYNC_END(task);
}

static const struct job_type copier_type = JOB_TYPE("copier", copier_poll, NULL);

enum { COPY_ALL = 1 };

static enum task_verdict copy_poll(struct task *task)
{
    struct copy *const copy = container_of(task, struct copy, task);

    ASYNC_BEGIN(task)
        group_start(&copy->group, task, GROUP_FAILS_FAST);
        for (unsigned i = 0; i < JOBS; i++) {
            copy->copiers[i].copy = copy;
            copy->copiers[i].offset = (uint64_t)i * BLOCK_SIZE;
            group_spawn(&copy->group, &copy->copiers[i].job, &copier_type);
        }
        AWAIT(task, COPY_ALL, group_is_done(&copy->group));
        ASYNC_END(task);
}

static int copy_run(struct copy *copy)
{
    static const struct task_type type = {.name = "copy", .poll = copy_poll};
    struct executor *executor;
    struct err err;
    int ret = executor_create(&executor, NULL, &err);

    if (ret < 0) {
        fprintf(stderr, "copy: %s\n", err.text);
        return ret;
    }
    copy->from = io_file_register(executor, copy->from.fd);
    copy->to = io_file_register(executor, copy->to.fd);
    task_spawn(&copy->task, executor, &type);
    ret = executor_run(executor);
    executor_destroy(executor);
    return ret < 0 ? ret : copy->group.result;
}

int main(int argc, char **argv)
{
    static struct copy copy;
    struct stat from;
    int ret;

    if (argc != 3) {
        fprintf(stderr, "usage: copy FROM TO\n");
        return 2;
    }
    copy.from = io_file_plain(open(argv[1], O_RDONLY | O_CLOEXEC));
    if (copy.from.fd < 0 || fstat(copy.from.fd, &from) < 0) {
        fprintf(stderr, "copy: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    copy.to = io_file_plain(open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (copy.to.fd < 0) {
        fprintf(stderr, "copy: %s: %s\n", argv[2], strerror(errno));
        return 1;
    }
    copy.size = (uint64_t)from.st_size;
    ret = copy_run(&copy);
    if (ret == 0 && close(copy.to.fd) < 0)
        ret = -errno;
    if (ret < 0) {
        fprintf(stderr, "copy: %s to %s: %s\n", argv[1], argv[2], strerror(-ret));
        return 1;
    }
    printf("%" PRIu64 " bytes copied\n", copy.copied);
    return 0;
}
