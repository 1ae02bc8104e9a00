#include "virtio/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/log.h"
#include "exec/op.h"

enum { FILE_BLOCK_SIZE = 4096 }; /* what the page cache works in */

/* A descriptor that was passed in, as the path /proc/self/fd/N; -1 for any other path. */
static int passed_fd(const char *path)
{
    static const char prefix[] = "/proc/self/fd/";
    unsigned long fd;
    char *end;

    if (strncmp(path, prefix, sizeof(prefix) - 1) != 0)
        return -1;
    path += sizeof(prefix) - 1;
    fd = strtoul(path, &end, 10);
    return end == path || *end || fd > INT_MAX ? -1 : (int)fd;
}

static int open_error(const struct disk_config *config, int code, struct err *err)
{
    const char *path = config->path;
    int read_only_device = 0;
    int fd;

    switch (code) {
    case EROFS:
        return err_set(err, -code, "disk %s: it is on a read-only file system; add ro", path);
    case EISDIR:
        return err_set(err, -code, "disk %s: is a directory, not a raw image or block device",
                       path);
    case EBUSY:
        return err_set(err, -code,
                       "disk %s: the block device is in use on this host; unmount it, or add ro",
                       path);
    case ENOENT:
        return err_set(err, -code, "disk %s: no such file; make an image with: truncate -s 10G %s",
                       path, path);
    case EACCES:
    case EPERM:
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            return err_set(err, -code, "disk %s: no permission to read it; check its mode", path);
        if (ioctl(fd, BLKROGET, &read_only_device) < 0)
            read_only_device = 0;
        close(fd);
        return err_set(err, -code, "disk %s: %s; add ro, or make it writable", path,
                       read_only_device ? "is a read-only device" : "no permission to write it");
    default:
        return err_set(err, -code, "disk %s: cannot open it: %s", path, strerror(code));
    }
}

