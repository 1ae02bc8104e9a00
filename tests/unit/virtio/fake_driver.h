/*
 * Test side: a machine without KVM (executor, RAM with a gap, buses, PCI root, a message chip that
 * counts) and a virtio driver that reaches a device only through config space, BAR and rings, as a
 * guest does. Helpers assert: a failure in here fails the test.
 *
 *     struct fake_machine *machine = fake_machine_create();
 *     struct fake_driver *driver = fake_driver_attach(machine, device);   // owns the device
 *     fake_driver_start(driver, BIT_ULL(VIRTIO_BLK_F_FLUSH), 64);
 *     struct fake_queue *queue = &driver->queues[0];
 *     struct fake_buffer buffers[] = {fake_buffer(machine, 16), fake_buffer(machine, 512), ...};
 *     fake_queue_add(queue, buffers, 1, 2);       // 1 readable, then 2 writable
 *     fake_queue_kick(queue);
 *     uint32_t len = fake_queue_wait(queue);
 *     fake_driver_detach(driver);
 *     fake_machine_destroy(machine);
 */
#pragma once
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus/bus.h"
#include "bus/pci.h"
#include "exec/executor.h"
#include "mem/gmem.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/pci.h"

enum {
    FAKE_QUEUE_COUNT_MAX = 8,
    FAKE_MESSAGE_COUNT = 1024,
    FAKE_PCI_CFG_TYPE_COUNT = VIRTIO_PCI_CAP_PCI_CFG + 1,
    FAKE_MMIO_GSI = 20,
};

/* RAM: [0, 64 MiB) and [4 GiB, 4 GiB + 16 MiB); devices in between. */
#define FAKE_RAM_LOW_SIZE  (64ULL << 20)
#define FAKE_RAM_HIGH_BASE (4ULL << 30)
#define FAKE_RAM_HIGH_SIZE (16ULL << 20)
#define FAKE_ECAM_BASE     0xe0000000ULL
#define FAKE_MMIO_BASE     0xfeb00000ULL /* of the one device that is not on the PCI bus */

struct fake_machine {
    struct executor *executor;
    struct blocking_pool *blocking; /* of one thread */
    struct gmem *mem;
    struct bus *port_bus;
    struct bus *mmio_bus;
    struct pci_root *root;
    struct virtio_context context; /* for the create functions of devices */
    bool mmio_level;               /* the line of that device */
    uint32_t mmio_edges;           /* rising */
    bool intx_level[4];
    uint32_t intx_edges[4];                        /* rising */
    uint32_t messages[FAKE_MESSAGE_COUNT];         /* signals counted by message data */
    struct msi_message routes[FAKE_MESSAGE_COUNT]; /* by chip vector */
    bool vector_used[FAKE_MESSAGE_COUNT];
    int vector_eventfds[FAKE_MESSAGE_COUNT]; /* that were asked for; -1: not */
    struct doorbell doorbells[64];           /* what the device registered; eventfd -1: free */
    bool doorbells_refused; /* set before fake_driver_attach: the chip has no room */
    bool no_ports;          /* set before fake_driver_attach: for its device */
    uint64_t alloc_next;
};

struct fake_machine *fake_machine_create(void);
/* With a window for I/O BARs. */
struct fake_machine *fake_machine_create_with_ports(void);
struct msi_chip fake_machine_msi(struct fake_machine *machine);
struct doorbell_chip fake_machine_doorbells(struct fake_machine *machine);
struct irq_line fake_machine_mmio_line(struct fake_machine *machine);
void fake_machine_destroy(struct fake_machine *machine);
/* Runs the executor until `until(arg)` holds. */
void fake_machine_run_until(struct fake_machine *machine, bool (*until)(void *arg), void *arg);
/* Runs the executor until blocking calls have returned, then for `turns` turns: for what must NOT
 * happen, and for work without I/O. */
void fake_machine_run(struct fake_machine *machine, unsigned turns);

/* A bus access as a vCPU makes it; runs the executor until it is answered. */
uint64_t fake_mmio_read(struct fake_machine *machine, uint64_t addr, uint8_t size);
void fake_mmio_write(struct fake_machine *machine, uint64_t addr, uint8_t size, uint64_t value);
uint64_t fake_machine_port_read(struct fake_machine *machine, uint64_t addr, uint8_t size);
void fake_machine_port_write(struct fake_machine *machine, uint64_t addr, uint8_t size,
                             uint64_t value);

struct fake_buffer {
    gpa_t addr;
    uint32_t len;
    uint8_t *host;
};

/* Zeroed guest RAM, aligned to 16 (a page when len >= 4096); gone with the machine. */
struct fake_buffer fake_buffer(struct fake_machine *machine, uint32_t len);

struct fake_driver;

struct fake_queue {
    struct fake_driver *driver;
    uint16_t index;
    uint16_t size; /* 0: the device has no such queue */
    struct fake_buffer desc_buffer, avail_buffer, used_buffer;
    struct vring_desc *desc; /* host pointers: tests may scribble */
    struct vring_avail *avail;
    struct vring_used *used;
    bool packed;                    /* negotiated: the same memory is ... */
    struct vring_packed_desc *ring; /* ... these areas */
    struct vring_packed_desc_event *driver_event, *device_event;
    bool event_idx;
    bool indirect;       /* set by the test: chains go into an indirect table */
    uint16_t avail_idx;  /* next entry to fill; published by fake_queue_publish */
    uint16_t kicked_idx; /* avail idx at the last kick */
    uint16_t used_idx;   /* next entry to take */
    uint16_t free_head;
    uint16_t free_count;
    struct fake_buffer tables_buffer; /* indirect tables, one per head */
    uint16_t *chain_next;             /* private: the driver's own copy of free list and chains */

