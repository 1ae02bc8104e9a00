/*
 * The work of a guest of bench/linux-instructions, a static program:
 *
 *     linux-requests DEVICE randread|randwrite DEPTH COUNT
 *
 * does COUNT direct requests of 4 KiB at random places, DEPTH at a time, after as many to get warm,
 * and says on which ticks of the processor's clock. Between two marks that it prints nothing else
 * happens; around them it only spins, so that who reads the marks has the time to.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

enum { BLOCK = 4096, DEPTH_MAX = 256, SPIN_TICKS = 50000000 };

struct work {
    int fd;
    uint64_t block_count;
    uint64_t random;
    unsigned depth;
    uint16_t opcode;
    aio_context_t context;
    struct iocb iocbs[DEPTH_MAX];
    uint8_t *buffers;
};

static void fail(const char *what)
{
    fprintf(stderr, "linux-requests: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t offset_next(struct work *work)
{
    work->random = work->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (work->random >> 33) % work->block_count * BLOCK;
}

static void work_one_by_one(struct work *work, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        off_t offset = (off_t)offset_next(work);
        ssize_t len = work->opcode == IOCB_CMD_PREAD
                          ? pread(work->fd, work->buffers, BLOCK, offset)
                          : pwrite(work->fd, work->buffers, BLOCK, offset);

        if (len != BLOCK)
            fail("request");
    }
}

static void submit(struct work *work, struct iocb **iocbs, long count)
{
    for (long i = 0; i < count; i++)
        iocbs[i]->aio_offset = (int64_t)offset_next(work);
    if (syscall(SYS_io_submit, work->context, count, iocbs) != count)
        fail("io_submit");
}

static void work_at_depth(struct work *work, uint64_t count)
{
    struct io_event events[DEPTH_MAX];
    struct iocb *iocbs[DEPTH_MAX];
    uint64_t started = work->depth;

    for (unsigned i = 0; i < work->depth; i++) {
        iocbs[i] = &work->iocbs[i];
        work->iocbs[i] = (struct iocb){.aio_data = i,
                                       .aio_lio_opcode = work->opcode,
                                       .aio_fildes = (uint32_t)work->fd,
                                       .aio_buf = (uintptr_t)&work->buffers[(size_t)i * BLOCK],
                                       .aio_nbytes = BLOCK};
    }
    submit(work, iocbs, work->depth);
    for (uint64_t done = 0; done < count;) {
        long found = syscall(SYS_io_getevents, work->context, 1, work->depth, events, NULL);
        long again = 0;

        if (found < 1)
            fail("io_getevents");
        for (long i = 0; i < found; i++) {
            if (events[i].res != BLOCK)
                fail("request");
            if (started + (uint64_t)again < count)
                iocbs[again++] = &work->iocbs[events[i].data];
        }
        done += (uint64_t)found;
        started += (uint64_t)again;
        if (again)
            submit(work, iocbs, again);
    }
}

static void work_do(struct work *work, uint64_t count)
{
    if (work->depth == 1)
        work_one_by_one(work, count);
    else
        work_at_depth(work, count);
}

static void spin(void)
{
    uint64_t end = __rdtsc() + SPIN_TICKS;

    while (__rdtsc() < end)
        __builtin_ia32_pause();
}

int main(int argc, char **argv)
{
    static struct work work;
    uint64_t size, begin, end, count;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 5)
        return 2;
    work.depth = (unsigned)strtoul(argv[3], NULL, 10);
    count = strtoul(argv[4], NULL, 10);
    if (!work.depth || work.depth > DEPTH_MAX || count < work.depth)
        return 2;
    work.opcode = strcmp(argv[2], "randwrite") ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
    work.fd = open(argv[1], O_RDWR | O_DIRECT);
    if (work.fd < 0 || ioctl(work.fd, BLKGETSIZE64, &size))
        fail(argv[1]);
    work.block_count = size / BLOCK;
    work.buffers = aligned_alloc(BLOCK, (size_t)work.depth * BLOCK);
    if (!work.buffers || syscall(SYS_io_setup, work.depth, &work.context))
        fail("io_setup");
    memset(work.buffers, 'x', (size_t)work.depth * BLOCK);
    work_do(&work, count);
    printf("@begin\n");
    spin();
    begin = __rdtsc();
    work_do(&work, count);
    end = __rdtsc();
    spin();
    printf("@done %s_qd%u %llu %llu\n", argv[2], work.depth, (unsigned long long)count,
           (unsigned long long)(end - begin));
    spin();
    return 0;
}
