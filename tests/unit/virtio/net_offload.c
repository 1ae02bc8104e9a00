/* Segmentation offloads through a tap, both ways: frames of each kind go whole where the driver
 * takes them, and in pieces where it does not. */
#include <criterion/criterion.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>

#include "net_rig.h"

enum {
    SEGMENT = 1000,
    SEGMENT_COUNT = 3,
    PAYLOAD = SEGMENT * SEGMENT_COUNT,
    RX_COUNT = 60,
    RX_LEN = 4096,
    SOCKET_HEADER = sizeof(struct virtio_net_hdr), /* of a packet socket: without num_buffers */
    USO4 = 54,                                     /* VIRTIO_NET_F_*; virtio 1.3 */
    USO6 = 55,
    HOST_USO = 56,
    UDP_L4 = 5, /* VIRTIO_NET_HDR_GSO_* */
};

#define CSUM_BITS (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_CSUM))

struct kind {
    const char *name;
    uint8_t gso_type;
    bool is_ipv6, is_udp;
    uint64_t guest, host; /* features for either direction */
};

static const struct kind kinds[] = {
    {"TSO4", VIRTIO_NET_HDR_GSO_TCPV4, false, false, BIT(VIRTIO_NET_F_GUEST_TSO4),
     BIT(VIRTIO_NET_F_HOST_TSO4)},
    {"TSO6", VIRTIO_NET_HDR_GSO_TCPV6, true, false, BIT(VIRTIO_NET_F_GUEST_TSO6),
     BIT(VIRTIO_NET_F_HOST_TSO6)},
    {"ECN", VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, false, false,
     BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_ECN),
     BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_ECN)},
    {"USO4", UDP_L4, false, true, BIT(USO4) | BIT(USO6), BIT(HOST_USO)},
    {"USO6", UDP_L4, true, true, BIT(USO4) | BIT(USO6), BIT(HOST_USO)},
};

/* What of a kind the kernel cannot do is not offered; then there is nothing to see. */
static bool is_offered(const struct net_rig *rig, uint64_t features)
{
    return (virtio_device_features(rig->driver->device) & features) == features;
}

static uint8_t *put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

