#include "virtio/console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>

enum { RECEIVE, TRANSMIT, QUEUE_COUNT, QUEUE_SIZE = 64 };

struct virtio_console {
    struct virtio_device device;
    struct virtio_console_config config;
    struct chardev *chardev;
    bool sending; /* `output` was taken and is not written completely */
    struct virtq_chain output;
    struct iovec output_iov[QUEUE_SIZE];
    struct iovec input_iov[QUEUE_SIZE];
};

static struct virtio_console *console_of(struct virtio_device *device)
{
    return container_of(device, struct virtio_console, device);
}

/* True when the chardev took the rest of the chain. */
static bool output_write(struct virtio_console *console)
{
    struct virtq_chain *chain = &console->output;

    while (chain->readable_len) {
        size_t len =
            chardev_write(console->chardev, chain->readable->iov_base, chain->readable->iov_len);

        if (!len)
            return false;
        virtq_chain_skip(chain, len);
    }
    return true;
}

static enum virtio_pump_verdict transmit(struct virtio_queue *queue)
{
    struct virtio_console *console = console_of(queue->device);

    for (int i = 0; i < VIRTIO_PUMP_BATCH; i++) {
        if (!console->sending && !virtio_queue_pop(queue, &console->output))
            return VIRTIO_PUMP_EMPTY;
        console->sending = !output_write(console);
        if (console->sending)
            return VIRTIO_PUMP_BLOCKED; /* chardev_writable goes on */
        virtio_queue_push(queue, &console->output, 0);
    }
    return VIRTIO_PUMP_AGAIN;
}

/* Returns the bytes of input that found room in the chain. */
static uint32_t input_read(struct virtio_console *console, const struct virtq_chain *chain)
{
    uint32_t done = 0;

    for (uint16_t i = 0; i < chain->writable_count; i++) {
        const struct iovec *iov = &chain->writable[i];
        size_t len = chardev_read(console->chardev, iov->iov_base, iov->iov_len);

        done += len;
        if (len < iov->iov_len)
            break;
    }
    return done;
}

static enum virtio_pump_verdict receive(struct virtio_queue *queue)
{
    struct virtio_console *console = console_of(queue->device);
    struct virtq_chain chain = {.iov = console->input_iov, .iov_max = QUEUE_SIZE};

    for (int i = 0; i < VIRTIO_PUMP_BATCH; i++) {
        if (!chardev_available(console->chardev))
            return VIRTIO_PUMP_BLOCKED; /* chardev_readable goes on */
        if (!virtio_queue_pop(queue, &chain))
            return VIRTIO_PUMP_EMPTY;
        virtio_queue_push(queue, &chain, input_read(console, &chain));
    }
    return VIRTIO_PUMP_AGAIN;
}

static void chardev_writable(void *client)
{
    virtio_device_notify(client, TRANSMIT);
}

static void chardev_readable(void *client)
{
    virtio_device_notify(client, RECEIVE);
}

static const struct chardev_client_ops client_ops = {
    .writable = chardev_writable,
    .readable = chardev_readable,
};

static void console_reset(struct virtio_device *device)
{
    console_of(device)->sending = false;
}

static void console_destroy(struct virtio_device *device)
{
    struct virtio_console *console = console_of(device);

    chardev_attach(console->chardev, NULL, NULL);
    virtio_device_free(device);
    free(console);
}

static const struct virtio_queue_spec queue_specs[] = {
    [RECEIVE] = {.name = "receive", .size_max = QUEUE_SIZE, .pump = receive},
    [TRANSMIT] = {.name = "transmit", .size_max = QUEUE_SIZE, .pump = transmit},
};
static const struct virtio_device_ops console_ops = {
    .reset = console_reset,
    .destroy = console_destroy,
};

int virtio_console_create(struct virtio_device **out, const struct virtio_context *context,
                          const char *name, struct chardev *chardev, struct err *err)
{
    struct virtio_console *console = calloc(1, sizeof(*console));
    int ret;

    if (!console)
        return err_set(err, -ENOMEM, "%s: out of memory", name);
    console->chardev = chardev;
    console->config.max_nr_ports = 1;
    console->output.iov = console->output_iov;
    console->output.iov_max = QUEUE_SIZE;
    console->device.ops = &console_ops;
    console->device.name = name;
    console->device.id = VIRTIO_ID_CONSOLE;
    console->device.config = &console->config;
    console->device.config_len = sizeof(console->config);
    console->device.queue_specs = queue_specs;
    console->device.queue_count = QUEUE_COUNT;
    ret = virtio_device_init(&console->device, context, err);
    if (ret) {
        free(console);
        return ret;
    }
    chardev_attach(chardev, &client_ops, &console->device);
    *out = &console->device;
    return 0;
}
