#include "chardev/chardev.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "chardev/byte_ring.h"
#include "chardev/escape.h"
#include "chardev/files.h"
#include "exec/op.h"
#include "exec/task.h"
#include "exec/timer.h"

enum {
    /* Guests write byte by byte, and each write to the host may wake its reader: so wait for more
     * until nothing came for GATHER_NS, GATHER_ROUNDS times that have passed, or there is this
     * much. */
    GATHER_COUNT = 512,
    GATHER_ROUNDS = 8,
    CHUNK_SIZE = 4096, /* of one read, which waits until there is room for it */
};
#define GATHER_NS NS_PER_MS
/* A guest that takes no input for this long does not keep the user from typing Ctrl-A x. */
#define STUCK_NS NS_PER_S

struct writer {
    struct task task;
    struct op op;
    struct timer timer; /* gathering; or the deadline, once stopping */
    struct byte_ring ring;
    size_t gather_count; /* bytes that were there when the timer was armed */
    unsigned gather_rounds;
    bool client_waits; /* for room */
    bool polls_first;  /* the descriptor does not block, or may have nobody at its other end */
    struct log_limit log_limit;
};

struct reader {
    struct task task;
    struct op op;
    struct timer stuck_timer;
    uint64_t taken;        /* bytes, by the client */
    uint64_t taken_before; /* when the timer was armed */
    struct byte_ring ring;
    struct escape escape;
    struct log_limit log_limit;
    uint8_t chunk[CHUNK_SIZE];
};

struct chardev {
    const char *name;
    struct executor *executor;
    struct chardev_files files;
    struct io_file input_file, output_file;
    const struct chardev_events *events; /* NULL: no commands among the input */
    void *events_arg;
    const struct chardev_client_ops *client_ops;
    void *client;
    uint8_t running; /* tasks */
    bool is_stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct writer writer;
    struct reader reader;
    uint8_t output[CHARDEV_OUTPUT_SIZE];
    uint8_t input[CHARDEV_INPUT_SIZE];
};

static struct chardev *of_writer(struct task *task)
{
    return container_of(task, struct chardev, writer.task);
}

static struct chardev *of_reader(struct task *task)
{
    return container_of(task, struct chardev, reader.task);
}

/* ---- output ---- */

static void writer_gather(struct chardev *chardev)
{
    struct writer *writer = &chardev->writer;

    writer->gather_count = byte_ring_count(&writer->ring);
    writer->gather_rounds++;
    timer_arm(&writer->timer, &writer->task, executor_now_ns(chardev->executor) + GATHER_NS);
}

static bool writer_is_full(const struct chardev *chardev)
{
    return chardev->is_stopping || byte_ring_count(&chardev->writer.ring) >= GATHER_COUNT;
}

static bool writer_has_gathered(struct chardev *chardev)
{
    struct writer *writer = &chardev->writer;

    if (writer_is_full(chardev))
        return true;
    if (!timer_has_fired(&writer->timer))
        return false;
    if (byte_ring_count(&writer->ring) == writer->gather_count ||
        writer->gather_rounds == GATHER_ROUNDS)
        return true;
    writer_gather(chardev);
    return false;
}

static bool writer_is_late(const struct chardev *chardev)
{
    return chardev->is_stopping && timer_has_fired(&chardev->writer.timer);
}

/* While stopping the operation has until the deadline. */
static bool writer_op_is_done(struct chardev *chardev)
{
    if (writer_is_late(chardev))
        op_cancel(&chardev->writer.op);
    return op_is_done(&chardev->writer.op);
}

static void writer_start(struct chardev *chardev)
{
    struct writer *writer = &chardev->writer;
    const uint8_t *bytes;
    size_t len = byte_ring_peek(&writer->ring, &bytes);

    op_write(&writer->op, &writer->task, chardev->output_file, bytes, (uint32_t)len, UINT64_MAX);
}

static void writer_discard(struct chardev *chardev, const char *why)
{
    size_t count = byte_ring_count(&chardev->writer.ring);

    if (why && count)
        log_limited(&chardev->writer.log_limit, LOG_WARN, "%s: %s: %zu bytes of output are lost",
                    chardev->name, why, count);
    byte_ring_drop(&chardev->writer.ring, count);
}

