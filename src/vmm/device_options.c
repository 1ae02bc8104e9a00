#include "vmm/device_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/keyval.h"
#include "vmm/run_config.h"

enum {
    DISK_ID_LEN_MAX = 20,
    DISK_QUEUE_COUNT_MAX = 16,
    NET_PAIR_COUNT_MAX = 8,
    MTU_MIN = 68,
    MTU_MAX = 65521, /* 65535 less the Ethernet header */
};

static const char *const transport_names[TRANSPORT_COUNT] = {
    [TRANSPORT_PCI] = "pci",
    [TRANSPORT_MMIO] = "mmio",
};

static int transport_parse(const char *what, const char *value, enum transport *transport,
                           struct err *err)
{
    unsigned choice = 0;
    int ret = keyval_choice(what, value, transport_names, TRANSPORT_COUNT, &choice, err);

    *transport = (enum transport)choice;
    return ret;
}

/* ---- limits ---- */

enum { RATE_BYTES, RATE_BYTES_BURST, RATE_OPERATIONS, RATE_OPERATIONS_BURST, RATE_KEY_COUNT };

/* `what` is the option, `keys` its RATE_KEY_COUNT keys for limits, `key` one of them. */
static int rate_key_apply(const char *what, const char *const *keys, unsigned key,
                          const char *value, struct rate_limit_config *limit, struct err *err)
{
    struct rate_config *config = key < RATE_OPERATIONS ? &limit->bytes : &limit->operations;
    bool is_burst = key == RATE_BYTES_BURST || key == RATE_OPERATIONS_BURST;
    uint64_t *number = is_burst ? &config->burst : &config->rate;
    char name[32];
    int ret;

    snprintf(name, sizeof(name), "%s: %s", what, keys[key]);
    if (key >= RATE_OPERATIONS)
        return keyval_u64(name, value, 1, RATE_LIMIT_MAX, number, err);
    ret = keyval_mem_size(name, value, number, err);
    if (!ret && (!*number || *number > RATE_LIMIT_MAX))
        ret = err_set(err, -ERANGE, "%s: %s is out of range, it must be 1K to %lluG", name, value,
                      RATE_LIMIT_MAX >> 30);
    return ret;
}

static int rate_check(const char *what, const char *const *keys,
                      const struct rate_limit_config *limit, struct err *err)
{
    const struct rate_config *configs[] = {&limit->bytes, &limit->operations};

    for (unsigned i = 0; i < array_count(configs); i++)
        if (configs[i]->burst && !configs[i]->rate)
            return err_set(err, -EINVAL, "%s: %s goes with %s", what, keys[2 * i + 1], keys[2 * i]);
    return 0;
}

/* ---- --block ---- */

enum {
    BLOCK_KEY_PATH,
    BLOCK_KEY_RO,
    BLOCK_KEY_ROOT,
    BLOCK_KEY_DIRECT,
    BLOCK_KEY_IOPOLL,
    BLOCK_KEY_ID,
    BLOCK_KEY_QUEUES,
    BLOCK_KEY_PACKED,
    BLOCK_KEY_IN_ORDER,
    BLOCK_KEY_TRANSPORT,
    BLOCK_KEY_SIZE,
    BLOCK_KEY_RATES,
};
static const char *const block_keys[] = {
    [BLOCK_KEY_PATH] = "path",
    [BLOCK_KEY_RO] = "ro",
    [BLOCK_KEY_ROOT] = "root",
    [BLOCK_KEY_DIRECT] = "direct",
    [BLOCK_KEY_IOPOLL] = "iopoll",
    [BLOCK_KEY_ID] = "id",
    [BLOCK_KEY_QUEUES] = "queues",
    [BLOCK_KEY_PACKED] = "packed-queue",
    [BLOCK_KEY_IN_ORDER] = "in-order",
    [BLOCK_KEY_TRANSPORT] = "transport",
    [BLOCK_KEY_SIZE] = "block-size",
    [BLOCK_KEY_RATES + RATE_BYTES] = "bw",
    [BLOCK_KEY_RATES + RATE_BYTES_BURST] = "bw-burst",
    [BLOCK_KEY_RATES + RATE_OPERATIONS] = "ops",
    [BLOCK_KEY_RATES + RATE_OPERATIONS_BURST] = "ops-burst",
};