/* O_NONBLOCK, because opening a FIFO would wait for its other end. */
static int open_path(const struct disk_config *config, struct err *err)
{
    int flags = (config->read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC;
    struct stat status;
    int fd;

    if (!config->read_only && !stat(config->path, &status) && S_ISBLK(status.st_mode))
        flags |= O_EXCL;
    fd = open(config->path, flags);
    return fd < 0 ? open_error(config, errno, err) : fd;
}

static int open_passed(const struct disk_config *config, int passed, struct err *err)
{
    int fd = fcntl(passed, F_DUPFD_CLOEXEC, 0);
    int flags;

    if (fd < 0)
        return err_set(err, -errno, "disk %s: descriptor %d is not open", config->path, passed);
    flags = fcntl(fd, F_GETFL);
    if ((flags & O_ACCMODE) != O_RDWR && !(config->read_only && (flags & O_ACCMODE) == O_RDONLY)) {
        close(fd);
        return err_set(err, -EBADF, "disk %s: descriptor %d is not open for %s", config->path,
                       passed, config->read_only ? "reading" : "reading and writing; add ro");
    }
    return fd;
}

static int set_flags(const struct disk *disk, int add, int remove)
{
    int flags = fcntl(disk->fd, F_GETFL);

    if (flags < 0 || fcntl(disk->fd, F_SETFL, (flags & ~remove) | add) < 0)
        return -errno;
    return 0;
}

static int lock(const struct disk *disk, struct err *err)
{
    struct flock range = {.l_type = disk->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

    if (!fcntl(disk->fd, F_OFD_SETLK, &range))
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return err_set(
            err, -EBUSY,
            "disk %s: locked by another guest, or given twice; stop that one, or give both "
            "of them ro",
            disk->path);
    return err_set(err, -errno, "disk %s: cannot lock it: %s", disk->path, strerror(errno));
}

static bool direct_read_works(int fd, uint8_t *buffer, uint32_t len)
{
    return pread(fd, buffer, len, 0) == (ssize_t)len;
}

/*
 * Finds the alignment that O_DIRECT wants by trying: the kernel tells it (statx, STATX_DIOALIGN)
 * for some file systems only. Buffers are aligned to blocks too, although many devices take less:
 * where the kernel has to split a vector of several buffers, it does so between blocks.
 */
static int probe_direct(struct disk *disk, uint32_t *block_size, struct err *err)
{
    uint8_t *buffer;
    int ret;

    ret = set_flags(disk, O_DIRECT, 0);
    if (ret)
        return err_set(err, ret,
                       "disk %s: direct I/O is not possible on its file system; drop direct",
                       disk->path);
    buffer = aligned_alloc(DISK_BLOCK_SIZE_MAX, 2UL * DISK_BLOCK_SIZE_MAX);
    if (!buffer)
        return err_set(err, -ENOMEM, "disk %s: out of memory", disk->path);
    for (*block_size = DISK_SECTOR_SIZE; *block_size < DISK_BLOCK_SIZE_MAX; *block_size *= 2)
        if (direct_read_works(disk->fd, buffer, *block_size))
            break;
    disk->memory_align = *block_size;
    if (!direct_read_works(disk->fd, buffer + *block_size, *block_size))
        disk->memory_align = DISK_BLOCK_SIZE_MAX;
    if (!direct_read_works(disk->fd, buffer, *block_size))
        ret = err_set(err, -EINVAL,
                      "disk %s: direct I/O does not work on blocks of up to %d bytes; drop direct",
                      disk->path, DISK_BLOCK_SIZE_MAX);
    free(buffer);
    return ret;
}

/* A figure of a block device's queue in sysfs, for a partition that of its disk; 0 if unknown. */
static uint64_t sysfs_queue(dev_t device, const char *name)
{
    static const char *const parents[] = {"", "../"};
    char path[128], line[32] = "";
    FILE *file = NULL;

    for (size_t i = 0; !file && i < array_count(parents); i++) {
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(device),
                 minor(device), parents[i], name);
        file = fopen(path, "re");
    }
    if (!file)
        return 0;
    if (!fgets(line, sizeof(line), file))
        line[0] = '\0';
    fclose(file);
    return strtoull(line, NULL, 10);
}

/*
 * By trying, since not every file system can poll. A device without queues for that may answer all
 * the same, by interrupts; for a file, that of its file system, of which one over several has none.
 */
static int check_iopoll(const struct disk *disk, const struct stat *status, uint32_t block_size,
                        struct err *err)
{
    void *buffer = aligned_alloc(DISK_BLOCK_SIZE_MAX, DISK_BLOCK_SIZE_MAX);
    int ret;

    if (!buffer)
        return err_set(err, -ENOMEM, "disk %s: out of memory", disk->path);
    ret = io_file_try_polled(disk->fd, buffer, block_size);
    free(buffer);
    if (ret < 0)
        return err_set(err, ret,
                       "disk %s: iopoll is not possible: a first read was refused: %s; drop iopoll",
                       disk->path, strerror(-ret));
    if (sysfs_queue(S_ISBLK(status->st_mode) ? status->st_rdev : status->st_dev, "io_poll"))
        return 0;
    return err_set(err, -EOPNOTSUPP,
                   "disk %s: iopoll is not possible: its device has no queue that can be polled; "
                   "drop iopoll, or load the device's driver with poll queues (nvme: "
                   "poll_queues=COUNT)",
                   disk->path);
}

static int measure_block_device(struct disk *disk, const struct stat *status, struct err *err)
{
    unsigned int physical, io_min, io_opt;
    int logical;

    if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) < 0 || ioctl(disk->fd, BLKSSZGET, &logical) ||
        ioctl(disk->fd, BLKPBSZGET, &physical) || ioctl(disk->fd, BLKIOMIN, &io_min) ||
        ioctl(disk->fd, BLKIOOPT, &io_opt))
        return err_set(err, -errno, "disk %s: cannot read the size of the block device: %s",
                       disk->path, strerror(errno));
    /* The guest could write less, but each such write would be a read and a write on the host. */
    disk->block_size = (uint32_t)logical;
    disk->physical_block_size = physical;
    disk->io_min = io_min;
    disk->io_opt = io_opt;
    /* A discard is a hole that is punched, which the kernel does by writing zeroes. */
    if (!disk->read_only && sysfs_queue(status->st_rdev, "discard_max_bytes") &&
        sysfs_queue(status->st_rdev, "write_zeroes_max_bytes"))
        disk->discard_granularity =
            (uint32_t)u64_min(sysfs_queue(status->st_rdev, "discard_granularity"), UINT32_MAX);
    return 0;
}

