#include "net_rig.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct net_config net_default_config = {
    .name = "net0", .mac = {2, 0, 0, 1, 2, 3}, .has_mac = true};

static void attach(struct net_rig *rig, const struct net_config *config, const struct tap *tap,
                   bool mmio)
{
    struct virtio_context context;
    struct virtio_device *device;
    struct err err;

    rig->machine = fake_machine_create();
    context = rig->machine->context;
    context.packed_queue = !config->vhost_path; /* which refuses them, up to Linux 6.18 at least */
    cr_assert_eq(virtio_net_create(&device, &context, config, tap, &err), 0, "%s", err.text);
    rig->driver = mmio ? fake_driver_attach_mmio(rig->machine, device)
                       : fake_driver_attach(rig->machine, device);
    rig->rx = &rig->driver->queues[RX];
    rig->tx = &rig->driver->queues[TX];
    rig->control = &rig->driver->queues[2];
}

void net_rig_attach(struct net_rig *rig, const struct net_config *config, const struct tap *tap)
{
    attach(rig, config, tap, false);
}

static void attach_socket(struct net_rig *rig, const struct net_config *config, bool mmio)
{
    struct tap tap = {.name = "socket", .queue_count = 1, .attached_count = 1, .mtu = 1500};
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    tap.fds[0] = fds[0];
    rig->peer = fds[1];
    attach(rig, config, &tap, mmio);
}

void net_rig_socket(struct net_rig *rig, const struct net_config *config)
{
    attach_socket(rig, config, false);
}

void net_rig_socket_mmio(struct net_rig *rig)
{
    attach_socket(rig, &net_default_config, true);
}

void net_rig_tap(struct net_rig *rig, const struct net_config *config, uint16_t queue_count)
{
    const struct tap_config tap_config = {.name = "tap0", .queue_count = queue_count};
    struct tap tap;
    struct err err;

    if (unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK))
        cr_skip_test("needs root and /dev/net/tun, to make an interface");
    cr_assert_eq(tap_open(&tap, &tap_config, &err), 0, "%s", err.text);
    net_rig_attach(rig, config, &tap);
    rig->control = &rig->driver->queues[2UL * queue_count];
}

void net_rig_packet_socket(struct net_rig *rig)
{
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

    rig->peer = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
    cr_assert_geq(rig->peer, 0);
    addr.sll_ifindex = (int)if_nametoindex("tap0");
    cr_assert_eq(bind(rig->peer, (struct sockaddr *)&addr, sizeof(addr)), 0);
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

void net_make_flow(uint8_t *frame, uint16_t flow)
{
    static const uint8_t start[] = {2,  0, 0, 1, 2, 3,  2,  0, 0, 9,  9, 9, 8, 0,  0x45, 0, 0,
                                    46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2};

    memset(frame, 0, FLOW_FRAME_LEN);
    memcpy(frame, start, sizeof(start));
    frame[34] = (uint8_t)(flow >> 8);
    frame[35] = (uint8_t)flow;
    frame[37] = 53;
    frame[39] = 26;
}

bool net_is_flow(const uint8_t *frame)
{
    return frame[12] == 8 && frame[13] == 0 && frame[23] == 17 && frame[37] == 53;
}

uint16_t net_flow_of(const uint8_t *frame)
{
    return (uint16_t)(frame[34] << 8 | frame[35]);
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
