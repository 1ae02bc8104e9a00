#include "bench/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"

enum { SECTOR_SIZE = 512, CHUNK_SIZE = 1 << 20 };

/* A chunk of sectors that begin with their numbers, then noise that does not compress. */
static void chunk_fill(uint8_t *chunk, uint64_t offset)
{
    uint64_t random = offset + 1;

    for (size_t i = 0; i < CHUNK_SIZE; i += sizeof(random)) {
        uint64_t sector = (offset + i) / SECTOR_SIZE;

        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        memcpy(chunk + i, i % SECTOR_SIZE ? &random : &sector, sizeof(random));
    }
}

static int tag(int fd, uint64_t size)
{
    uint8_t *chunk = malloc(CHUNK_SIZE);
    int ret = chunk ? 0 : -ENOMEM;

    for (uint64_t done = 0; !ret && done < size;) {
        ssize_t len;

        chunk_fill(chunk, done);
        len = pwrite(fd, chunk, u64_min(CHUNK_SIZE, size - done), (off_t)done);
        if (len <= 0 || len % SECTOR_SIZE)
            ret = len < 0 ? -errno : -ENOSPC;
        else
            done += (uint64_t)len;
    }
    if (!ret && fdatasync(fd))
        ret = -errno;
    free(chunk);
    return ret;
}

int scratch_make(struct scratch *scratch, const char *directory, uint64_t size, struct err *err)
{
    int fd = open(directory, O_TMPFILE | O_RDWR, 0600);
    int ret;

    if (fd < 0)
        return err_set(err, -errno,
                       "--directory %s: cannot make a file there: %s; choose another one",
                       directory, strerror(errno));
    ret = tag(fd, size);
    if (ret) {
        close(fd);
        return err_set(err, ret, "--directory %s: cannot write %llu MiB there: %s", directory,
                       (unsigned long long)size >> 20, strerror(-ret));
    }
    *scratch = (struct scratch){.fd = fd, .size = size, .is_tagged = true};
    snprintf(scratch->path, sizeof(scratch->path), "/proc/self/fd/%d", fd);
    return 0;
}

int scratch_open(struct scratch *scratch, const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY);
    off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

    if (end <= 0) {
        int ret = end < 0 ? -errno : -EINVAL;

        if (fd >= 0)
            close(fd);
        return err_set(err, ret, "--file %s: %s", path,
                       end < 0 ? strerror(-ret) : "it is empty, give one with data");
    }
    *scratch = (struct scratch){.fd = fd, .size = (uint64_t)end};
    snprintf(scratch->path, sizeof(scratch->path), "/proc/self/fd/%d", fd);
    return 0;
}

void scratch_close(struct scratch *scratch)
{
    close(scratch->fd);
}
