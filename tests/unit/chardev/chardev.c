#include "chardev/chardev.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "exec/op.h"
#include "exec/timer.h"

enum { MEGABYTE = 1 << 20 };

/* What byte `index` of a stream is: no period that a lost or doubled chunk could hide in. */
static uint8_t pattern(size_t index)
{
    return (uint8_t)((index * 2654435761U) >> 13);
}

/* A device: writes `to_send` pattern bytes, takes input in small pieces. */
struct device {
    struct chardev *chardev;
    struct executor *executor;
    size_t to_send, sent;
    size_t piece; /* of input per turn; 0: takes none */
    size_t received;
    bool is_wrong;
    unsigned writable_calls, breaks, quits;
    bool stopped;
    uint8_t last[64];
};

static void device_send(struct device *device)
{
    while (device->sent < device->to_send) {
        uint8_t bytes[100];
        size_t len = device->to_send - device->sent, taken;

        if (len > sizeof(bytes))
            len = sizeof(bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = pattern(device->sent + i);
        taken = chardev_write(device->chardev, bytes, len);
        device->sent += taken;
        if (taken < len)
            return;
    }
}

static void device_writable(void *arg)
{
    struct device *device = arg;

    device->writable_calls++;
    cr_assert_gt(chardev_room(device->chardev), 0);
    device_send(device);
}

static void device_take(struct device *device)
{
    size_t len;

    if (!device->piece)
        return;
    while ((len = chardev_read(device->chardev, device->last, device->piece))) {
        for (size_t i = 0; i < len; i++)
            device->is_wrong |= device->last[i] != pattern(device->received + i);
        device->received += len;
    }
}

static void device_readable(void *arg)
{
    device_take(arg);
}

static void device_break(void *arg)
{
    ((struct device *)arg)->breaks++;
}

static const struct chardev_client_ops device_ops = {
    .writable = device_writable, .readable = device_readable, .break_received = device_break};

static void device_quit(void *arg)
{
    ((struct device *)arg)->quits++;
}

static const struct chardev_events device_events = {.quit = device_quit};

static void device_stopped(void *arg)
{
    ((struct device *)arg)->stopped = true;
}

static struct device device_open(const struct chardev_config *config)
{
    struct device device = {.piece = sizeof(device.last)};
    struct err err = {""};

    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(executor_create(&device.executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(chardev_create(&device.chardev, device.executor, config, &err), 0, "%s", err.text);
    chardev_start(device.chardev);
    return device;
}

static struct device device_on_fds(int input_fd, int output_fd)
{
    return device_open(&(struct chardev_config){
        .type = CHARDEV_FDS, .name = "test", .input_fd = input_fd, .output_fd = output_fd});
}

static void device_attach(struct device *device)
{
    chardev_attach(device->chardev, &device_ops, device);
}

static void device_stop(struct device *device, uint64_t after_ns)
{
    chardev_stop(device->chardev, clock_now_ns() + after_ns, device_stopped, device);
}

static void device_close(struct device *device)
{
    cr_assert_eq(executor_run(device->executor), 0);
    cr_assert(device->stopped);
    chardev_destroy(device->chardev);
    executor_destroy(device->executor);
}

/* The host's side: a task that reads or writes a descriptor, `count` bytes of the pattern. */
struct peer {
    struct task task;
    struct op op;
    int fd;
    bool is_terminal;
    bool writes;
    size_t count, done;
    bool is_wrong;
    uint8_t bytes[4096];
};

enum { PEER_OP = 1 };

static void peer_start(struct peer *peer)
{
    struct io_file file = peer->is_terminal ? io_file_terminal(peer->fd) : io_file_plain(peer->fd);
    size_t len = peer->count - peer->done;

    if (len > sizeof(peer->bytes))
        len = sizeof(peer->bytes);
    if (!peer->writes) {
        op_read(&peer->op, &peer->task, file, peer->bytes, (uint32_t)len, UINT64_MAX);
        return;
    }
    for (size_t i = 0; i < len; i++)
        peer->bytes[i] = pattern(peer->done + i);
    op_write(&peer->op, &peer->task, file, peer->bytes, (uint32_t)len, UINT64_MAX);
}

static void peer_finish(struct peer *peer)
{
    size_t len = peer->op.result > 0 ? (size_t)peer->op.result : 0;

    for (size_t i = 0; !peer->writes && i < len; i++)
        peer->is_wrong |= peer->bytes[i] != pattern(peer->done + i);
    peer->done += len;
}

static enum task_verdict peer_poll(struct task *task)
{
    struct peer *const peer = container_of(task, struct peer, task);

    ASYNC_BEGIN(task)
        while (peer->done < peer->count) {
            peer_start(peer);
            AWAIT(task, PEER_OP, op_is_done(&peer->op));
            peer_finish(peer);
            if (peer->op.result <= 0)
                break;
        }
        ASYNC_END(task);
}

static const struct task_type peer_type = {.name = "peer", .poll = peer_poll};

static bool peer_is_done(void *arg)
{
    return !task_is_live(&((struct peer *)arg)->task);
}

static bool device_has_all(void *arg)
{
    return ((struct device *)arg)->received == MEGABYTE;
}

Test(chardev, a_megabyte_of_output_arrives_unharmed)
{
    struct peer peer = {.count = MEGABYTE};
    struct device device;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    device = device_on_fds(-1, fds[1]);
    device_attach(&device);
    peer.fd = fds[0];
    task_spawn(&peer.task, device.executor, &peer_type);
    device.to_send = MEGABYTE;
    device_send(&device);
    cr_assert_lt(device.sent, MEGABYTE, "the buffer is bounded");
    cr_assert_eq(executor_run_until(device.executor, peer_is_done, &peer), 0);
    cr_assert_eq(peer.done, MEGABYTE);
    cr_assert_not(peer.is_wrong);
    cr_assert_gt(device.writable_calls, 0);
    device_stop(&device, NS_PER_S);
    device_close(&device);
}

Test(chardev, a_megabyte_of_input_arrives_unharmed_at_a_slow_device)
{
    struct peer peer = {.count = MEGABYTE, .writes = true};
    struct device device;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    device = device_on_fds(fds[0], -1);
    device_attach(&device);
    device.piece = 16;
    peer.fd = fds[1];
    task_spawn(&peer.task, device.executor, &peer_type);
    cr_assert_eq(executor_run_until(device.executor, device_has_all, &device), 0);
    cr_assert_not(device.is_wrong);
    device_stop(&device, 0);
    device_close(&device);
}

static bool input_is_held(void *arg)
{
    struct device *device = arg;

    return chardev_available(device->chardev) > CHARDEV_INPUT_SIZE * 3 / 4;
}

Test(chardev, input_waits_for_a_device_that_takes_none)
{
    struct peer peer = {.count = MEGABYTE, .writes = true};
    struct device device;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    device = device_on_fds(fds[0], -1);
    device_attach(&device);
    device.piece = 0;
    peer.fd = fds[1];
    task_spawn(&peer.task, device.executor, &peer_type);
    cr_assert_eq(executor_run_until(device.executor, input_is_held, &device), 0);
    cr_assert_lt(peer.done, MEGABYTE);
    device.piece = 7;
    device_take(&device);
    cr_assert_eq(executor_run_until(device.executor, device_has_all, &device), 0);
    cr_assert_not(device.is_wrong);
    device_stop(&device, 0);
    device_close(&device);
}

static bool device_is_held(void *arg)
{
    struct device *device = arg;

    return chardev_room(device->chardev) == 0;
}

static bool ticker_has_fired(void *arg)
{
    return !task_is_live(arg);
}

struct ticker {
    struct task task;
    struct timer timer;
};

enum { TICKER_TICK = 1 };

static enum task_verdict ticker_poll(struct task *task)
{
    struct ticker *const ticker = container_of(task, struct ticker, task);

    ASYNC_BEGIN(task)
        timer_arm(&ticker->timer, task, clock_now_ns() + NS_PER_MS);
        AWAIT(task, TICKER_TICK, timer_has_fired(&ticker->timer));
        ASYNC_END(task);
}

Test(chardev, a_full_pipe_holds_the_device_and_nobody_else)
{
    static const struct task_type ticker_type = {.name = "ticker", .poll = ticker_poll};
    struct peer peer = {.count = MEGABYTE};
    struct ticker ticker = {0};
    struct device device;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    device = device_on_fds(-1, fds[1]);
    device_attach(&device);
    device.to_send = MEGABYTE;
    device_send(&device);
    cr_assert_eq(executor_run_until(device.executor, device_is_held, &device), 0);
    task_spawn(&ticker.task, device.executor, &ticker_type);
    cr_assert_eq(executor_run_until(device.executor, ticker_has_fired, &ticker.task), 0);
    cr_assert_lt(device.sent, MEGABYTE);
    peer.fd = fds[0];
    task_spawn(&peer.task, device.executor, &peer_type);
    cr_assert_eq(executor_run_until(device.executor, peer_is_done, &peer), 0);
    cr_assert_eq(peer.done, MEGABYTE);
    cr_assert_not(peer.is_wrong);
    device_stop(&device, NS_PER_S);
    device_close(&device);
}

Test(chardev, stop_writes_what_was_accepted)
{
    struct device device;
    char text[16] = "";
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    device = device_on_fds(-1, fds[1]);
    cr_assert_eq(chardev_write(device.chardev, "goodbye", 7), 7);
    device_stop(&device, 10 * NS_PER_S);
    cr_assert_eq(chardev_room(device.chardev), 0);
    cr_assert_eq(chardev_write(device.chardev, "more", 4), 0);
    device_close(&device);
    cr_assert_eq(read(fds[0], text, sizeof(text)), 7);
    cr_assert_str_eq(text, "goodbye");
}

Test(chardev, stop_gives_up_at_its_deadline_when_nobody_reads)
{
    struct device device;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    device = device_on_fds(-1, fds[1]);
    device_attach(&device);
    device.to_send = MEGABYTE;
    device_send(&device);
    cr_assert_eq(executor_run_until(device.executor, device_is_held, &device), 0);
    device_stop(&device, NS_PER_MS);
    device_close(&device);
}

Test(chardev, stop_ends_a_read_that_waits)
{
    struct device device;
    struct ticker ticker = {0};
    static const struct task_type ticker_type = {.name = "ticker", .poll = ticker_poll};
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    device = device_on_fds(fds[0], -1);
    task_spawn(&ticker.task, device.executor, &ticker_type);
    cr_assert_eq(executor_run_until(device.executor, ticker_has_fired, &ticker.task), 0);
    device_stop(&device, 10 * NS_PER_S);
    device_close(&device);
}

Test(chardev, end_of_input_is_no_more_input_and_output_goes_on)
{
    struct peer peer = {.count = 5};
    struct device device;
    int in[2], out[2];

    cr_assert_eq(pipe(in), 0);
    cr_assert_eq(pipe(out), 0);
    close(in[1]);
    device = device_on_fds(in[0], out[1]);
    device_attach(&device);
    peer.fd = out[0];
    task_spawn(&peer.task, device.executor, &peer_type);
    device.to_send = 5;
    device_send(&device);
    cr_assert_eq(executor_run_until(device.executor, peer_is_done, &peer), 0);
    cr_assert_not(peer.is_wrong);
    cr_assert_eq(chardev_available(device.chardev), 0);
    device_stop(&device, NS_PER_S);
    device_close(&device);
}

static bool device_has_sent_all(void *arg)
{
    struct device *device = arg;

    return device->sent == device->to_send;
}

Test(chardev, a_reader_that_went_away_does_not_hold_the_device)
{
    struct device device;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    close(fds[0]);
    device = device_on_fds(-1, fds[1]);
    device_attach(&device);
    device.to_send = MEGABYTE;
    device_send(&device);
    cr_assert_eq(executor_run_until(device.executor, device_has_sent_all, &device), 0);
    device_stop(&device, NS_PER_S);
    device_close(&device);
}

Test(chardev, a_descriptor_that_does_not_block_works_as_well)
{
    struct peer peer = {.count = MEGABYTE};
    struct device device;
    int fds[2];

    cr_assert_eq(pipe2(fds, O_NONBLOCK), 0);
    fcntl(fds[0], F_SETFL, 0);
    device = device_on_fds(-1, fds[1]);
    device_attach(&device);
    device.to_send = MEGABYTE;
    device_send(&device);
    cr_assert_eq(executor_run_until(device.executor, device_is_held, &device), 0);
    peer.fd = fds[0];
    task_spawn(&peer.task, device.executor, &peer_type);
    cr_assert_eq(executor_run_until(device.executor, peer_is_done, &peer), 0);
    cr_assert_eq(peer.done, MEGABYTE);
    cr_assert_not(peer.is_wrong);
    device_stop(&device, NS_PER_S);
    device_close(&device);
}

Test(chardev, a_sink_takes_everything)
{
    struct device device = device_open(&(struct chardev_config){.type = CHARDEV_SINK, .name = "s"});

    device.to_send = MEGABYTE;
    device_send(&device);
    cr_assert_eq(device.sent, MEGABYTE);
    cr_assert_null(chardev_pty_path(device.chardev));
    device_stop(&device, 0);
    device_close(&device);
}

static void make_directory(char *path, size_t size)
{
    snprintf(path, size, "/tmp/chardev-test-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
}

Test(chardev, a_file_is_made_and_appended_to)
{
    char directory[64], path[96], text[32] = "";

    make_directory(directory, sizeof(directory));
    snprintf(path, sizeof(path), "%s/log", directory);
    for (int i = 0; i < 2; i++) {
        struct device device = device_open(
            &(struct chardev_config){.type = CHARDEV_FILE, .name = "serial1", .path = path});

        cr_assert_eq(chardev_write(device.chardev, i ? "two" : "one,", i ? 3 : 4), i ? 3 : 4);
        device_stop(&device, NS_PER_S);
        device_close(&device);
    }
    int fd = open(path, O_RDONLY);
    cr_assert_eq(read(fd, text, sizeof(text)), 7);
    cr_assert_str_eq(text, "one,two");
    close(fd);
    unlink(path);
    rmdir(directory);
}

static int open_error(const char *path, struct err *err)
{
    const struct chardev_config config = {.type = CHARDEV_FILE, .name = "serial2", .path = path};
    struct executor *executor;
    struct chardev *chardev;
    int ret;

    cr_assert_eq(executor_create(&executor, NULL, err), 0, "%s", err->text);
    ret = chardev_create(&chardev, executor, &config, err);
    executor_destroy(executor);
    cr_assert(strstr(err->text, path) && strstr(err->text, "serial2"), "%s", err->text);
    return ret;
}

Test(chardev, what_cannot_be_opened_is_named)
{
    char directory[64], path[96];
    struct err err = {""};

    make_directory(directory, sizeof(directory));
    cr_assert_eq(open_error(directory, &err), -EISDIR);
    snprintf(path, sizeof(path), "%s/none/log", directory);
    cr_assert_eq(open_error(path, &err), -ENOENT);
    snprintf(path, sizeof(path), "%s/pipe", directory);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(open_error(path, &err), -ENXIO, "a named pipe without reader is no wait");
    unlink(path);
    rmdir(directory);
}

/* ---- pseudo-terminals ---- */

struct exchange {
    struct device *device;
    size_t received;
    unsigned quits, breaks;
};

static bool device_got(void *arg)
{
    struct exchange *exchange = arg;
    struct device *device = exchange->device;

    return device->received >= exchange->received && device->quits >= exchange->quits &&
           device->breaks >= exchange->breaks;
}

static bool output_is_gone(void *arg)
{
    struct device *device = arg;

    return chardev_room(device->chardev) == CHARDEV_OUTPUT_SIZE;
}

Test(chardev, a_pty_serves_one_terminal_program_after_the_other)
{
    struct device device = device_open(&(struct chardev_config){.type = CHARDEV_PTY, .name = "p"});

    device_attach(&device);
    cr_assert_not_null(chardev_pty_path(device.chardev));
    for (unsigned round = 1; round <= 3; round++) {
        struct exchange exchange = {.device = &device, .received = 2 * round};
        char text[8] = "";
        int fd;

        cr_assert_eq(chardev_write(device.chardev, "lost", 4), 4);
        cr_assert_eq(executor_run_until(device.executor, output_is_gone, &device), 0,
                     "nobody there: it vanishes");
        fd = open(chardev_pty_path(device.chardev), O_RDWR | O_NOCTTY);
        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, "\r\n", 2), 2);
        cr_assert_eq(executor_run_until(device.executor, device_got, &exchange), 0);
        cr_assert_arr_eq(device.last, "\r\n", 2, "raw from the start");
        cr_assert_eq(chardev_write(device.chardev, "a\n", 2), 2);
        cr_assert_eq(executor_run_until(device.executor, output_is_gone, &device), 0);
        cr_assert_eq(read(fd, text, sizeof(text)), 2);
        cr_assert_arr_eq(text, "a\n", 2);
        close(fd);
    }
    device_stop(&device, NS_PER_S);
    device_close(&device);
}

/* A terminal whose user types at *user. */
static int open_terminal(int *user)
{
    struct termios mode;
    int fd;

    *user = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(*user >= 0 && !grantpt(*user) && !unlockpt(*user));
    fd = open(ptsname(*user), O_RDWR | O_NOCTTY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(tcgetattr(fd, &mode), 0);
    cfmakeraw(&mode);
    cr_assert_eq(tcsetattr(fd, TCSANOW, &mode), 0);
    return fd;
}

/* In place: events keep its address. Its pattern says nothing about what a user types. */
static void device_open_terminal(struct device *device, int input_fd, int output_fd)
{
    const struct chardev_config config = {.type = CHARDEV_FDS,
                                          .name = "test",
                                          .input_fd = input_fd,
                                          .output_fd = output_fd,
                                          .events = &device_events,
                                          .events_arg = device};

    *device = device_open(&config);
    device_attach(device);
}

Test(chardev, commands_typed_at_a_terminal_are_obeyed)
{
    int user, fd = open_terminal(&user);
    struct device device;
    struct exchange exchange = {.device = &device, .received = 3, .quits = 1, .breaks = 1};
    char text[512] = "";

    device_open_terminal(&device, fd, fd);
    cr_assert_eq(write(user, "a\1b\1hb\1\1\1x", 10), 10);
    cr_assert_eq(executor_run_until(device.executor, device_got, &exchange), 0);
    cr_assert_eq(device.received, 3);
    cr_assert_arr_eq(device.last, "ab\1", 3);
    device_stop(&device, NS_PER_S);
    device_close(&device);
    cr_assert_gt(read(user, text, sizeof(text) - 1), 0);
    cr_assert(strstr(text, "Ctrl-A x"), "help was shown");
}

Test(chardev, a_guest_that_takes_no_input_does_not_lock_the_user_in)
{
    int user, fd = open_terminal(&user);
    struct device device;
    struct exchange exchange = {.device = &device, .quits = 1};
    /* More than fits, since the pattern has a few Ctrl-A in it. */
    struct peer typist = {
        .fd = user, .is_terminal = true, .writes = true, .count = CHARDEV_INPUT_SIZE + 512};

    device_open_terminal(&device, fd, -1);
    device.piece = 0;
    task_spawn(&typist.task, device.executor, &peer_type);
    cr_assert_eq(executor_run_until(device.executor, peer_is_done, &typist), 0);
    cr_assert_eq(executor_run_until(device.executor, input_is_held, &device), 0);
    cr_assert_eq(device.quits, 0);
    cr_assert_eq(write(user, "lost\1x", 6), 6);
    cr_assert_eq(executor_run_until(device.executor, device_got, &exchange), 0);
    device_stop(&device, NS_PER_S);
    device_close(&device);
}

/* The kernel waits in a write to a terminal whatever io_uring asks it. */
Test(chardev, a_terminal_that_nobody_reads_holds_the_device_and_nobody_else)
{
    static const struct task_type ticker_type = {.name = "ticker", .poll = ticker_poll};
    int user, fd = open_terminal(&user);
    struct device device = device_on_fds(-1, fd);

    device_attach(&device);
    device.to_send = MEGABYTE;
    device_send(&device);
    for (int ticks = 0; ticks < 10; ticks++) {
        struct ticker ticker = {0};

        task_spawn(&ticker.task, device.executor, &ticker_type);
        cr_assert_eq(executor_run_until(device.executor, ticker_has_fired, &ticker.task), 0);
    }
    cr_assert(device_is_held(&device));
    device_stop(&device, NS_PER_MS);
    device_close(&device);
    close(user);
}

Test(chardev, a_stopped_terminal_holds_output_and_stop_still_ends)
{
    int user, fd = open_terminal(&user);
    struct device device = device_on_fds(-1, fd);

    cr_assert_eq(tcflow(fd, TCOOFF), 0);
    device_attach(&device);
    device.to_send = MEGABYTE;
    device_send(&device);
    cr_assert_eq(executor_run_until(device.executor, device_is_held, &device), 0);
    device_stop(&device, NS_PER_MS);
    device_close(&device);
    close(user);
}