static int measure_file(struct disk *disk, const struct stat *status, struct err *err)
{
    struct statfs fs;
    int ret;

    disk->size = (uint64_t)status->st_size;
    disk->physical_block_size = FILE_BLOCK_SIZE;
    /* Nothing lies behind the end, so nothing is lost by punching a hole there. */
    if (!disk->read_only && !fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       status->st_size, FILE_BLOCK_SIZE))
        disk->discard_granularity = FILE_BLOCK_SIZE;
    /*
     * io_uring reads tmpfs at once only if the file is O_NONBLOCK, and from a worker thread
     * otherwise; of other file systems the flag could make a read block the executor. It writes at
     * once only what is O_DIRECT, too, which tmpfs allows from Linux 6.6 on and ignores, alignment
     * and all: cpu time of a write of 4 KiB 2.4 instead of 7.1 us alone, 1.6 instead of 2.4 us in
     * batches of 32. What is written through a page cache to a disk has no such way: ext4 and
     * most others would make the executor wait, so a worker does it, one write at a time.
     */
    if (!fstatfs(disk->fd, &fs) && fs.f_type == TMPFS_MAGIC) {
        ret = set_flags(disk, O_NONBLOCK, 0);
        if (ret)
            return err_set(err, ret, "disk %s: cannot set its flags", disk->path);
        if (set_flags(disk, O_DIRECT, 0))
            log_debug("disk %s: has no O_DIRECT, so worker threads write it", disk->path);
    }
    return 0;
}

/* `needed`: what I/O to the host must be a multiple of. */
static int set_block_size(struct disk *disk, uint32_t chosen, uint32_t needed, struct err *err)
{
    if (chosen && chosen < needed)
        return err_set(err, -EINVAL, "disk %s: block-size %u is too small: direct I/O needs %u",
                       disk->path, chosen, needed);
    if (chosen)
        disk->block_size = chosen;
    disk->block_size = (uint32_t)u64_max(disk->block_size, needed);
    disk->physical_block_size = (uint32_t)u64_max(disk->physical_block_size, disk->block_size);
    if (disk->size % disk->block_size)
        return err_set(err, -EINVAL,
                       "disk %s: its size, %llu bytes, is not a multiple of its block size of %u; "
                       "round it up with: truncate -s %%%u %s",
                       disk->path, (unsigned long long)disk->size, disk->block_size,
                       disk->block_size, disk->path);
    return 0;
}

static int measure(struct disk *disk, const struct disk_config *config, struct err *err)
{
    uint32_t needed = DISK_SECTOR_SIZE;
    struct stat status;
    int ret;

    if (fstat(disk->fd, &status) < 0)
        return err_set(err, -errno, "disk %s: %s", disk->path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        return open_error(config, EISDIR, err);
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return err_set(err, -EINVAL, "disk %s: is neither a regular file nor a block device",
                       disk->path);
    ret = lock(disk, err);
    if (ret)
        return ret;
    ret = set_flags(disk, 0, O_NONBLOCK);
    if (ret)
        return err_set(err, ret, "disk %s: cannot set its flags", disk->path);
    /* The owner of a file may spare each read the bookkeeping. */
    if (set_flags(disk, O_NOATIME, 0))
        log_debug("disk %s: reads update its access time", disk->path);
    ret = S_ISBLK(status.st_mode) ? measure_block_device(disk, &status, err)
                                  : measure_file(disk, &status, err);
    if (ret)
        return ret;
    if (!disk->size)
        return err_set(err, -EINVAL, "disk %s: is empty; give it a size with: truncate -s 10G %s",
                       disk->path, disk->path);
    if (config->direct) {
        ret = probe_direct(disk, &needed, err);
        if (ret)
            return ret;
    }
    if (config->iopoll) {
        ret = check_iopoll(disk, &status, needed, err);
        if (ret)
            return ret;
    }
    return set_block_size(disk, config->block_size, needed, err);
}

int disk_open(struct disk *disk, const struct disk_config *config, struct err *err)
{
    int passed = passed_fd(config->path);
    int ret;

    CHECK(config->direct || !config->iopoll);
    CHECK(!config->block_size || is_power_of_two(config->block_size));
    *disk = (struct disk){.path = config->path, .read_only = config->read_only, .memory_align = 1};
    ret = passed < 0 ? open_path(config, err) : open_passed(config, passed, err);
    if (ret < 0)
        return ret;
    disk->fd = ret;
    ret = measure(disk, config, err);
    if (ret)
        disk_close(disk);
    return ret;
}

void disk_close(struct disk *disk)
{
    close(disk->fd);
    disk->fd = -1;
}