/* An error of the poll or of the write. */
static void writer_fail(struct chardev *chardev, int32_t error)
{
    if (error == -EAGAIN)
        chardev->writer.polls_first = true;
    else if (!writer_is_late(chardev))
        writer_discard(chardev, strerror(-error));
}

/* After the poll: false when there is nothing to be written, or nobody to write it to. */
static bool writer_may_write(struct chardev *chardev)
{
    int32_t result = chardev->writer.op.result;

    if (!chardev->writer.polls_first)
        return true;
    if (result < 0)
        writer_fail(chardev, result);
    /* A write would be kept for whoever opens the pseudo-terminal next, and wait when it is full.
     */
    else if (chardev->files.peer_fd >= 0 && result & POLLHUP)
        writer_discard(chardev, NULL);
    else
        return true;
    return false;
}

static void writer_finish(struct chardev *chardev)
{
    int32_t result = chardev->writer.op.result;

    if (result < 0)
        writer_fail(chardev, result);
    else
        byte_ring_drop(&chardev->writer.ring, (size_t)result);
}

static void writer_tell_client(struct chardev *chardev)
{
    if (!chardev->writer.client_waits || !chardev_room(chardev))
        return;
    chardev->writer.client_waits = false;
    if (chardev->client_ops && chardev->client_ops->writable)
        chardev->client_ops->writable(chardev->client);
}

enum { WRITER_IDLE = 1, WRITER_GATHER, WRITER_POLL, WRITER_WRITE };

static enum task_verdict writer_poll(struct task *task)
{
    struct chardev *const chardev = of_writer(task);
    struct writer *const writer = &chardev->writer;

    ASYNC_BEGIN(task)
        for (;;) {
            AWAIT(task, WRITER_IDLE, chardev->is_stopping || byte_ring_count(&writer->ring));
            if (!byte_ring_count(&writer->ring) || writer_is_late(chardev))
                break;
            if (!writer_is_full(chardev)) {
                writer->gather_rounds = 0;
                writer_gather(chardev);
                AWAIT(task, WRITER_GATHER, writer_has_gathered(chardev));
            }
            if (!chardev->is_stopping)
                timer_cancel(&writer->timer);
            if (writer->polls_first) {
                op_poll(&writer->op, task, chardev->output_file, POLLOUT);
                AWAIT(task, WRITER_POLL, writer_op_is_done(chardev));
            }
            if (writer_may_write(chardev)) {
                writer_start(chardev);
                AWAIT(task, WRITER_WRITE, writer_op_is_done(chardev));
                writer_finish(chardev);
            }
            writer_tell_client(chardev);
        }
        timer_cancel(&writer->timer);
        writer_discard(chardev, "not written in time");
        ASYNC_END(task);
}

/* ---- input ---- */

static void reader_watch(struct chardev *chardev)
{
    struct reader *reader = &chardev->reader;

    reader->taken_before = reader->taken;
    timer_arm(&reader->stuck_timer, &reader->task, executor_now_ns(chardev->executor) + STUCK_NS);
}

static bool reader_has_room(const struct chardev *chardev)
{
    return chardev->is_stopping || byte_ring_room(&chardev->reader.ring) >= CHUNK_SIZE;
}

static bool reader_may_read(struct chardev *chardev)
{
    struct reader *reader = &chardev->reader;

    if (reader_has_room(chardev))
        return true;
    if (!timer_has_fired(&reader->stuck_timer))
        return false;
    if (reader->taken == reader->taken_before)
        return true;
    reader_watch(chardev);
    return false;
}

static void reader_start(struct chardev *chardev)
{
    struct reader *reader = &chardev->reader;

    op_read(&reader->op, &reader->task, chardev->input_file, reader->chunk, CHUNK_SIZE, UINT64_MAX);
}

static void reader_obey(struct chardev *chardev, unsigned commands)
{
    if (commands & ESCAPE_HELP) {
        /* The help of a terminal that is full of output may well be missing. */
        if (chardev_write(chardev, escape_help, strlen(escape_help)) < strlen(escape_help))
            log_debug("%s: no room for the help", chardev->name);
    }
    if (commands & ESCAPE_BREAK && chardev->client_ops && chardev->client_ops->break_received)
        chardev->client_ops->break_received(chardev->client);
    if (commands & ESCAPE_QUIT)
        chardev->events->quit(chardev->events_arg);
}

