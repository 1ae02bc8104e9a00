/*
 * Host side of byte streams: where the bytes of a serial port, a console or a debug port go to, and
 * come from.
 *
 * Output: the device hands bytes to a bounded buffer; a task writes them with io_uring. When the
 * buffer is full the device keeps what is left (transmitter not empty, virtio chain pending) until
 * it is told that there is room. Nothing accepted is dropped silently: a stopped terminal or a full
 * pipe holds the guest's transmitter; a write that fails is reported (rate-limited), and its bytes
 * are lost.
 * Input: a task reads into a bounded buffer, the device takes bytes when it has room for them. The
 * end of the input is just no more input.
 *
 * One device is the client of one chardev. Lifetime: chardev_create -> chardev_attach ->
 * chardev_start -> ... -> chardev_stop -> stopped() -> chardev_destroy. A reset of the guest does
 * not concern a chardev: output that was accepted is still written.
 *
 * Everything here: executor thread, or before it runs. The process ignores SIGPIPE.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "exec/executor.h"

enum {
    CHARDEV_OUTPUT_SIZE = 64 * 1024, /* bytes accepted and not yet written */
    CHARDEV_INPUT_SIZE = 16 * 1024,  /* bytes read and not yet taken */
};

struct chardev;

enum chardev_type {
    CHARDEV_STDOUT, /* standard output, and standard input if takes_stdin */
    CHARDEV_FILE,   /* output appended to a file, which is created if it does not exist */
    CHARDEV_SINK,   /* output vanishes, no input */
    /* A new pseudo-terminal. While nobody has it open output vanishes, as on a line without a
     * terminal. */
    CHARDEV_PTY,
    CHARDEV_FDS, /* descriptors of the caller's, blocking or not */
};

/*
 * What the user typed at a terminal after Ctrl-A, as in QEMU: x quits, b sends a break, h prints
 * help, Ctrl-A sends itself. Only on an input that is a terminal.
 */
struct chardev_events {
    void (*quit)(void *arg);
};

struct chardev_config {
    enum chardev_type type;
    const char *name; /* for messages ("serial1"); outlives the chardev */
    const char *path; /* CHARDEV_FILE */
    bool takes_stdin; /* CHARDEV_STDOUT */
    int input_fd;     /* CHARDEV_FDS: -1 for none; they stay the caller's */
    int output_fd;
    const struct chardev_events *events; /* NULL: input is passed on as it is */
    void *events_arg;
};

/* Opens what `config` names. One line for what cannot be opened: -ENOENT, -EACCES, -EISDIR, ...;
 * -ENOMEM. */
must_check int chardev_create(struct chardev **out, struct executor *executor,
                              const struct chardev_config *config, struct err *err);
/* Never started, or stopped. NULL is allowed. */
void chardev_destroy(struct chardev *chardev);

/* Spawns its tasks, which only chardev_stop ends. What was written before is in the buffer. */
void chardev_start(struct chardev *chardev);

/* How the device is told; called from the chardev's own tasks, never from inside a call below. All
 * are optional. */
struct chardev_client_ops {
    /* There is room again after a chardev_write that took less than it was given. */
    void (*writable)(void *client);
    /* New input came. */
    void (*readable)(void *client);
    /* The user asked for a break condition. */
    void (*break_received)(void *client);
};

/* `ops` NULL detaches: nobody is called any more. */
void chardev_attach(struct chardev *chardev, const struct chardev_client_ops *ops, void *client);

/* Copies as much of `data` as there is room for; returns how much, maybe 0. */
must_check size_t chardev_write(struct chardev *chardev, const void *data, size_t len);
/* Bytes that chardev_write takes now. */
size_t chardev_room(const struct chardev *chardev);
/* Takes up to `len` bytes of input; returns how many, maybe 0. */
must_check size_t chardev_read(struct chardev *chardev, void *data, size_t len);
/* Bytes that chardev_read gives now. */
size_t chardev_available(const struct chardev *chardev);

/* Path of the pseudo-terminal, for the user; NULL for other types. */
const char *chardev_pty_path(const struct chardev *chardev);

/*
 * Reads no more, writes what was accepted until `deadline_ns` (CLOCK_MONOTONIC) at the latest, then
 * calls stopped(arg) from a task, where chardev_destroy is allowed; NULL: executor_run returns when
 * all tasks are done. From the call on output is refused (room 0). Once, and only if started.
 */
void chardev_stop(struct chardev *chardev, uint64_t deadline_ns, void (*stopped)(void *arg),
                  void *arg);
