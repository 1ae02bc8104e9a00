#include "virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/log.h"
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
    CONTROL_BATCH = 4, /* commands per turn: some are system calls that take a lock of the host */
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
    struct tap tap;
    struct virtio_net_config config;
    uint8_t mac[ETH_ALEN];  /* the device's own: the driver may set another until the next reset */
    struct net_pair *pairs; /* tap.queue_count of them */
    struct virtio_queue_spec queue_specs[QUEUE_COUNT_MAX];
    struct iovec control_iov[CONTROL_CHAIN_MAX];
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

/* ---- control queue (5.1.6.5) ---- */

static bool set_pairs(struct net *net, struct virtq_chain *chain)
{
    uint16_t count;
    int ret;

    if (!virtio_device_has(&net->device, VIRTIO_NET_F_MQ) ||
        !virtq_chain_pull(chain, &count, sizeof(count)))
        return false;
    count = le16toh(count);
    if (!count || count > net->tap.queue_count)
        return false;
    ret = tap_attach_queues(&net->tap, count);
    if (ret) {
        log_limited(&net->log_limit, LOG_ERROR, "%s: cannot use %u queue pairs of its tap: %s",
                    net->device.name, count, strerror(-ret));
        return false;
    }
    for (uint16_t i = 0; i < net->tap.queue_count; i++)
        net_rx_enable(&net->pairs[i].rx, i < count);
    return true;
}

static bool set_mac(struct net *net, struct virtq_chain *chain)
{
    return virtq_chain_pull(chain, net->config.mac, sizeof(net->config.mac));
}

static bool set_offloads(struct net *net, struct virtq_chain *chain)
{
    uint64_t wanted;
    uint64_t negotiated = net->device.state.driver_features;

    if (!virtio_device_has(&net->device, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
        !virtq_chain_pull(chain, &wanted, sizeof(wanted)))
        return false;
    wanted = le64toh(wanted);
    if (wanted & ~(negotiated & features_of(~0U)))
        return false;
    return !tap_set_offloads(&net->tap, offloads_of(wanted));
}

static bool control_command(struct net *net, struct virtq_chain *chain)
{
    struct virtio_net_ctrl_hdr header;
    uint16_t command;

    if (!virtq_chain_pull(chain, &header, sizeof(header)))
        return false;
    command = (uint16_t)(header.class << 8 | header.cmd);
    switch (command) {
    case VIRTIO_NET_CTRL_RX << 8 | VIRTIO_NET_CTRL_RX_PROMISC:
    case VIRTIO_NET_CTRL_RX << 8 | VIRTIO_NET_CTRL_RX_ALLMULTI:
    case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_TABLE_SET:
        return true; /* nothing is filtered */
    case VIRTIO_NET_CTRL_MAC << 8 | VIRTIO_NET_CTRL_MAC_ADDR_SET:
        return set_mac(net, chain);
    case VIRTIO_NET_CTRL_MQ << 8 | VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
        return set_pairs(net, chain);
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS << 8 | VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET:
        return set_offloads(net, chain);
    default:
        return false;
    }
}

static enum virtio_pump_verdict control_pump(struct net *net, struct virtio_queue *queue)
{
    for (int i = 0; i < CONTROL_BATCH; i++) {
        struct virtq_chain chain = {.iov = net->control_iov, .iov_max = CONTROL_CHAIN_MAX};
        uint8_t *ack;
        bool is_last;

        if (!virtio_queue_pop(queue, &chain))
            return VIRTIO_PUMP_EMPTY;
        ack = virtq_chain_take_last(&chain);
        is_last = !chain.writable_len;
        if (ack)
            *ack = control_command(net, &chain) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
        virtio_queue_push(queue, &chain, ack && is_last);
    }
    return VIRTIO_PUMP_AGAIN;
}

/* ---- queues ---- */

/* 5.1.2: without MQ there is one pair, and the control queue follows it. */
static uint16_t used_pair_count(const struct net *net)
{
    return virtio_device_has(&net->device, VIRTIO_NET_F_MQ) ? net->tap.queue_count : 1;
}

static enum virtio_pump_verdict net_pump(struct virtio_queue *queue)
{
    struct net *net = net_of(queue->device);
    uint16_t control_index = 2 * used_pair_count(net);
    struct net_pair *pair = &net->pairs[queue->index / 2];

    if (queue->index > control_index)
        return VIRTIO_PUMP_BLOCKED;
    if (queue->index == control_index)
        return control_pump(net, queue);
    return queue->index % 2 ? net_tx_pump(&pair->tx) : net_rx_pump(&pair->rx);
}

static struct net_rx_params rx_params(const struct net *net)
{
    uint32_t mtu = (uint32_t)u64_max(ETHERNET_MTU, u64_max(net->tap.mtu, net->config.mtu));
    bool is_large = net->device.state.driver_features & GUEST_SEGMENTATION;

    return (struct net_rx_params){
        .is_mergeable = virtio_device_has(&net->device, VIRTIO_NET_F_MRG_RXBUF),
        .frame_max = is_large ? OFFLOAD_FRAME_MAX : TAP_HEADER_SIZE + ETHERNET_HEADER_MAX + mtu,
    };
}

static int net_activate(struct virtio_device *device)
{
    struct net *net = net_of(device);
    struct net_rx_params params = rx_params(net);
    int ret;

    ret = tap_set_offloads(&net->tap, offloads_of(device->state.driver_features));
    if (!ret)
        ret = tap_attach_queues(&net->tap, 1);
    if (ret)
        return ret;
    for (uint16_t i = 0; i < used_pair_count(net); i++) {
        if (device->state.queues[2UL * i].enabled)
            net_rx_start(&net->pairs[i].rx, &params, i == 0);
        if (device->state.queues[2UL * i + 1].enabled)
            net_tx_start(&net->pairs[i].tx);
    }
    return 0;
}

static void net_stop(struct virtio_device *device)
{
    struct net *net = net_of(device);

    for (uint16_t i = 0; i < net->tap.queue_count; i++) {
        net_rx_stop(&net->pairs[i].rx);
        net_tx_stop(&net->pairs[i].tx);
    }
}

static void net_reset(struct virtio_device *device)
{
    struct net *net = net_of(device);
    int ret = tap_set_offloads(&net->tap, 0);

    if (ret)
        log_limited(&net->log_limit, LOG_ERROR, "%s: cannot clear the offloads of its tap: %s",
                    device->name, strerror(-ret));
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

    for (uint16_t i = 0; i < net->tap.queue_count; i++)
        io_file_unregister(device->context.executor, &net->pairs[i].file);
    virtio_device_free(device);
    tap_close(&net->tap);
    free(net->pairs);
    free(net);
}

static const struct virtio_device_ops net_ops = {
    .activate = net_activate,
    .stop = net_stop,
    .reset = net_reset,
    .features_valid = net_features_valid,
    .destroy = net_destroy,
};

static uint64_t offer(const struct net *net, const struct net_config *config)
{
    uint64_t features = BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) |
                        BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
                        BIT(VIRTIO_NET_F_CTRL_MAC_ADDR);

    features |= features_of(net->tap.offloads);
    /* What a tap gives to the host's stack may be as unfinished as what it takes from it. */
    if (net->tap.offloads & TUN_F_CSUM)
        features |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    if (net->tap.offloads & TUN_F_TSO4)
        features |=
            BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN);
    if (net->tap.offloads & TUN_F_USO4)
        features |= BIT(VIRTIO_NET_F_HOST_USO);
    if (net->tap.queue_count > 1)
        features |= BIT(VIRTIO_NET_F_MQ);
    if (config->has_mac)
        features |= BIT(VIRTIO_NET_F_MAC);
    if (config->mtu)
        features |= BIT(VIRTIO_NET_F_MTU);
    return features;
}