static void reader_take(struct chardev *chardev, size_t len)
{
    struct reader *reader = &chardev->reader;
    unsigned commands = 0;
    size_t kept = len, stored;

    if (chardev->events)
        kept = escape_filter(&reader->escape, reader->chunk, len, &commands);
    stored = byte_ring_write(&reader->ring, reader->chunk, kept);
    if (stored < kept)
        log_limited(&reader->log_limit, LOG_WARN, "%s: the guest takes no input: %zu bytes lost",
                    chardev->name, kept - stored);
    if (stored && chardev->client_ops && chardev->client_ops->readable)
        chardev->client_ops->readable(chardev->client);
    reader_obey(chardev, commands);
}

/* True when the input goes on. */
static bool reader_finish(struct chardev *chardev)
{
    int32_t result = chardev->reader.op.result;

    if (result > 0)
        reader_take(chardev, (size_t)result);
    else if (result < 0 && result != -EAGAIN && !chardev->is_stopping && chardev->files.peer_fd < 0)
        log_warn("%s: input has ended: %s", chardev->name, strerror(-result));
    return result > 0 || result == -EAGAIN;
}

enum { READER_ROOM = 1, READER_POLL, READER_READ, READER_PEER };

static enum task_verdict reader_poll(struct task *task)
{
    struct chardev *const chardev = of_reader(task);
    struct reader *const reader = &chardev->reader;

    ASYNC_BEGIN(task)
        for (;;) {
            if (chardev->events && !reader_has_room(chardev))
                reader_watch(chardev);
            AWAIT(task, READER_ROOM, reader_may_read(chardev));
            timer_cancel(&reader->stuck_timer);
            if (chardev->is_stopping)
                break;
            /* A poll, unlike a read of a terminal, is cancelled at once in every kernel. */
            op_poll(&reader->op, task, chardev->input_file, POLLIN);
            AWAIT(task, READER_POLL, op_is_done(&reader->op));
            if (chardev->is_stopping)
                break;
            reader_start(chardev);
            AWAIT(task, READER_READ, op_is_done(&reader->op));
            if (reader_finish(chardev))
                continue;
            if (chardev->files.peer_fd < 0)
                break;
            /* The terminal program has gone: wait for the next one. */
            op_read(&reader->op, task, io_file_plain(chardev->files.peer_fd), reader->chunk,
                    CHUNK_SIZE, UINT64_MAX);
            AWAIT(task, READER_PEER, op_is_done(&reader->op));
            if (reader->op.result <= 0)
                break;
        }
        ASYNC_END(task);
}

/* ---- life ---- */

static void chardev_task_done(struct chardev *chardev)
{
    if (!--chardev->running && chardev->stopped)
        chardev->stopped(chardev->stopped_arg);
}

static void writer_done(struct task *task)
{
    chardev_task_done(of_writer(task));
}

static void reader_done(struct task *task)
{
    chardev_task_done(of_reader(task));
}

static const char *const writer_states[] = {
    [WRITER_IDLE] = "IDLE",
    [WRITER_GATHER] = "GATHER",
    [WRITER_POLL] = "POLL",
    [WRITER_WRITE] = "WRITE",
};
static const struct task_type writer_type = {
    .name = "chardev output",
    .poll = writer_poll,
    .done = writer_done,
    .state_names = writer_states,
    .state_count = array_count(writer_states),
};

static const char *const reader_states[] = {
    [READER_ROOM] = "ROOM",
    [READER_POLL] = "POLL",
    [READER_READ] = "READ",
    [READER_PEER] = "PEER",
};
static const struct task_type reader_type = {
    .name = "chardev input",
    .poll = reader_poll,
    .done = reader_done,
    .state_names = reader_states,
    .state_count = array_count(reader_states),
};

/* Our own pseudo-terminal is O_NONBLOCK; a terminal that we were given stays as it is, since others
 * use it too. */