static int block_key_apply(struct disk_option *disk, unsigned key, const char *value,
                           struct err *err)
{
    uint64_t number = 0;
    int ret;

    switch (key) {
    case BLOCK_KEY_PATH:
        return keyval_text("--block: path", value, &disk->path, err);
    case BLOCK_KEY_RO:
        return keyval_bool("--block: ro", value, &disk->read_only, err);
    case BLOCK_KEY_ROOT:
        return keyval_bool("--block: root", value, &disk->root, err);
    case BLOCK_KEY_DIRECT:
        return keyval_bool("--block: direct", value, &disk->direct, err);
    case BLOCK_KEY_IOPOLL:
        return keyval_bool("--block: iopoll", value, &disk->iopoll, err);
    case BLOCK_KEY_ID:
        ret = keyval_text("--block: id", value, &disk->id, err);
        if (!ret && strlen(disk->id) > DISK_ID_LEN_MAX)
            ret = err_set(err, -EINVAL, "--block: id has at most %d bytes", DISK_ID_LEN_MAX);
        return ret;
    case BLOCK_KEY_QUEUES:
        ret = keyval_u64("--block: queues", value, 1, DISK_QUEUE_COUNT_MAX, &number, err);
        disk->queue_count = (uint16_t)number;
        return ret;
    case BLOCK_KEY_PACKED:
        return keyval_bool("--block: packed-queue", value, &disk->packed_queue, err);
    case BLOCK_KEY_IN_ORDER:
        return keyval_bool("--block: in-order", value, &disk->in_order, err);
    case BLOCK_KEY_TRANSPORT:
        return transport_parse("--block: transport", value, &disk->transport, err);
    case BLOCK_KEY_SIZE:
        ret = keyval_u64("--block: block-size", value, 512, 4096, &number, err);
        if (!ret && (number & (number - 1)))
            ret = err_set(err, -EINVAL, "--block: block-size must be 512, 1024, 2048 or 4096");
        disk->block_size = (uint32_t)number;
        return ret;
    default:
        return rate_key_apply("--block", &block_keys[BLOCK_KEY_RATES], key - BLOCK_KEY_RATES, value,
                              &disk->limit, err);
    }
}

int block_option_apply(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    struct keyval_list list = {
        .option = "--block", .names = block_keys, .name_count = array_count(block_keys)};
    struct disk_option disk = {0};
    size_t len = strcspn(value, "=,");
    unsigned key;
    int ret;

    if (config->disk_count == CONFIG_DISK_COUNT_MAX)
        return err_set(err, -EINVAL, "--block: more than %d disks", CONFIG_DISK_COUNT_MAX);
    list.rest = value;
    if (value[len] != '=') { /* the path, without its key */
        list.rest = value[len] ? &value[len + 1] : NULL;
        list.seen = 1U << BLOCK_KEY_PATH;
        value[len] = '\0';
        disk.path = value;
    }
    while ((ret = keyval_next(&list, &key, &value, err)) > 0) {
        ret = block_key_apply(&disk, key, value, err);
        if (ret)
            break;
    }
    if (ret)
        return ret;
    if (!disk.path || !*disk.path)
        return err_set(err, -EINVAL, "--block: no path; write --block PATH[,ro,...]");
    if (disk.iopoll && !disk.direct)
        return err_set(err, -EINVAL, "--block: iopoll goes with direct");
    ret = rate_check("--block", &block_keys[BLOCK_KEY_RATES], &disk.limit, err);
    if (ret)
        return ret;
    for (size_t i = 0; disk.root && i < config->disk_count; i++)
        if (config->disks[i].root)
            return err_set(err, -EINVAL, "--block: both %s and %s are root; only one disk can be",
                           config->disks[i].path, disk.path);
    config->disks[config->disk_count++] = disk;
    return 0;
}

