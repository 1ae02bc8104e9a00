#include "virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/log.h"
#include "virtio/net_backend.h"
#include "virtio/net_rx.h"
#include "virtio/net_tx.h"

#ifndef VIRTIO_NET_F_HOST_USO /* Linux 6.2; virtio 1.3, 5.1.3 */
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif

#define BIT(feature) (1ULL << (feature))

enum {
    QUEUE_SIZE = 256,
    CONTROL_QUEUE_SIZE = 64,
    CONTROL_CHAIN_MAX = 64,
    QUEUE_COUNT_MAX = 2 * TAP_QUEUE_COUNT_MAX + 1,
    ETHERNET_MTU = 1500,
    /* Ethernet header with a VLAN tag. */
    ETHERNET_HEADER_MAX = 18,
    /* 5.1.6.3.1: what a buffer holds if segmentation offload was negotiated. */
    OFFLOAD_FRAME_MAX = 65562,
};

_Static_assert(sizeof(struct virtio_net_ctrl_hdr) == 2, "virtio 1.2, 5.1.6.5");
_Static_assert(offsetof(struct virtio_net_config, mtu) == 10, "virtio 1.2, 5.1.4");

struct net_pair {
    struct io_file file;
    struct net_rx rx;
    struct net_tx tx;
};

struct net {
    struct virtio_device device;
    struct net_backend backend;
    struct net_settings wanted; /* of the backend */
    struct virtio_net_config config;
    uint8_t mac[ETH_ALEN]; /* the device's own: the driver may set another until the next reset */
    struct rate_limit rx_limit, tx_limit;
    struct net_pair *pairs; /* one per queue of the tap; NULL with vhost */
    struct virtio_queue_spec queue_specs[QUEUE_COUNT_MAX];
    struct virtq_chain command;
    uint8_t *command_ack; /* of a command that is being carried out; NULL: none is */
    struct iovec command_iov[CONTROL_CHAIN_MAX];
    struct log_limit log_limit;
};

