#include "chardev/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

#include "base/check.h"

static int file_error(const struct chardev_config *config, int code, struct err *err)
{
    switch (code) {
    case ENXIO:
        return err_set(err, -ENXIO,
                       "%s: nobody reads the named pipe %s; start its reader before the guest",
                       config->name, config->path);
    case EISDIR:
        return err_set(err, -EISDIR, "%s: %s is a directory; name a file", config->name,
                       config->path);
    default:
        return err_set(err, -code, "%s: cannot open %s for appending: %s", config->name,
                       config->path, strerror(code));
    }
}

static int file_open(struct chardev_files *files, const struct chardev_config *config,
                     struct err *err)
{
    /* O_NONBLOCK: a named pipe without reader is an error, not a wait. */
    int fd =
        open(config->path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);

    if (fd < 0)
        return file_error(config, errno, err);
    files->output_fd = fd;
    files->is_owned = true;
    if (fcntl(fd, F_SETFL, O_APPEND))
        return file_error(config, errno, err);
    return 0;
}

/* The mode of the pair is raw from the start, and the first peer is as good as any later one:
 * the other end was opened and closed. */
static int pty_prepare(struct chardev_files *files)
{
    struct termios mode;
    int peer;

    if (grantpt(files->input_fd) || unlockpt(files->input_fd))
        return -errno;
    if (ptsname_r(files->input_fd, files->pty_path, sizeof(files->pty_path)))
        return -errno;
    peer = open(files->pty_path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (peer < 0)
        return -errno;
    if (tcgetattr(peer, &mode))
        goto fail;
    cfmakeraw(&mode);
    if (tcsetattr(peer, TCSANOW, &mode))
        goto fail;
    close(peer);
    files->peer_fd = inotify_init1(IN_CLOEXEC);
    if (files->peer_fd < 0 || inotify_add_watch(files->peer_fd, files->pty_path, IN_OPEN) < 0)
        return -errno;
    return 0;

fail:
    close(peer);
    return -errno;
}

static int pty_open(struct chardev_files *files, const struct chardev_config *config,
                    struct err *err)
{
    int ret;

    /* O_NONBLOCK: a write does not wait in the kernel for a peer that may close its end. */
    files->input_fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (files->input_fd < 0)
        return err_set(err, -errno, "%s: no pseudo-terminal (%s); is /dev/pts mounted?",
                       config->name, strerror(errno));
    files->output_fd = files->input_fd;
    files->is_owned = true;
    ret = pty_prepare(files);
    if (ret)
        return err_set(err, ret, "%s: cannot set up pseudo-terminal %s: %s", config->name,
                       files->pty_path, strerror(-ret));
    return 0;
}

int chardev_files_open(struct chardev_files *files, const struct chardev_config *config,
                       struct err *err)
{
    int ret = 0;

    *files = (struct chardev_files){.input_fd = -1, .output_fd = -1, .peer_fd = -1};
    switch (config->type) {
    case CHARDEV_STDOUT:
        files->input_fd = config->takes_stdin ? STDIN_FILENO : -1;
        files->output_fd = STDOUT_FILENO;
        break;
    case CHARDEV_FILE:
        ret = file_open(files, config, err);
        break;
    case CHARDEV_PTY:
        ret = pty_open(files, config, err);
        break;
    case CHARDEV_FDS:
        files->input_fd = config->input_fd;
        files->output_fd = config->output_fd;
        break;
    case CHARDEV_SINK:
        break;
    }
    if (ret)
        chardev_files_close(files);
    return ret;
}

void chardev_files_close(struct chardev_files *files)
{
    if (files->peer_fd >= 0)
        close(files->peer_fd);
    if (!files->is_owned)
        return;
    if (files->output_fd >= 0)
        close(files->output_fd);
    if (files->input_fd >= 0 && files->input_fd != files->output_fd)
        close(files->input_fd);
}
