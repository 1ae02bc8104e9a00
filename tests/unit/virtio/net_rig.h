/*
 * Test side: a machine with one network device, and a driver for it. The other end of the device's
 * tap is the test's. Helpers assert.
 */
#pragma once
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fake_driver.h"
#include "virtio/net.h"

#define BIT(feature)  (1ULL << (feature))
#define RING_FEATURES (BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define MERGEABLE     BIT(VIRTIO_NET_F_MRG_RXBUF)
#define CONTROL       (BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))

enum {
    HEADER = TAP_HEADER_SIZE,
    BUFFER_LEN = 1526,
    FRAME_MAX = 65562 + HEADER,
    FLOW_FRAME_LEN = 60
};
enum { RX, TX };

/*
 * A machine with a network device. Its tap is one end of a socket pair, which keeps frames apart
 * as a tap does; the test has the other end.
 */
struct net_rig {
    struct fake_machine *machine;
    struct fake_driver *driver;
    struct fake_queue *rx, *tx, *control;
    int peer;
    uint8_t frame[FRAME_MAX];
};

extern const struct net_config net_default_config;

void net_rig_attach(struct net_rig *rig, const struct net_config *config, const struct tap *tap);
void net_rig_socket(struct net_rig *rig, const struct net_config *config);
/* Not on the PCI bus. */
void net_rig_socket_mmio(struct net_rig *rig);
/* Its tap is an interface "tap0" in a network namespace of the test's own; skips where that cannot
 * be. The peer is a packet socket on it, if asked for. */
void net_rig_tap(struct net_rig *rig, const struct net_config *config, uint16_t queue_count);
void net_rig_packet_socket(struct net_rig *rig);
void net_rig_start(struct net_rig *rig, uint64_t features);
void net_rig_end(struct net_rig *rig);
/* Bytes that tell which frame they are of. */
void net_fill_frame(uint8_t *frame, size_t len, uint32_t seed);
bool net_is_frame(const uint8_t *bytes, size_t len, uint32_t seed);
/* An IPv4 and UDP frame of one flow, as far as a tap looks at it; without header. */
void net_make_flow(uint8_t *frame, uint16_t flow);
bool net_is_flow(const uint8_t *frame);
uint16_t net_flow_of(const uint8_t *frame);
/* From the network to the tap. `len` includes the header. */
void net_peer_send(struct net_rig *rig, size_t len, uint32_t seed);
/* What the tap gave to the network; -1: nothing. */
ssize_t net_peer_receive(struct net_rig *rig);
struct fake_buffer net_part(struct fake_buffer buffer, uint32_t offset, uint32_t len);
struct fake_buffer net_tx_frame(struct net_rig *rig, uint32_t len, uint32_t seed);
void net_rx_post(struct net_rig *rig, struct fake_buffer buffer);
uint16_t net_num_buffers(struct fake_buffer buffer);
/* Runs a command; its answer, or -1 when the device wrote none. */
int net_control_run(struct net_rig *rig, uint8_t class, uint8_t command, const void *data,
                    uint32_t len);