/* Which offload of received frames each feature stands for. */
static const struct {
    uint8_t feature;
    unsigned offload;
} guest_offloads[] = {
    {VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM}, {VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
    {VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6}, {VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
    {VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4}, {VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6},
};

#define GUEST_SEGMENTATION                                                                        \
    (BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_USO4) | \
     BIT(VIRTIO_NET_F_GUEST_USO6))

static struct net *net_of(struct virtio_device *device)
{
    return container_of(device, struct net, device);
}

static unsigned offloads_of(uint64_t features)
{
    unsigned offloads = 0;

    for (size_t i = 0; i < array_count(guest_offloads); i++)
        if (features & BIT(guest_offloads[i].feature))
            offloads |= guest_offloads[i].offload;
    /* The kernel knows them together only; not to segment is always right. */
    if (~offloads & (TUN_F_USO4 | TUN_F_USO6))
        offloads &= ~(unsigned)(TUN_F_USO4 | TUN_F_USO6);
    return offloads;
}

static uint64_t features_of(unsigned offloads)
{
    uint64_t features = 0;

    for (size_t i = 0; i < array_count(guest_offloads); i++)
        if (offloads & guest_offloads[i].offload)
            features |= BIT(guest_offloads[i].feature);
    return features;
}

/* 5.1.2: without MQ there is one pair, and the control queue follows it. */
static uint16_t used_pair_count(const struct net *net)
{
    return virtio_device_has(&net->device, VIRTIO_NET_F_MQ) ? net->backend.tap.queue_count : 1;
}

/* ---- control queue (5.1.6.5) ---- */

/* What changes the backend is answered when that has happened, and the next command waits. */
enum command_verdict { COMMAND_REFUSED, COMMAND_DONE, COMMAND_STARTED };

static enum command_verdict set_pairs(struct net *net, struct virtq_chain *chain)
{
    uint16_t count;

    if (!virtio_device_has(&net->device, VIRTIO_NET_F_MQ) ||
        !virtq_chain_pull(chain, &count, sizeof(count)))
        return COMMAND_REFUSED;
    count = le16toh(count);
    if (!count || count > net->backend.tap.queue_count)
        return COMMAND_REFUSED;
    net->wanted.pair_count = count;
    net_backend_set(&net->backend, &net->wanted);
    return COMMAND_STARTED;
}

static enum command_verdict set_mac(struct net *net, struct virtq_chain *chain)
{
    return virtq_chain_pull(chain, net->config.mac, sizeof(net->config.mac)) ? COMMAND_DONE
                                                                             : COMMAND_REFUSED;
}

static enum command_verdict set_offloads(struct net *net, struct virtq_chain *chain)
{
    uint64_t wanted;
    uint64_t negotiated = net->device.state.driver_features;

    if (!virtio_device_has(&net->device, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
        !virtq_chain_pull(chain, &wanted, sizeof(wanted)))
        return COMMAND_REFUSED;
    wanted = le64toh(wanted);
    if (wanted & ~(negotiated & features_of(~0U)))
        return COMMAND_REFUSED;
    net->wanted.offloads = offloads_of(wanted);
    net_backend_set(&net->backend, &net->wanted);
    return COMMAND_STARTED;
}

static enum command_verdict control_command(struct net *net, struct virtq_chain *chain)
{
    struct virtio_net_ctrl_hdr header;
    uint16_t command;

    if (!virtq_chain_pull(chain, &header, sizeof(header)))
        return COMMAND_REFUSED;
    command = (uint16_t)(header.class << 8 | header.cmd);
    switch (command) {
    case VIRTIO_NET_CTRL_RX << 8 | VIRTIO_NET_CTRL_RX_PROMISC:
    case VIRTIO_NET_CTRL_RX << 8 | VIRTIO_NET_CTRL_RX_ALLMULTI:
    case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_TABLE_SET:
        return COMMAND_DONE; /* nothing is filtered */
    case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_ADDR_SET:
        return set_mac(net, chain);
    case VIRTIO_NET_CTRL_MQ << 8 | VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
        return set_pairs(net, chain);
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS << 8 | VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET:
        return set_offloads(net, chain);
    default:
        return COMMAND_REFUSED;
    }
}

/* Wakes the control queue's pump. */
static void command_answer(struct net *net, bool is_done)
{
    uint8_t *ack = net->command_ack;

    if (ack)
        *ack = is_done ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
    net->command_ack = NULL;
    virtio_queue_push(&net->device.queues[2UL * used_pair_count(net)], &net->command,
                      ack && !net->command.writable_len);
}

static enum virtio_pump_verdict control_pump(struct net *net, struct virtio_queue *queue)
{
    struct virtq_chain *chain = &net->command;

    if (net->command_ack)
        return VIRTIO_PUMP_BLOCKED;
    for (int i = 0; i < VIRTIO_PUMP_BATCH; i++) {
        enum command_verdict verdict = COMMAND_REFUSED;

        *chain = (struct virtq_chain){.iov = net->command_iov, .iov_max = CONTROL_CHAIN_MAX};
        if (!virtio_queue_pop(queue, chain))
            return VIRTIO_PUMP_EMPTY;
        net->command_ack = virtq_chain_take_last(chain);
        if (net->command_ack)
            verdict = control_command(net, chain);
        if (verdict == COMMAND_STARTED)
            return VIRTIO_PUMP_BLOCKED;
        command_answer(net, verdict == COMMAND_DONE);
    }
    return VIRTIO_PUMP_AGAIN;
}

/* ---- what serves the queue pairs ---- */

static void backend_changed(struct virtio_device *device, int ret)
{
    struct net *net = net_of(device);

    if (ret) {
        log_limited(&net->log_limit, LOG_ERROR, "%s: cannot change the settings of its tap: %s",
                    device->name, strerror(-ret));
        net->wanted = net->backend.settings;
    }
    for (uint16_t i = 0; net->pairs && i < net->backend.tap.queue_count; i++)
        net_rx_enable(&net->pairs[i].rx, i < net->backend.settings.pair_count);
    if (net->command_ack)
        command_answer(net, !ret);
    else if (ret)
        virtio_device_needs_reset(device, "its tap has not the settings that it needs");
}

/* While the driver keeps us from memory, or has broken a ring, the kernel stays away from it. */
static void served_changed(struct virtio_device *device)
{
    struct net *net = net_of(device);

    net->wanted.is_served =
        virtio_device_dma_is_on(device) && !(device->state.status & VIRTIO_CONFIG_S_NEEDS_RESET);
    if (net->backend.vhost)
        net_backend_set(&net->backend, &net->wanted);
}

static void interrupts_changed(struct virtio_device *device)
{
    struct net *net = net_of(device);

    if (net->backend.vhost)
        net_vhost_interrupts_changed(net->backend.vhost);
}

/* ---- queues ---- */

static enum virtio_pump_verdict net_pump(struct virtio_queue *queue)
{
    struct net *net = net_of(queue->device);
    uint16_t control_index = 2 * used_pair_count(net);
    struct net_pair *pair;

    if (queue->index > control_index)
        return VIRTIO_PUMP_BLOCKED;
    if (queue->index == control_index)
        return control_pump(net, queue);
    pair = &net->pairs[queue->index / 2];
    return queue->index % 2 ? net_tx_pump(&pair->tx) : net_rx_pump(&pair->rx);
}

static struct net_rx_params rx_params(const struct net *net)
{
    uint32_t mtu = (uint32_t)u64_max(ETHERNET_MTU, u64_max(net->backend.tap.mtu, net->config.mtu));
    bool is_large = net->device.state.driver_features & GUEST_SEGMENTATION;

    return (struct net_rx_params){
        .is_mergeable = virtio_device_has(&net->device, VIRTIO_NET_F_MRG_RXBUF),
        .frame_max = is_large ? OFFLOAD_FRAME_MAX : TAP_HEADER_SIZE + ETHERNET_HEADER_MAX + mtu,
    };
}

/* They receive when the tap has the right settings. */
static void pairs_start(struct net *net)
{
    const struct virtio_queue_state *queues = net->device.state.queues;
    struct net_rx_params params = rx_params(net);

    for (uint16_t i = 0; i < used_pair_count(net); i++) {
        if (queues[2UL * i].enabled)
            net_rx_start(&net->pairs[i].rx, &params, false);
        if (queues[2UL * i + 1].enabled)
            net_tx_start(&net->pairs[i].tx);
    }
}

static int net_activate(struct virtio_device *device)
{
    struct net *net = net_of(device);
    int ret = 0;

    net->wanted = (struct net_settings){
        .offloads = offloads_of(device->state.driver_features),
        .pair_count = 1,
        .is_served = virtio_device_dma_is_on(device),
    };
    if (net->backend.vhost)
        ret = net_vhost_start(net->backend.vhost, device, used_pair_count(net));
    else
        pairs_start(net);
    if (!ret)
        net_backend_start(&net->backend, &net->wanted);
    return ret;
}

static void net_stop(struct virtio_device *device)
{
    struct net *net = net_of(device);

    for (uint16_t i = 0; net->pairs && i < net->backend.tap.queue_count; i++) {
        net_rx_stop(&net->pairs[i].rx);
        net_tx_stop(&net->pairs[i].tx);
    }
    if (net->backend.vhost)
        net_vhost_stop(net->backend.vhost);
    net_backend_stop(&net->backend);
}

/* A command that is being carried out stays without an answer. */
static void net_queue_stop(struct virtio_device *device, uint16_t index)
{
    struct net *net = net_of(device);
    uint16_t control_index = 2 * used_pair_count(net);

    if (index == control_index)
        net->command_ack = NULL;
    else if (index < control_index && index % 2)
        net_tx_stop(&net->pairs[index / 2].tx);
    else if (index < control_index)
        net_rx_stop(&net->pairs[index / 2].rx);
}

static void net_reset(struct virtio_device *device)
{
    struct net *net = net_of(device);

    net->command_ack = NULL;
    memcpy(net->config.mac, net->mac, sizeof(net->mac));
}

static bool net_features_valid(const struct virtio_device *device, uint64_t features)
{
    /* 5.1.3.1: a feature, and those of which it needs one. */
    static const struct {
        uint64_t feature, needs;
    } rules[] = {
        {GUEST_SEGMENTATION, BIT(VIRTIO_NET_F_GUEST_CSUM)},
        {BIT(VIRTIO_NET_F_GUEST_ECN), BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6)},
        {BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_USO),
         BIT(VIRTIO_NET_F_CSUM)},
        {BIT(VIRTIO_NET_F_HOST_ECN), BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6)},
        {BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_MQ) |
             BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS),
         BIT(VIRTIO_NET_F_CTRL_VQ)},
    };

    (void)device;
    for (size_t i = 0; i < array_count(rules); i++)
        if (features & rules[i].feature && !(features & rules[i].needs))
            return false;
    return true;
}

