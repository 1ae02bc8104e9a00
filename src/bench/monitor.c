#include "bench/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

extern char **environ;

/* What our own command puts before its errors, as we will. */
static const char own_prefix[] = "ringvm: ";

struct child {
    pid_t pid;
    int output;   /* end of the pipe from its standard output */
    int messages; /* memory file with its standard error */
    char line[MONITOR_LINE_SIZE];
    size_t line_len;
};

static int spawn(struct child *child, char *const *argv, int output)
{
    posix_spawn_file_actions_t actions;
    int ret = posix_spawn_file_actions_init(&actions);

    if (ret)
        return -ret;
    ret = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!ret)
        ret = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (!ret)
        ret = posix_spawn_file_actions_adddup2(&actions, child->messages, STDERR_FILENO);
    if (!ret)
        ret = posix_spawnp(&child->pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return -ret;
}

static int child_start(struct child *child, char *const *argv, struct err *err)
{
    int ends[2], ret;

    child->messages = memfd_create("messages", MFD_CLOEXEC);
    if (child->messages < 0)
        return err_set(err, -errno, "%s: no memory file for its messages: %s", argv[0],
                       strerror(errno));
    if (pipe2(ends, O_CLOEXEC)) {
        ret = err_set(err, -errno, "%s: no pipe for its output: %s", argv[0], strerror(errno));
        close(child->messages);
        return ret;
    }
    ret = spawn(child, argv, ends[1]);
    close(ends[1]);
    child->output = ends[0];
    if (ret) {
        err_set(err, ret, "%s: cannot start it: %s", argv[0], strerror(-ret));
        close(child->output);
        close(child->messages);
    }
    return ret;
}

/* Gives away the lines that `count` more bytes complete. */
static int lines_take(struct child *child, const struct monitor_config *config, const char *bytes,
                      size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        int ret;

        if (bytes[i] == '\r')
            continue;
        if (bytes[i] != '\n') {
            if (child->line_len < sizeof(child->line) - 1)
                child->line[child->line_len++] = bytes[i];
            continue;
        }
        child->line[child->line_len] = '\0';
        child->line_len = 0;
        ret = config->line(config->arg, child->line, err);
        if (ret)
            return ret;
    }
    return 0;
}

static int output_read(struct child *child, const struct monitor_config *config, struct err *err)
{
    uint64_t end_ns = clock_now_ns() + config->timeout_ns;
    struct pollfd poll_fd = {.fd = child->output, .events = POLLIN};

    for (;;) {
        uint64_t now_ns = clock_now_ns();
        char bytes[4096];
        ssize_t count;
        int ret;

        if (now_ns >= end_ns)
            return err_set(err, -ETIMEDOUT,
                           "%s: no end after %llu s; the guest is lost, or the "
                           "machine much too busy",
                           config->argv[0], (unsigned long long)(config->timeout_ns / NS_PER_S));
        ret = poll(&poll_fd, 1, (int)((end_ns - now_ns) / NS_PER_MS) + 1);
        if (ret < 0 && errno != EINTR)
            return err_set(err, -errno, "poll: %s", strerror(errno));
        if (ret <= 0)
            continue;
        count = read(child->output, bytes, sizeof(bytes));
        if (count < 0 && errno != EINTR)
            return err_set(err, -errno, "%s: cannot read its output: %s", config->argv[0],
                           strerror(errno));
        if (!count)
            return 0;
        ret = count > 0 ? lines_take(child, config, bytes, (size_t)count, err) : 0;
        if (ret)
            return ret;
    }
}

/* The last line that the child wrote to standard error. */
static void message_last(const struct child *child, char *text, size_t size)
{
    off_t end = lseek(child->messages, 0, SEEK_END);
    off_t begin = end > (off_t)size - 1 ? end - (off_t)size + 1 : 0;
    ssize_t len = pread(child->messages, text, size - 1, begin);
    char *line;

    text[len > 0 ? len : 0] = '\0';
    for (len--; len >= 0 && text[len] == '\n'; len--)
        text[len] = '\0';
    line = strrchr(text, '\n');
    if (line)
        memmove(text, line + 1, strlen(line));
}

static int child_end(struct child *child, const char *name, bool is_killed, struct err *err)
{
    char message[256];
    int status;

    if (is_killed)
        kill(child->pid, SIGKILL);
    while (waitpid(child->pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_set(err, -errno, "%s: waitpid: %s", name, strerror(errno));
    if (is_killed || (WIFEXITED(status) && !WEXITSTATUS(status)))
        return 0;
    message_last(child, message, sizeof(message));
    if (*message)
        return err_set(
            err, -EIO, "%s",
            message + (strncmp(message, own_prefix, strlen(own_prefix)) ? 0 : strlen(own_prefix)));
    if (WIFSIGNALED(status))
        return err_set(err, -EIO, "%s: ended by signal %d", name, WTERMSIG(status));
    return err_set(err, -EIO, "%s: ended with status %d", name, WEXITSTATUS(status));
}

int monitor_run(const struct monitor_config *config, struct err *err)
{
    struct child child = {.pid = -1};
    int ret = child_start(&child, config->argv, err), ended;

    if (ret)
        return ret;
    if (config->pid)
        *config->pid = child.pid;
    ret = output_read(&child, config, err);
    ended = child_end(&child, config->argv[0], ret != 0, ret ? NULL : err);
    close(child.output);
    close(child.messages);
    return ret ? ret : ended;
}
