/*
 * What the files of the guest share: guest.c (the table of parts), one file for each group of
 * parts, lifecycle.c (start, restart, end).
 */
#pragma once
#include <stdbool.h>

#include "base/log.h"
#include "boot/file.h"
#include "bus/bus.h"
#include "bus/pci.h"
#include "chardev/chardev.h"
#include "exec/task.h"
#include "exec/timer.h"
#include "kvm/vm.h"
#include "legacy/irq_share.h"
#include "legacy/machine.h"
#include "mem/gmem.h"
#include "mem/layout.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/pci.h"
#include "vmm/guest.h"

/* Room for "console1", "disk15" and the like. */
enum { PART_NAME_SIZE = 16 };

struct chips;

struct guest_stream {
    char name[PART_NAME_SIZE];
    struct chardev *chardev;
};

/* A virtio device with its transport, one of the two. */
struct guest_virtio {
    char name[PART_NAME_SIZE];
    struct virtio_device *device;
    struct virtio_pci *pci;
    struct virtio_mmio *mmio;
};

struct guest {
    struct guest_host host;
    char *cmdline;
    struct boot_file kernel;
    struct boot_file initrd;
    struct gmem *mem;
    struct bus *port_bus; /* NULL where there are no ports */
    struct bus *mmio_bus;
    struct vm *vm;
    struct chips *chips;
    struct pci_root *pci;
    struct guest_stream streams[CONFIG_SERIAL_COUNT_MAX];
    struct guest_virtio virtio[PCI_SLOT_COUNT];
    unsigned virtio_count;
    unsigned virtio_mmio_count; /* of these, not on the PCI bus */
    struct irq_share virtio_mmio_irqs[LAYOUT_GSI_VIRTIO_COUNT];

    /* lifecycle.c */
    struct task lifecycle;
    enum exit_status end;
    bool is_ending;
    bool is_parked;
    bool is_ended;
    uint64_t stopped_ns; /* when that was asked for from outside; 0: it was not */
    unsigned draining;   /* devices or streams whose end is awaited */
    unsigned in_flight;  /* requests of the devices when patience began */
    struct timer patience;
    struct err detail;
    struct log_limit log_limit;
};

/* streams.c: the host side of serial ports and consoles. */
must_check int streams_create(struct guest *guest, struct err *err);
void streams_destroy(struct guest *guest);
/* Their tasks run from here on, until drained. */
void streams_start(struct guest *guest);
/* Adds to guest->draining; `drained` is called once for each. */
void streams_drain(struct guest *guest, void (*drained)(void *arg));
/* The stream of a port; NULL when the options have none. */
struct chardev *streams_find(struct guest *guest, enum serial_hardware hardware, unsigned num);

/* ARCH/chips.c: what the machine has beside PCI. */
must_check int chips_create(struct guest *guest, struct err *err);
void chips_destroy(struct guest *guest);
/* Their timers end; the guest does not run any more. */
void chips_stop(struct guest *guest);
int chips_reset(struct guest *guest, struct err *err);
/* Port 0xcf9, for the PCI root; NULL where there are no ports. */
struct bus_range *chips_reset_control(struct guest *guest);

/* slots.c: the virtio devices, in the slots of the PCI bus or beside it. */
must_check int slots_create(struct guest *guest, struct err *err);
void slots_destroy(struct guest *guest);
/* Stops the devices. Adds to guest->draining; `drained` is called once for each. */
void slots_drain(struct guest *guest, void (*drained)(void *arg));
/* Requests of the devices that the host has not answered. */
unsigned slots_in_flight(const struct guest *guest);
/* Writes which device is not drained yet; false when there is none. */
bool slots_print_undrained(const struct guest *guest, char *text, size_t size);
int slots_reset(struct guest *guest, struct err *err);

/* loader.c: kernel and initrd. */
must_check int loader_create(struct guest *guest, struct err *err);
void loader_destroy(struct guest *guest);
/* ARCH/loader.c: kernel, tables and boot information into guest memory, vCPU 0 to its entry. */
must_check int loader_load(struct guest *guest, struct err *err);

/* guest.c */
/* Every part back to its initial state; the guest is parked, the virtio devices are drained. */
must_check int guest_reset(struct guest *guest, struct err *err);

/* lifecycle.c */
extern const struct vm_events lifecycle_vm_events;
/* The guest or the host asks for the end: the first to ask decides. */
void lifecycle_end(struct guest *guest, enum exit_status end);
/* For struct machine: what a chip of the guest `arg` reports. */
void lifecycle_report(void *arg, enum machine_report report);