static void net_destroy(struct virtio_device *device)
{
    struct net *net = net_of(device);

    for (uint16_t i = 0; net->pairs && i < net->backend.tap.queue_count; i++)
        io_file_unregister(device->context.executor, &net->pairs[i].file);
    virtio_device_free(device);
    net_vhost_destroy(net->backend.vhost);
    tap_close(&net->backend.tap);
    free(net->pairs);
    free(net);
}

static const struct virtio_device_ops net_ops = {
    .activate = net_activate,
    .stop = net_stop,
    .queue_stop = net_queue_stop,
    .reset = net_reset,
    .features_valid = net_features_valid,
    .interrupts_changed = interrupts_changed,
    .dma_changed = served_changed,
    .destroy = net_destroy,
};

/* UFO is not: Linux has not made such frames since 4.14, and a tap only pretends to. */
static uint64_t offer(const struct net *net, const struct net_config *config)
{
    const struct tap *tap = &net->backend.tap;
    uint64_t features = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) |
                        BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
                        BIT(VIRTIO_NET_F_CTRL_MAC_ADDR);

    features |= features_of(tap->offloads);
    /* What a tap gives to the host's stack may be as unfinished as what it takes from it. */
    if (tap->offloads & TUN_F_CSUM)
        features |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    if (tap->offloads & TUN_F_TSO4)
        features |=
            BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN);
    if (tap->offloads & TUN_F_USO4)
        features |= BIT(VIRTIO_NET_F_HOST_USO);
    if (tap->queue_count > 1)
        features |= BIT(VIRTIO_NET_F_MQ);
    if (config->has_mac)
        features |= BIT(VIRTIO_NET_F_MAC);
    if (config->mtu)
        features |= BIT(VIRTIO_NET_F_MTU);
    return features;
}

