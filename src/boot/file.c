#include "boot/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

/* O_NONBLOCK, because opening a FIFO would wait for its other end. */
int boot_file_open(struct boot_file *file, const char *kind, const char *path, struct err *err)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        switch (errno) {
        case ENOENT:
            return err_set(err, -ENOENT, "%s %s: no such file; check the path", kind, path);
        case EACCES:
            return err_set(err, -EACCES, "%s %s: no permission to read it; check its mode", kind,
                           path);
        default:
            return err_set(err, -errno, "%s %s: cannot open it: %s", kind, path, strerror(errno));
        }
    }
    if (fstat(fd, &status) < 0) {
        int code = -errno;

        close(fd);
        return err_set(err, code, "%s %s: cannot stat it: %s", kind, path, strerror(-code));
    }
    if (!S_ISREG(status.st_mode)) {
        close(fd);
        if (S_ISDIR(status.st_mode))
            return err_set(err, -EISDIR, "%s %s: is a directory; name a file in it", kind, path);
        return err_set(err, -EINVAL, "%s %s: is not a regular file; copy it to one", kind, path);
    }
    *file = (struct boot_file){.fd = fd, .kind = kind, .path = path};
    return 0;
}

void boot_file_close(struct boot_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

int boot_file_size(const struct boot_file *file, uint64_t *size, struct err *err)
{
    struct stat status;

    if (fstat(file->fd, &status) < 0)
        return err_set(err, -errno, "%s %s: cannot stat it: %s", file->kind, file->path,
                       strerror(errno));
    if (status.st_size <= 0)
        return err_set(err, -ENODATA, "%s %s: is empty; was it written completely?", file->kind,
                       file->path);
    *size = (uint64_t)status.st_size;
    return 0;
}

int boot_file_read(const struct boot_file *file, uint64_t offset, void *buffer, size_t len,
                   struct err *err)
{
    uint8_t *bytes = buffer;
    size_t done = 0;

    while (done < len) {
        ssize_t ret = pread(file->fd, bytes + done, len - done, (off_t)(offset + done));

        if (ret < 0 && errno == EINTR)
            continue;
        if (ret < 0)
            return err_set(err, -errno, "%s %s: cannot read it: %s", file->kind, file->path,
                           strerror(errno));
        if (!ret)
            return err_set(err, -ENODATA,
                           "%s %s: ends after %llu bytes, before what it announces; copy it again",
                           file->kind, file->path, (unsigned long long)(offset + done));
        done += (size_t)ret;
    }
    return 0;
}

int boot_file_load(const struct boot_file *file, uint64_t offset, struct gmem *mem, gpa_t addr,
                   uint64_t len, struct err *err)
{
    void *host = gmem_ptr(mem, addr, len);

    CHECK(host != NULL);
    return boot_file_read(file, offset, host, len, err);
}
