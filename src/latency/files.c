#include "latency/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_BLOCKS = 64, CHUNK_SIZE = CHUNK_BLOCKS * FILES_BLOCK_SIZE };

static int fill(int fd)
{
    void *chunk = NULL;
    int ret = -posix_memalign(&chunk, FILES_BLOCK_SIZE, CHUNK_SIZE);

    if (ret)
        return ret;
    memset(chunk, 0x5a, CHUNK_SIZE);
    for (unsigned i = 0; i < FILES_BLOCK_COUNT / CHUNK_BLOCKS && !ret; i++) {
        ssize_t written = pwrite(fd, chunk, CHUNK_SIZE, (off_t)i * CHUNK_SIZE);

        if (written != CHUNK_SIZE)
            ret = written < 0 ? -errno : -ENOSPC;
    }
    free(chunk);
    /* What is not on the disk yet would be written while it is measured. */
    return ret || !fsync(fd) ? ret : -errno;
}

static int memory_open(int *out, struct err *err)
{
    int fd = memfd_create("ringvm-latency", MFD_CLOEXEC);
    /* Without O_NONBLOCK io_uring hands reads of tmpfs to a worker thread. */
    int ret = fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) ? -errno : fill(fd);

    if (ret) {
        if (fd >= 0)
            close(fd);
        return err_set(err, ret, "cannot make a file of 16 MiB in memory: %s", strerror(-ret));
    }
    *out = fd;
    return 0;
}

int files_create_named(const char *directory, int flags)
{
    char path[PATH_MAX];
    int fd;

    if ((size_t)snprintf(path, sizeof(path), "%s/ringvm-latency-XXXXXX", directory) >= sizeof(path))
        return -ENAMETOOLONG;
    fd = mkostemp(path, flags | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fd;
}

/* EISDIR: what open says where nobody knows O_TMPFILE. */
static int disk_create(struct files *files, const char *directory, int flags)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC | flags, 0600);

    if (fd >= 0)
        return fd;
    if (errno != EOPNOTSUPP && errno != EISDIR)
        return -errno;
    files->was_named = true;
    return files_create_named(directory, flags);
}

static int disk_open(struct files *files, const char *directory, struct err *err)
{
    int ret;

    files->is_direct = true;
    files->disk_fd = disk_create(files, directory, O_DIRECT);
    if (files->disk_fd == -EINVAL) {
        files->is_direct = false;
        files->disk_fd = disk_create(files, directory, 0);
    }
    ret = files->disk_fd < 0 ? files->disk_fd : fill(files->disk_fd);
    if (ret)
        return err_set(err, ret, "%s: cannot make a file of 16 MiB: %s; choose another --directory",
                       directory, strerror(-ret));
    return 0;
}

int files_open(struct files *files, const char *directory, struct err *err)
{
    int ret;

    *files = (struct files){.memory_fd = -1, .disk_fd = -1};
    ret = memory_open(&files->memory_fd, err);
    if (!ret && directory)
        ret = disk_open(files, directory, err);
    if (ret)
        files_close(files);
    return ret;
}

void files_close(struct files *files)
{
    if (files->memory_fd >= 0)
        close(files->memory_fd);
    if (files->disk_fd >= 0)
        close(files->disk_fd);
    files->memory_fd = files->disk_fd = -1;
}