    /* private: packed; avail_idx counts entries */
    uint16_t avail_next, used_next;
    uint16_t avail_owner, used_owner; /* bits AVAIL and USED of an entry there */
    struct vring_packed_desc *withheld;
    uint16_t withheld_flags;
};

struct fake_driver {
    struct fake_machine *machine;
    struct virtio_device *device;
    struct virtio_pci *pci; /* or: */
    struct virtio_mmio *mmio;
    uint8_t slot;
    bool no_msix; /* set between attach and start: use INTx */
    uint64_t features;
    uint64_t bar;                             /* address of BAR 0 */
    uint16_t cap[FAKE_PCI_CFG_TYPE_COUNT];    /* config offset of each capability */
    uint32_t offset[FAKE_PCI_CFG_TYPE_COUNT]; /* of each structure in the BAR */
    uint32_t length[FAKE_PCI_CFG_TYPE_COUNT];
    uint32_t notify_multiplier;
    uint16_t port_cap; /* config offset of the capability of notifications by ports; 0: none */
    uint16_t msix_cap;
    uint16_t queue_count;
    struct fake_queue queues[FAKE_QUEUE_COUNT_MAX];
};

/* Puts the device on the bus, finds its capabilities, turns decoding on. Takes the device. */
struct fake_driver *fake_driver_attach(struct fake_machine *machine, struct virtio_device *device);
/* Puts the device beside the PCI bus. What concerns BAR, config space and messages is not for such
 * a driver; the rest is. */
struct fake_driver *fake_driver_attach_mmio(struct fake_machine *machine,
                                            struct virtio_device *device);
/* Powers the device off, or reboots: it is as after the attach, without decoding. */
void fake_driver_shutdown(struct fake_driver *driver);
/* Shuts the device down and destroys it. */
void fake_driver_detach(struct fake_driver *driver);

/*
 * The whole initialization (3.1.1) up to DRIVER_OK. Accepts what of `features` is offered (and
 * VERSION_1); driver->features has the outcome. Queue sizes are lowered to `queue_size`; 0: as
 * offered. Vector of queue i is i + 1, of the configuration 0.
 */
void fake_driver_start(struct fake_driver *driver, uint64_t features, uint16_t queue_size);
/* The steps of it: up to FEATURES_OK; one queue; DRIVER_OK. */
void fake_driver_negotiate(struct fake_driver *driver, uint64_t features);
void fake_driver_features_write(struct fake_driver *driver, uint64_t features);
void fake_driver_setup_queue(struct fake_driver *driver, uint16_t index, uint16_t size);
void fake_driver_ok(struct fake_driver *driver);
/* Writes 0 to the status and runs the executor until that is answered. Queues are forgotten. */
void fake_driver_reset(struct fake_driver *driver);

/* 32-bit registers of an MMIO device. */
uint32_t fake_mmio_register(struct fake_driver *driver, uint32_t offset);
void fake_mmio_register_write(struct fake_driver *driver, uint32_t offset, uint32_t value);
/* Registers of a PCI device; `cfg_type` is VIRTIO_PCI_CAP_COMMON_CFG, _NOTIFY_CFG, _ISR_CFG or
 * _DEVICE_CFG. */
uint64_t fake_driver_read(struct fake_driver *driver, uint8_t cfg_type, uint32_t offset,
                          uint8_t size);
void fake_driver_write(struct fake_driver *driver, uint8_t cfg_type, uint32_t offset, uint8_t size,
                       uint64_t value);
uint32_t fake_driver_config_read(struct fake_driver *driver, uint16_t offset, uint8_t size);
void fake_driver_config_write(struct fake_driver *driver, uint16_t offset, uint8_t size,
                              uint32_t value);
uint8_t fake_driver_status(struct fake_driver *driver);
/* Interrupts so far by MSI-X vector. */
uint32_t fake_driver_messages(const struct fake_driver *driver, uint16_t vector);
/* Masks a vector of the table, or opens it. */
void fake_driver_mask(struct fake_driver *driver, uint16_t vector, bool mask);
bool fake_driver_is_pending(struct fake_driver *driver, uint16_t vector);
/* What the vector's eventfd stands for, as KVM would: signals so far since the last call. 0 when
 * nobody asked for it. */
uint64_t fake_driver_eventfd_take(const struct fake_driver *driver, uint16_t vector);

/*
 * Builds a chain of readable, then writable buffers and puts its head in the ring, unpublished.
 * Returns the head. The queue must have room.
 */
uint16_t fake_queue_add(struct fake_queue *queue, const struct fake_buffer *buffers,
                        uint16_t readable_count, uint16_t writable_count);
/* Puts any head in the ring of a split queue, unpublished: for broken drivers. */
void fake_queue_add_head(struct fake_queue *queue, uint16_t head);
/* Makes it visible. */
void fake_queue_publish(struct fake_queue *queue);
/* Publishes and notifies, unless the device asked for no notification; true when it notified. */
bool fake_queue_kick(struct fake_queue *queue);
/* Notifies without looking. */
void fake_queue_notify(struct fake_queue *queue);
/* Takes the next used chain and frees its descriptors; false when there is none. */
bool fake_queue_take(struct fake_queue *queue, uint16_t *head, uint32_t *len);
/* Runs the executor until a chain is used and takes it. Returns the length written. */
uint32_t fake_queue_wait(struct fake_queue *queue);

/* For fake_driver.c: memory for a queue of the layout that was negotiated; nothing left of it. */
void fake_queue_create(struct fake_queue *queue, struct fake_driver *driver, uint16_t index,
                       uint16_t size);
void fake_queue_forget(struct fake_queue *queue);