/* ---- --net ---- */

enum {
    NET_KEY_TAP_NAME,
    NET_KEY_TAP_FD,
    NET_KEY_MAC,
    NET_KEY_VQ_PAIRS,
    NET_KEY_PACKED,
    NET_KEY_TRANSPORT,
    NET_KEY_VHOST,
    NET_KEY_MTU,
    NET_KEY_RX_RATES,
    NET_KEY_TX_RATES = NET_KEY_RX_RATES + RATE_KEY_COUNT,
};
static const char *const net_keys[] = {
    [NET_KEY_TAP_NAME] = "tap-name",
    [NET_KEY_TAP_FD] = "tap-fd",
    [NET_KEY_MAC] = "mac",
    [NET_KEY_VQ_PAIRS] = "vq-pairs",
    [NET_KEY_PACKED] = "packed-queue",
    [NET_KEY_TRANSPORT] = "transport",
    [NET_KEY_VHOST] = "vhost",
    [NET_KEY_MTU] = "mtu",
    [NET_KEY_RX_RATES + RATE_BYTES] = "rx-bw",
    [NET_KEY_RX_RATES + RATE_BYTES_BURST] = "rx-bw-burst",
    [NET_KEY_RX_RATES + RATE_OPERATIONS] = "rx-packets",
    [NET_KEY_RX_RATES + RATE_OPERATIONS_BURST] = "rx-packets-burst",
    [NET_KEY_TX_RATES + RATE_BYTES] = "tx-bw",
    [NET_KEY_TX_RATES + RATE_BYTES_BURST] = "tx-bw-burst",
    [NET_KEY_TX_RATES + RATE_OPERATIONS] = "tx-packets",
    [NET_KEY_TX_RATES + RATE_OPERATIONS_BURST] = "tx-packets-burst",
};

static int net_key_apply(struct net_option *net, unsigned key, const char *value, struct err *err)
{
    uint64_t number = 0;
    int ret;

    switch (key) {
    case NET_KEY_TAP_NAME:
        return keyval_text("--net: tap-name", value, &net->tap_name, err);
    case NET_KEY_TAP_FD:
        ret = keyval_u64("--net: tap-fd", value, 0, INT32_MAX, &number, err);
        net->tap_fd = ret ? -1 : (int)number;
        return ret;
    case NET_KEY_MAC:
        net->has_mac = true;
        return keyval_mac("--net: mac", value, net->mac, err);
    case NET_KEY_VQ_PAIRS:
        ret = keyval_u64("--net: vq-pairs", value, 1, NET_PAIR_COUNT_MAX, &number, err);
        net->pair_count = (uint16_t)number;
        return ret;
    case NET_KEY_PACKED:
        return keyval_bool("--net: packed-queue", value, &net->packed_queue, err);
    case NET_KEY_TRANSPORT:
        return transport_parse("--net: transport", value, &net->transport, err);
    case NET_KEY_VHOST:
        return keyval_bool("--net: vhost", value, &net->vhost, err);
    case NET_KEY_MTU:
        ret = keyval_u64("--net: mtu", value, MTU_MIN, MTU_MAX, &number, err);
        net->mtu = (uint16_t)number;
        return ret;
    default:
        if (key < NET_KEY_TX_RATES)
            return rate_key_apply("--net", &net_keys[NET_KEY_RX_RATES], key - NET_KEY_RX_RATES,
                                  value, &net->rx_limit, err);
        return rate_key_apply("--net", &net_keys[NET_KEY_TX_RATES], key - NET_KEY_TX_RATES, value,
                              &net->tx_limit, err);
    }
}