/* Only transmit queues, which are never the control queue, have a limit here: see net_rx for those
 * that receive. */
static void specs_init(struct net *net)
{
    uint16_t count = 2 * net->backend.tap.queue_count;

    for (uint16_t i = 0; i < count; i++)
        net->queue_specs[i] = (struct virtio_queue_spec){
            .name = i % 2 ? "transmit" : "receive", .size_max = QUEUE_SIZE, .pump = net_pump};
    for (uint16_t i = 1; rate_limit_is_on(&net->tx_limit) && i < count; i += 2) {
        net->queue_specs[i].limit = &net->tx_limit;
        net->queue_specs[i].header_len = TAP_HEADER_SIZE;
    }
    net->queue_specs[count] = (struct virtio_queue_spec){
        .name = "control", .size_max = CONTROL_QUEUE_SIZE, .pump = net_pump};
}

static int pairs_create(struct net *net, struct err *err)
{
    const struct tap *tap = &net->backend.tap;

    net->pairs = calloc(tap->queue_count, sizeof(*net->pairs));
    if (!net->pairs)
        return err_set(err, -ENOMEM, "%s: out of memory", net->device.name);
    for (uint16_t i = 0; i < tap->queue_count; i++) {
        struct net_pair *pair = &net->pairs[i];

        pair->file = io_file_register(net->device.context.executor, tap->fds[i]);
        net_rx_init(&pair->rx, &net->device.queues[2UL * i], pair->file,
                    rate_limit_is_on(&net->rx_limit) ? &net->rx_limit : NULL);
        net_tx_init(&pair->tx, &net->device.queues[2UL * i + 1], pair->file);
    }
    return 0;
}

/* Offers no more than the kernel can do with the rings and in them. */
static int vhost_create(struct net *net, const struct net_config *config, struct err *err)
{
    const uint64_t of_rings = BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
                              BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER);
    const struct net_vhost_config vhost_config = {
        .path = config->vhost_path,
        .name = config->name,
        .mem = net->device.context.mem,
        .pair_count = net->backend.tap.queue_count,
        .broken = served_changed,
    };
    uint64_t features;
    int ret = net_vhost_create(&net->backend.vhost, &vhost_config, err);

    if (ret)
        return ret;
    features = net_vhost_features(net->backend.vhost);
    net->device.withheld = of_rings & ~features;
    net->device.features &= features | ~BIT(VIRTIO_NET_F_MRG_RXBUF);
    if (net->device.context.packed_queue && net->device.withheld & BIT(VIRTIO_F_RING_PACKED))
        return err_set(err, -EOPNOTSUPP,
                       "%s: this kernel's vhost has no packed queues; drop packed-queue or vhost",
                       config->name);
    return 0;
}

int virtio_net_create(struct virtio_device **out, const struct virtio_context *context,
                      const struct net_config *config, const struct tap *tap, struct err *err)
{
    struct net *net = calloc(1, sizeof(*net));
    struct tap owned = *tap;
    int ret;

    if (!net) {
        tap_close(&owned);
        return err_set(err, -ENOMEM, "%s: out of memory", config->name);
    }
    net->backend =
        (struct net_backend){.device = &net->device, .tap = *tap, .changed = backend_changed};
    memcpy(net->mac, config->mac, sizeof(net->mac));
    memcpy(net->config.mac, config->mac, sizeof(net->config.mac));
    net->config.status = htole16(VIRTIO_NET_S_LINK_UP);
    net->config.max_virtqueue_pairs = htole16(tap->queue_count);
    net->config.mtu = htole16(config->mtu);
    rate_limit_init(&net->rx_limit, &config->rx_limit);
    rate_limit_init(&net->tx_limit, &config->tx_limit);
    CHECK(!config->vhost_path ||
          !(rate_limit_is_on(&net->rx_limit) || rate_limit_is_on(&net->tx_limit)));
    specs_init(net);
    net->device = (struct virtio_device){
        .ops = &net_ops,
        .name = config->name,
        .id = VIRTIO_ID_NET,
        .features = offer(net, config),
        .config = &net->config,
        .config_len = sizeof(net->config),
        .queue_specs = net->queue_specs,
        .queue_count = 2 * tap->queue_count + 1,
    };
    ret = virtio_device_init(&net->device, context, err);
    if (!ret)
        ret = config->vhost_path ? vhost_create(net, config, err) : pairs_create(net, err);
    if (ret) {
        net_destroy(&net->device);
        return ret;
    }
    *out = &net->device;
    return 0;
}
