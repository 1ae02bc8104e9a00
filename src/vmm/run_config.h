/*
 * What the user asked for: plain data, as parsed from the command line, before anything is opened.
 * Strings point into the argument vector.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "virtio/rate_limit.h"

enum {
    CONFIG_DISK_COUNT_MAX = 16,
    CONFIG_NET_COUNT_MAX = 8,
    CONFIG_SERIAL_COUNT_MAX = 8,
    CONFIG_PARAM_COUNT_MAX = 32,
    CONFIG_COM_COUNT = 4,
};

enum transport { TRANSPORT_PCI, TRANSPORT_MMIO, TRANSPORT_COUNT };

struct disk_option {
    const char *path;
    const char *id; /* virtio-blk serial, at most 20 bytes; NULL: none */
    bool read_only;
    bool root; /* root=/dev/vdX is added to the kernel's command line */
    bool direct;
    bool iopoll;
    bool packed_queue;
    bool in_order;
    enum transport transport;
    uint16_t queue_count; /* 0: one per vCPU, bounded */
    uint32_t block_size;  /* bytes; 0: what the host's file or device says */
    struct rate_limit_config limit;
};

struct net_option {
    const char *tap_name; /* exactly one of tap_name and tap_fd */
    int tap_fd;           /* -1: none */
    uint8_t mac[6];
    bool has_mac;
    bool packed_queue;
    bool vhost;
    enum transport transport;
    uint16_t pair_count; /* queue pairs, 1 and up */
    uint16_t mtu;        /* 0: not told to the guest */
    struct rate_limit_config rx_limit, tx_limit;
};

enum serial_type { SERIAL_STDOUT, SERIAL_FILE, SERIAL_SINK, SERIAL_PTY, SERIAL_TYPE_COUNT };
enum serial_hardware {
    SERIAL_HW_16550,
    SERIAL_HW_VIRTIO_CONSOLE,
    SERIAL_HW_DEBUGCON,
    SERIAL_HW_COUNT,
};

struct serial_option {
    enum serial_type type;
    enum serial_hardware hardware;
    uint8_t num;      /* 1 to 4 of a 16550: COM1 to COM4; 1 of the others */
    const char *path; /* type file */
    bool console;     /* console=... is added to the kernel's command line */
    bool takes_stdin;
    bool packed_queue; /* of hardware virtio-console */
};

struct run_config {
    const char *kernel_path;
    const char *initrd_path; /* NULL: none */
    const char *params[CONFIG_PARAM_COUNT_MAX];
    size_t param_count;
    uint64_t mem_size; /* bytes */
    uint32_t vcpu_count;
    struct disk_option disks[CONFIG_DISK_COUNT_MAX];
    size_t disk_count;
    struct net_option nets[CONFIG_NET_COUNT_MAX];
    size_t net_count;
    struct serial_option serials[CONFIG_SERIAL_COUNT_MAX];
    size_t serial_count;
    const char *kvm_path;
    uint32_t poll_us; /* bound of the executor's polling before it sleeps */
    enum log_level log_level;
    bool no_rng;
    bool rng_packed_queue;
    bool no_notify_ports;
    bool exit_on_reset;
    bool register_memory; /* with io_uring */
};