static struct io_file file_of(int fd, enum chardev_type type)
{
    return fd >= 0 && type != CHARDEV_PTY && isatty(fd) ? io_file_terminal(fd) : io_file_plain(fd);
}

int chardev_create(struct chardev **out, struct executor *executor,
                   const struct chardev_config *config, struct err *err)
{
    struct chardev *chardev = calloc(1, sizeof(*chardev));
    int ret;

    if (!chardev)
        return err_set(err, -ENOMEM, "%s: out of memory", config->name);
    ret = chardev_files_open(&chardev->files, config, err);
    if (ret) {
        free(chardev);
        return ret;
    }
    chardev->name = config->name;
    chardev->executor = executor;
    chardev->input_file = file_of(chardev->files.input_fd, config->type);
    chardev->output_file = file_of(chardev->files.output_fd, config->type);
    if (chardev->input_file.waits) {
        chardev->events = config->events;
        chardev->events_arg = config->events_arg;
    }
    chardev->writer.ring =
        (struct byte_ring){.bytes = chardev->output, .size = CHARDEV_OUTPUT_SIZE};
    chardev->writer.polls_first = chardev->files.peer_fd >= 0;
    chardev->reader.ring = (struct byte_ring){.bytes = chardev->input, .size = CHARDEV_INPUT_SIZE};
    *out = chardev;
    return 0;
}

void chardev_destroy(struct chardev *chardev)
{
    if (!chardev)
        return;
    CHECK(!chardev->running);
    chardev_files_close(&chardev->files);
    free(chardev);
}

void chardev_start(struct chardev *chardev)
{
    CHECK(!chardev->running);
    chardev->running = 1;
    task_spawn(&chardev->writer.task, chardev->executor, &writer_type);
    if (chardev->files.input_fd < 0)
        return;
    chardev->running++;
    task_spawn(&chardev->reader.task, chardev->executor, &reader_type);
}

void chardev_stop(struct chardev *chardev, uint64_t deadline_ns, void (*stopped)(void *arg),
                  void *arg)
{
    CHECK(chardev->running);
    CHECK(!chardev->is_stopping);
    chardev->is_stopping = true;
    chardev->stopped = stopped;
    chardev->stopped_arg = arg;
    timer_arm(&chardev->writer.timer, &chardev->writer.task, deadline_ns);
    task_wake(&chardev->writer.task);
    if (!task_is_live(&chardev->reader.task))
        return;
    op_cancel(&chardev->reader.op);
    task_wake(&chardev->reader.task);
}

void chardev_attach(struct chardev *chardev, const struct chardev_client_ops *ops, void *client)
{
    chardev->client_ops = ops;
    chardev->client = client;
    chardev->writer.client_waits = false;
}

const char *chardev_pty_path(const struct chardev *chardev)
{
    return chardev->files.pty_path[0] ? chardev->files.pty_path : NULL;
}

/* ---- the device's side ---- */

size_t chardev_room(const struct chardev *chardev)
{
    return chardev->is_stopping ? 0 : byte_ring_room(&chardev->writer.ring);
}

size_t chardev_write(struct chardev *chardev, const void *data, size_t len)
{
    struct writer *writer = &chardev->writer;
    size_t before = byte_ring_count(&writer->ring), taken;

    if (chardev->is_stopping)
        return 0;
    if (chardev->files.output_fd < 0)
        return len;
    taken = byte_ring_write(&writer->ring, data, len);
    writer->client_waits |= taken < len;
    /* Between these two marks the writer is on its way already. */
    if (chardev->running && (!before || (before < GATHER_COUNT && before + taken >= GATHER_COUNT)))
        task_wake(&writer->task);
    return taken;
}

size_t chardev_available(const struct chardev *chardev)
{
    return byte_ring_count(&chardev->reader.ring);
}

size_t chardev_read(struct chardev *chardev, void *data, size_t len)
{
    struct reader *reader = &chardev->reader;
    bool had_room = reader_has_room(chardev);
    size_t taken = byte_ring_read(&reader->ring, data, len);

    reader->taken += taken;
    if (!had_room && reader_has_room(chardev) && task_is_live(&reader->task))
        task_wake(&reader->task);
    return taken;
}
