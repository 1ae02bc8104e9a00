/*
 * PCI: one root bus with up to 32 single-function devices, configuration space by CF8/CFC and ECAM,
 * BARs that the guest may move, capabilities, INTx. PCI Local Bus 3.0; no bridges, no hot plug, no
 * extended capabilities (configuration space from 256 on reads as 0).
 *
 * Which BARs are decoded, and where, follows from the registers alone, not from the order in which
 * the guest wrote them: a BAR whose command bit is set is decoded where it lies inside a window of
 * the host bridge, unless one of a lower slot (or lower number) or a fixed device is in its way.
 * The others are silent until that changes.
 *
 * Executor thread, or before it runs.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"

enum {
    PCI_BAR_COUNT = 6,
    PCI_CONFIG_SIZE = 256,
    PCI_SLOT_COUNT = 32,
    PCI_INTX_COUNT = 4,
};

enum pci_bar_type { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_function;

/* One base address register; a 64-bit one takes its own and the next index. The guest moves `range`
 * by writing it; the device sees offsets only. */
struct pci_bar {
    struct bus_range range; /* ops and name: set by the device; base and len by the PCI code */
    uint64_t size;          /* bytes, a power of two, at least 16 (I/O: 4) */
    enum pci_bar_type type;
    bool prefetchable;
    bool decoded; /* read-only: in the bus now, at range.base */

    /* private: where the registers of all functions say that it is decoded */
    bool claimed;
    bool obstructed; /* it would be decoded, but something is in its way */
    uint64_t claim_base;
};

struct pci_function_ops {
    /*
     * Optional: the guest accesses [offset, offset + access->size) of config space, which never
     * crosses a dword; true when the device answered it. Asked before the plain bytes are used.
     * access->addr and ->offset mean nothing here.
     */
    bool (*config_access)(struct pci_function *function, uint32_t offset,
                          struct bus_access *access);
    /*
     * Optional: the BAR came into its bus (`decoded`) or left it: register or drop doorbells. A
     * move is a leave and an entry; whatever leaves does so before anything enters.
     */
    void (*bar_changed)(struct pci_function *function, unsigned bar);
    /* Optional: pci_function_bus_master has a new answer. */
    void (*bus_master_changed)(struct pci_function *function);
};

/* Embedded in the device. Identity and BARs are set before anything else is called; the rest is
 * private. */
struct pci_function {
    const struct pci_function_ops *ops;
    const char *name;
    uint16_t vendor_id, device_id, subsystem_vendor_id, subsystem_id;
    uint32_t class_code; /* 24 bits: base, sub, programming interface */
    uint8_t revision_id;
    bool has_intx; /* INTA */
    struct pci_bar bars[PCI_BAR_COUNT];

    uint8_t slot; /* read-only, after pci_root_add */

    /* private */
    struct pci_root *root;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t config_initial[PCI_CONFIG_SIZE]; /* after pci_root_add */
    uint8_t writable[PCI_CONFIG_SIZE];       /* bits that the guest may change */
    uint8_t capability_last;                 /* offset of the newest, 0: none */
    uint8_t capability_end;                  /* first free offset, 0: none yet */
    bool intx_wanted;                        /* by the device */
};

struct pci_root;

struct pci_root_config {
    struct bus *port_bus;         /* CF8/CFC and I/O BARs; NULL where there are no ports */
    struct bus *mmio_bus;         /* ECAM and memory BARs */
    uint64_t ecam_base, ecam_len; /* 1 MiB a bus, of which bus 0 has functions; len 0: none */
    /*
     * What the host bridge forwards (_CRS in ACPI, ranges in a device tree); len 0: no such window.
     * BARs get their first addresses from here, and are not decoded elsewhere.
     */
    uint64_t io_base, io_len;
    uint64_t mem32_base, mem32_len;
    uint64_t mem64_base, mem64_len;
    struct irq_line intx[PCI_INTX_COUNT]; /* slot s drives intx[s % 4] */
    /*
     * Optional: the reset control register, one byte at port 0xcf9, which the address register at
     * 0xcf8 surrounds. Its range is not in the port bus itself.
     */
    struct bus_range *reset_control;
};

must_check int pci_root_create(struct pci_root **out, const struct pci_root_config *config,
                               struct err *err);
/* Whether there is a window for I/O BARs. */
bool pci_root_has_ports(const struct pci_root *root);
/* Functions are removed first. NULL is allowed. */
void pci_root_destroy(struct pci_root *root);
/* The host bridge and the address register as after pci_root_create; functions reset themselves. */
void pci_root_reset(struct pci_root *root);

/*
 * Puts the function in the lowest free slot (slot 0 is the host bridge), gives its BARs addresses
 * from the windows. Decoding stays off until the guest sets the command register. -ENOSPC without
 * slot or window.
 */
must_check int pci_root_add(struct pci_root *root, struct pci_function *function, struct err *err);
/* A no-op when it was not added. */
void pci_root_remove(struct pci_root *root, struct pci_function *function);

/*
 * Before pci_root_add. Appends a capability of `len` bytes; the first two of `body` (id and next)
 * are filled in. Bits set in `writable` (NULL: none) may be changed by the guest. -ENOSPC.
 */
must_check int pci_function_add_capability(struct pci_function *function, uint8_t id,
                                           const void *body, uint32_t len, const void *writable,
                                           uint8_t *offset);
/* Drives INTA (level), subject to the command register's interrupt disable bit. */
void pci_function_set_intx(struct pci_function *function, bool level);
/* False, as at first: the device must leave guest memory alone (PCI 3.0, 6.2.2). */
bool pci_function_bus_master(const struct pci_function *function);
/* Back to the state after pci_root_add. */
void pci_function_reset(struct pci_function *function);

/* The plain bytes of config space, for ops->config_access: a write changes what the guest may
 * change and has the effects of the standard registers. [offset, offset + access->size) lies inside
 * PCI_CONFIG_SIZE. */
void pci_function_config_plain(struct pci_function *function, uint32_t offset,
                               struct bus_access *access);