static int net_rates_check(const struct net_option *net, struct err *err)
{
    bool is_limited = net->rx_limit.bytes.rate || net->rx_limit.operations.rate ||
                      net->tx_limit.bytes.rate || net->tx_limit.operations.rate;
    int ret = rate_check("--net", &net_keys[NET_KEY_RX_RATES], &net->rx_limit, err);

    if (!ret)
        ret = rate_check("--net", &net_keys[NET_KEY_TX_RATES], &net->tx_limit, err);
    if (!ret && net->vhost && is_limited)
        ret = err_set(err, -EINVAL,
                      "--net: vhost has no limits; drop vhost, or limit the tap with tc");
    return ret;
}

int net_option_apply(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    struct keyval_list list = {
        .option = "--net", .names = net_keys, .name_count = array_count(net_keys), .rest = value};
    struct net_option net = {.tap_fd = -1, .pair_count = 1};
    unsigned key;
    int ret;

    if (config->net_count == CONFIG_NET_COUNT_MAX)
        return err_set(err, -EINVAL, "--net: more than %d interfaces", CONFIG_NET_COUNT_MAX);
    while ((ret = keyval_next(&list, &key, &value, err)) > 0) {
        ret = net_key_apply(&net, key, value, err);
        if (ret)
            break;
    }
    if (ret)
        return ret;
    if (!net.tap_name == (net.tap_fd < 0))
        return err_set(err, -EINVAL, "--net: give exactly one of tap-name=NAME and tap-fd=NUMBER");
    ret = net_rates_check(&net, err);
    if (ret)
        return ret;
    config->nets[config->net_count++] = net;
    return 0;
}

/* ---- --rng ---- */

enum { RNG_KEY_PACKED };
static const char *const rng_keys[] = {[RNG_KEY_PACKED] = "packed-queue"};

int rng_option_apply(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    struct keyval_list list = {
        .option = "--rng", .names = rng_keys, .name_count = array_count(rng_keys), .rest = value};
    unsigned key;
    int ret;

    while ((ret = keyval_next(&list, &key, &value, err)) > 0) {
        ret = keyval_bool("--rng: packed-queue", value, &config->rng_packed_queue, err);
        if (ret)
            break;
    }
    return ret;
}

/* ---- --serial ---- */

enum {
    SERIAL_KEY_TYPE,
    SERIAL_KEY_HARDWARE,
    SERIAL_KEY_NUM,
    SERIAL_KEY_PATH,
    SERIAL_KEY_CONSOLE,
    SERIAL_KEY_STDIN,
    SERIAL_KEY_PACKED
};
static const char *const serial_keys[] = {
    [SERIAL_KEY_TYPE] = "type",
    [SERIAL_KEY_HARDWARE] = "hardware",
    [SERIAL_KEY_NUM] = "num",
    [SERIAL_KEY_PATH] = "path",
    [SERIAL_KEY_CONSOLE] = "console",
    [SERIAL_KEY_STDIN] = "stdin",
    [SERIAL_KEY_PACKED] = "packed-queue",
};

static const char *const serial_type_names[SERIAL_TYPE_COUNT] = {
    [SERIAL_STDOUT] = "stdout",
    [SERIAL_FILE] = "file",
    [SERIAL_SINK] = "sink",
    [SERIAL_PTY] = "pty",
};
static const char *const serial_hardware_names[SERIAL_HW_COUNT] = {
    [SERIAL_HW_16550] = "serial",
    [SERIAL_HW_VIRTIO_CONSOLE] = "virtio-console",
    [SERIAL_HW_DEBUGCON] = "debugcon",
};

static int serial_key_apply(struct serial_option *serial, unsigned key, const char *value,
                            struct err *err)
{
    uint64_t number = 0;
    unsigned choice = 0;
    int ret;

