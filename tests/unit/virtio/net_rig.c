#include "net_rig.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct net_config net_default_config = {
    .name = "net0", .mac = {2, 0, 0, 1, 2, 3}, .has_mac = true};
void net_rig_attach(struct net_rig *rig, const struct net_config *config, const struct tap *tap)
{
    struct virtio_device *device;
    struct err err;

    rig->machine = fake_machine_create();
    cr_assert_eq(virtio_net_create(&device, &rig->machine->context, config, tap, &err), 0, "%s",
                 err.text);
    rig->driver = fake_driver_attach(rig->machine, device);
    rig->rx = &rig->driver->queues[RX];
    rig->tx = &rig->driver->queues[TX];
    rig->control = &rig->driver->queues[2];
}

void net_rig_socket(struct net_rig *rig, const struct net_config *config)
{
    struct tap tap = {.name = "socket", .queue_count = 1, .attached_count = 1, .mtu = 1500};
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    tap.fds[0] = fds[0];
    rig->peer = fds[1];
    net_rig_attach(rig, config, &tap);
}

void net_rig_start(struct net_rig *rig, uint64_t features)
{
    net_rig_socket(rig, &net_default_config);
    fake_driver_start(rig->driver, features | RING_FEATURES, 0);
}

void net_rig_end(struct net_rig *rig)
{
    fake_driver_detach(rig->driver);
    fake_machine_destroy(rig->machine);
    close(rig->peer);
}

void net_fill_frame(uint8_t *frame, size_t len, uint32_t seed)
{
    memset(frame, 0, HEADER);
    for (size_t i = HEADER; i < len; i++)
        frame[i] = (uint8_t)((i + 7UL * seed) * 2654435761U >> 11);
}

bool net_is_frame(const uint8_t *bytes, size_t len, uint32_t seed)
{
    static uint8_t expected[FRAME_MAX];

    net_fill_frame(expected, len, seed);
    return !memcmp(bytes + HEADER, expected + HEADER, len - HEADER);
}

void net_peer_send(struct net_rig *rig, size_t len, uint32_t seed)
{
    net_fill_frame(rig->frame, len, seed);
    cr_assert_eq(send(rig->peer, rig->frame, len, 0), (ssize_t)len);
}

ssize_t net_peer_receive(struct net_rig *rig)
{
    return recv(rig->peer, rig->frame, sizeof(rig->frame), 0);
}

struct fake_buffer net_part(struct fake_buffer buffer, uint32_t offset, uint32_t len)
{
    return (struct fake_buffer){gpa(buffer.addr.addr + offset), len, buffer.host + offset};
}

struct fake_buffer net_tx_frame(struct net_rig *rig, uint32_t len, uint32_t seed)
{
    struct fake_buffer buffer = fake_buffer(rig->machine, len);

    net_fill_frame(buffer.host, len, seed);
    return buffer;
}

void net_rx_post(struct net_rig *rig, struct fake_buffer buffer)
{
    fake_queue_add(rig->rx, &buffer, 0, 1);
}

uint16_t net_num_buffers(struct fake_buffer buffer)
{
    return (uint16_t)(buffer.host[10] | buffer.host[11] << 8);
}

int net_control_run(struct net_rig *rig, uint8_t class, uint8_t command, const void *data,
                    uint32_t len)
{
    struct fake_buffer buffers[] = {fake_buffer(rig->machine, 2 + len),
                                    fake_buffer(rig->machine, 1)};

    buffers[0].host[0] = class;
    buffers[0].host[1] = command;
    memcpy(buffers[0].host + 2, data, len);
    *buffers[1].host = 0xff;
    fake_queue_add(rig->control, buffers, 1, 1);
    fake_queue_kick(rig->control);
    return fake_queue_wait(rig->control) ? *buffers[1].host : -1;
}