static void init_pairs(struct net *net)
{
    for (uint16_t i = 0; i < net->tap.queue_count; i++) {
        struct net_pair *pair = &net->pairs[i];

        pair->file = io_file_register(net->device.context.executor, net->tap.fds[i]);
        net_rx_init(&pair->rx, &net->device.queues[2UL * i], pair->file);
        net_tx_init(&pair->tx, &net->device.queues[2UL * i + 1], pair->file);
    }
}

int virtio_net_create(struct virtio_device **out, const struct virtio_context *context,
                      const struct net_config *config, const struct tap *tap, struct err *err)
{
    struct net *net = calloc(1, sizeof(*net));
    struct tap owned = *tap;
    int ret = -ENOMEM;

    if (!net)
        goto fail;
    net->tap = *tap;
    net->pairs = calloc(tap->queue_count, sizeof(*net->pairs));
    if (!net->pairs)
        goto fail;
    memcpy(net->mac, config->mac, sizeof(net->mac));
    memcpy(net->config.mac, config->mac, sizeof(net->config.mac));
    net->config.status = htole16(VIRTIO_NET_S_LINK_UP);
    net->config.max_virtqueue_pairs = htole16(tap->queue_count);
    net->config.mtu = htole16(config->mtu);
    for (uint16_t i = 0; i < 2 * tap->queue_count; i++)
        net->queue_specs[i] = (struct virtio_queue_spec){
            .name = i % 2 ? "transmit" : "receive", .size_max = QUEUE_SIZE, .pump = net_pump};
    net->queue_specs[2UL * tap->queue_count] = (struct virtio_queue_spec){
        .name = "control", .size_max = CONTROL_QUEUE_SIZE, .pump = net_pump};
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
    if (ret)
        goto fail_device;
    init_pairs(net);
    *out = &net->device;
    return 0;
fail:
    (void)err_set(err, ret, "%s: out of memory", config->name);
fail_device:
    if (net)
        free(net->pairs);
    free(net);
    tap_close(&owned);
    return ret;
}