    switch (key) {
    case SERIAL_KEY_TYPE:
        ret = keyval_choice("--serial: type", value, serial_type_names, SERIAL_TYPE_COUNT, &choice,
                            err);
        serial->type = (enum serial_type)choice;
        return ret;
    case SERIAL_KEY_HARDWARE:
        ret = keyval_choice("--serial: hardware", value, serial_hardware_names, SERIAL_HW_COUNT,
                            &choice, err);
        serial->hardware = (enum serial_hardware)choice;
        return ret;
    case SERIAL_KEY_NUM:
        ret = keyval_u64("--serial: num", value, 1, CONFIG_COM_COUNT, &number, err);
        serial->num = (uint8_t)number;
        return ret;
    case SERIAL_KEY_PATH:
        return keyval_text("--serial: path", value, &serial->path, err);
    case SERIAL_KEY_CONSOLE:
        return keyval_bool("--serial: console", value, &serial->console, err);
    case SERIAL_KEY_STDIN:
        return keyval_bool("--serial: stdin", value, &serial->takes_stdin, err);
    default: /* SERIAL_KEY_PACKED */
        return keyval_bool("--serial: packed-queue", value, &serial->packed_queue, err);
    }
}

static int serial_check(const struct run_config *config, const struct serial_option *serial,
                        struct err *err)
{
    if ((serial->type == SERIAL_FILE) != (serial->path != NULL))
        return err_set(err, -EINVAL, "--serial: type=file and path=PATH go together");
    if (serial->takes_stdin && serial->type != SERIAL_STDOUT)
        return err_set(err, -EINVAL, "--serial: stdin goes with type=stdout");
    if (serial->packed_queue && serial->hardware != SERIAL_HW_VIRTIO_CONSOLE)
        return err_set(err, -EINVAL, "--serial: packed-queue goes with hardware=%s",
                       serial_hardware_names[SERIAL_HW_VIRTIO_CONSOLE]);
    if (serial->num > 1 && serial->hardware != SERIAL_HW_16550)
        return err_set(err, -EINVAL, "--serial: there is only num=1 of hardware=%s",
                       serial_hardware_names[serial->hardware]);
    for (size_t i = 0; i < config->serial_count; i++) {
        const struct serial_option *other = &config->serials[i];

        if (other->hardware == serial->hardware && other->num == serial->num)
            return err_set(err, -EINVAL, "--serial: two of hardware=%s have num=%d",
                           serial_hardware_names[serial->hardware], serial->num);
        if (other->takes_stdin && serial->takes_stdin)
            return err_set(err, -EINVAL, "--serial: only one can take stdin");
        if (other->console && serial->console && other->hardware == serial->hardware)
            return err_set(err, -EINVAL, "--serial: only one hardware=%s can be console",
                           serial_hardware_names[serial->hardware]);
    }
    return 0;
}

int serial_option_apply(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    struct keyval_list list = {.option = "--serial",
                               .names = serial_keys,
                               .name_count = array_count(serial_keys),
                               .rest = value};
    struct serial_option serial = {.type = SERIAL_TYPE_COUNT, .num = 1};
    bool stdin_given = false;
    unsigned key;
    int ret;

    if (config->serial_count == CONFIG_SERIAL_COUNT_MAX)
        return err_set(err, -EINVAL, "--serial: more than %d ports", CONFIG_SERIAL_COUNT_MAX);
    while ((ret = keyval_next(&list, &key, &value, err)) > 0) {
        stdin_given |= key == SERIAL_KEY_STDIN;
        ret = serial_key_apply(&serial, key, value, err);
        if (ret)
            break;
    }
    if (ret)
        return ret;
    if (serial.type == SERIAL_TYPE_COUNT)
        return err_set(err, -EINVAL, "--serial: no type; write --serial type=stdout");
    /* The first port on stdout is the one a user types to, unless told otherwise. */
    if (!stdin_given && serial.type == SERIAL_STDOUT && serial.hardware != SERIAL_HW_DEBUGCON) {
        serial.takes_stdin = true;
        for (size_t i = 0; i < config->serial_count; i++)
            serial.takes_stdin &= !config->serials[i].takes_stdin;
    }
    ret = serial_check(config, &serial, err);
    if (ret)
        return ret;
    config->serials[config->serial_count++] = serial;
    return 0;
}