/* The sum over the pseudo header, which the checksum field starts with. */
static uint16_t pseudo_sum(const uint8_t *addresses, size_t len, uint8_t protocol, uint16_t l4_len)
{
    uint32_t sum = protocol + l4_len;

    for (size_t i = 0; i < len; i += 2)
        sum += (uint32_t)(addresses[i] << 8 | addresses[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* A frame of SEGMENT_COUNT segments, behind `header`. Returns its length without that. */
static uint32_t make_segments(const struct kind *kind, struct virtio_net_hdr *header,
                              uint8_t *frame)
{
    uint8_t l4_header = kind->is_udp ? 8 : 20, protocol = kind->is_udp ? 17 : 6;
    uint16_t l3_len = kind->is_ipv6 ? 40 : 20, l4_len = (uint16_t)(l4_header + PAYLOAD);
    uint8_t *l3 = frame + ETH_HLEN, *l4 = l3 + l3_len;
    static const uint8_t macs[] = {2, 0, 0, 1, 2, 3, 2, 0, 0, 9, 9, 9};

    memset(frame, 0, ETH_HLEN + l3_len + l4_header);
    memcpy(frame, macs, sizeof(macs));
    put16(frame + 12, kind->is_ipv6 ? ETH_P_IPV6 : ETH_P_IP);
    if (kind->is_ipv6) {
        l3[0] = 0x60;
        put16(l3 + 4, l4_len);
        l3[6] = protocol;
        l3[7] = 64;
        l3[8] = l3[24] = 0xfd;
        l3[23] = 1;
        l3[39] = 2;
    } else {
        static const uint8_t addresses[] = {10, 0, 0, 1, 10, 0, 0, 2};

        l3[0] = 0x45;
        put16(l3 + 2, (uint16_t)(l3_len + l4_len));
        l3[8] = 64;
        l3[9] = protocol;
        memcpy(l3 + 12, addresses, sizeof(addresses));
    }
    put16(put16(l4, 1000), 53);
    if (kind->is_udp) {
        put16(l4 + 4, l4_len);
    } else {
        l4[12] = l4_header / 4 << 4;
        l4[13] = kind->gso_type & VIRTIO_NET_HDR_GSO_ECN ? 0x90 : 0x10; /* ACK, CWR */
    }
    put16(l4 + (kind->is_udp ? 6 : 16),
          pseudo_sum(kind->is_ipv6 ? l3 + 8 : l3 + 12, kind->is_ipv6 ? 32 : 8, protocol, l4_len));
    for (unsigned i = 0; i < PAYLOAD; i++)
        l4[l4_header + i] = (uint8_t)(i / SEGMENT);
    *header = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = kind->gso_type,
        .hdr_len = (uint16_t)(ETH_HLEN + l3_len + l4_header),
        .gso_size = SEGMENT,
        .csum_start = (uint16_t)(ETH_HLEN + l3_len),
        .csum_offset = kind->is_udp ? 6 : 16,
    };
    return header->hdr_len + PAYLOAD;
}

static bool is_ours(const uint8_t *frame)
{
    static const uint8_t source[] = {2, 0, 0, 9, 9, 9};

    return !memcmp(frame + 6, source, sizeof(source));
}

static void open_peer(struct net_rig *rig)
{
    int on = 1;

    net_rig_packet_socket(rig);
    cr_assert_eq(setsockopt(rig->peer, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
}

static void peer_send_segments(struct net_rig *rig, const struct kind *kind)
{
    struct virtio_net_hdr header;
    uint32_t len = make_segments(kind, &header, rig->frame + SOCKET_HEADER);

    memcpy(rig->frame, &header, sizeof(header));
    len += SOCKET_HEADER;
    cr_assert_eq(send(rig->peer, rig->frame, len, 0), (ssize_t)len, "%s", kind->name);
}

/* What of ours came in, until all of the payload is there. */
struct arrival {
    struct net_rig *rig;
    unsigned frames, payload;
    uint8_t gso_type; /* of the last frame */
};

static bool arrival_is_complete(void *arg)
{
    struct arrival *arrival = arg;
    struct fake_queue *queue = arrival->rig->rx;
    uint16_t head;
    uint32_t len;

    while (queue->used_idx != __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE)) {
        uint16_t id = (uint16_t)queue->used->ring[queue->used_idx % queue->size].id;
        const uint8_t *bytes =
            gmem_ptr(arrival->rig->machine->mem, gpa(queue->desc[id].addr), RX_LEN);

        cr_assert(fake_queue_take(queue, &head, &len));
        if (!is_ours(bytes + HEADER))
            continue;
        arrival->frames++;
        arrival->gso_type = bytes[offsetof(struct virtio_net_hdr, gso_type)];
        /* Headers of at most 14 + 40 + 20 bytes on each. */
        arrival->payload += (len - HEADER) / SEGMENT * SEGMENT;
    }
    return arrival->payload >= PAYLOAD;
}

static struct arrival receive(struct net_rig *rig, const struct kind *kind, uint64_t features)
{
    struct arrival arrival = {.rig = rig};

    fake_driver_start(rig->driver, MERGEABLE | CONTROL | CSUM_BITS | features, 0);
    for (int i = 0; i < RX_COUNT; i++)
        net_rx_post(rig, fake_buffer(rig->machine, RX_LEN));
    fake_queue_kick(rig->rx);
    fake_machine_run(rig->machine, 5); /* the tap has the driver's offloads */
    peer_send_segments(rig, kind);
    fake_machine_run_until(rig->machine, arrival_is_complete, &arrival);
    fake_driver_reset(rig->driver);
    return arrival;
}

Test(virtio_net, segments_come_whole_where_the_driver_takes_them)
{
    struct net_rig rig;

    net_rig_tap(&rig, &net_default_config, 1);
    open_peer(&rig);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct kind *kind = &kinds[i];
        struct arrival arrival;

        if (!is_offered(&rig, kind->guest))
            continue;
        arrival = receive(&rig, kind, kind->guest);
        cr_assert_eq(arrival.frames, 1, "%s: %u frames", kind->name, arrival.frames);
        cr_assert_eq(arrival.gso_type, kind->gso_type, "%s: %u", kind->name, arrival.gso_type);
        arrival = receive(&rig, kind, 0);
        cr_assert_eq(arrival.frames, SEGMENT_COUNT, "%s: %u frames", kind->name, arrival.frames);
        cr_assert_eq(arrival.gso_type, VIRTIO_NET_HDR_GSO_NONE);
    }
    net_rig_end(&rig);
}

/* True ever after: the executor asks again. */
static bool segments_left(void *arg)
{
    struct net_rig *rig = arg;

    while (!is_ours(rig->frame + SOCKET_HEADER))
        if (recv(rig->peer, rig->frame, sizeof(rig->frame), 0) < 0)
            return false;
    return true;
}

Test(virtio_net, segments_go_out_whole)
{
    struct net_rig rig;

    net_rig_tap(&rig, &net_default_config, 1);
    open_peer(&rig);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const struct kind *kind = &kinds[i];
        struct virtio_net_hdr header;
        struct fake_buffer buffer;

        if (!is_offered(&rig, kind->host))
            continue;
        memset(rig.frame, 0, sizeof(rig.frame));
        fake_driver_start(rig.driver, CSUM_BITS | kind->host, 0);
        buffer = fake_buffer(rig.machine, RX_LEN);
        buffer.len = HEADER + make_segments(kind, &header, buffer.host + HEADER);
        memcpy(buffer.host, &header, sizeof(header));
        fake_queue_add(rig.tx, &buffer, 1, 0);
        fake_queue_kick(rig.tx);
        fake_machine_run_until(rig.machine, segments_left, &rig);
        cr_assert_eq(rig.frame[1], kind->gso_type, "%s: %u", kind->name, rig.frame[1]);
        cr_assert_eq(memcmp(rig.frame + SOCKET_HEADER, buffer.host + HEADER, buffer.len - HEADER),
                     0, "%s", kind->name);
        fake_driver_reset(rig.driver);
    }
    net_rig_end(&rig);
}

/* What the kernel of this machine can do is offered, each kind in both directions. */
Test(virtio_net, every_kind_of_the_tap_is_offered_both_ways)
{
    struct net_rig rig;
    bool has_uso;

    net_rig_tap(&rig, &net_default_config, 1);
    for (size_t i = 0; i < 3; i++)
        cr_assert(is_offered(&rig, kinds[i].guest | kinds[i].host), "%s", kinds[i].name);
    has_uso = is_offered(&rig, BIT(USO4));
    cr_assert_eq(is_offered(&rig, BIT(HOST_USO)), has_uso);
    cr_assert_eq(is_offered(&rig, BIT(USO6)), has_uso);
    cr_assert(is_offered(&rig, CSUM_BITS | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)));
    rig.peer = -1;
    net_rig_end(&rig);
}
