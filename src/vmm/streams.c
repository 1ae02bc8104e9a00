/* The host side of the serial ports and consoles: one chardev for each --serial. */
#include <stdio.h>

#include "base/clock.h"
#include "vmm/guest_private.h"

/* How long the end of a guest waits for a console that does not take its output. */
#define DRAIN_TIMEOUT_NS (2 * NS_PER_S)

static const enum chardev_type chardev_types[SERIAL_TYPE_COUNT] = {
    [SERIAL_STDOUT] = CHARDEV_STDOUT,
    [SERIAL_FILE] = CHARDEV_FILE,
    [SERIAL_SINK] = CHARDEV_SINK,
    [SERIAL_PTY] = CHARDEV_PTY,
};

static void quit(void *arg)
{
    guest_stop(arg);
}

static const struct chardev_events stream_events = {.quit = quit};

int streams_create(struct guest *guest, struct err *err)
{
    const struct run_config *config = guest->host.config;

    for (size_t i = 0; i < config->serial_count; i++) {
        const struct serial_option *option = &config->serials[i];
        struct guest_stream *stream = &guest->streams[i];
        const struct chardev_config chardev_config = {
            .type = chardev_types[option->type],
            .name = stream->name,
            .path = option->path,
            .takes_stdin = option->takes_stdin,
            .events = option->takes_stdin ? &stream_events : NULL,
            .events_arg = guest,
        };
        int ret;

        snprintf(stream->name, sizeof(stream->name), "%s%d",
                 option->hardware == SERIAL_HW_16550 ? "serial" : "console", option->num);
        ret = chardev_create(&stream->chardev, guest->host.executor, &chardev_config, err);
        if (ret)
            return ret;
        if (chardev_pty_path(stream->chardev))
            fprintf(stderr, "ringvm: %s is %s\n", stream->name, chardev_pty_path(stream->chardev));
    }
    return 0;
}

void streams_start(struct guest *guest)
{
    for (size_t i = 0; i < guest->host.config->serial_count; i++)
        chardev_start(guest->streams[i].chardev);
}

void streams_drain(struct guest *guest, void (*drained)(void *arg))
{
    uint64_t deadline_ns = clock_now_ns() + DRAIN_TIMEOUT_NS;

    for (size_t i = 0; i < guest->host.config->serial_count; i++) {
        guest->draining++;
        chardev_stop(guest->streams[i].chardev, deadline_ns, drained, guest);
    }
}

void streams_destroy(struct guest *guest)
{
    for (size_t i = 0; i < guest->host.config->serial_count; i++)
        chardev_destroy(guest->streams[i].chardev);
}

struct chardev *streams_find(struct guest *guest, enum serial_hardware hardware, unsigned num)
{
    for (size_t i = 0; i < guest->host.config->serial_count; i++) {
        const struct serial_option *option = &guest->host.config->serials[i];

        if (option->hardware == hardware && option->num == num)
            return guest->streams[i].chardev;
    }
    return NULL;
}
