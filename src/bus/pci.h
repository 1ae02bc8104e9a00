/*
 * PCI: one root bus with up to 32 single-function devices, configuration space by CF8/CFC and ECAM,
 * BARs that the guest may move, capabilities, MSI-X. PCI Local Bus 3.0 and PCI Express base
 * specification; no bridges, no hot plug yet. Executor thread, or before it runs.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"

enum { PCI_BAR_COUNT = 6, PCI_CONFIG_SIZE = 4096 };

enum pci_bar_type { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_function;

/* One base address register. The guest moves `range` by writing it; the device sees offsets only.
 */
struct pci_bar {
    struct bus_range range; /* ops and name: set by the device; base and len by the PCI code */
    uint64_t size;          /* power of two, at least 16 (I/O: 4) */
    enum pci_bar_type type;
    bool prefetchable;
    bool decoded; /* read-only: in the bus now */
};

struct pci_function_ops {
    /*
     * Optional: the guest wrote or reads config space at [offset, offset + size), in the device's
     * own capabilities; return true when handled. Called before the plain bytes are used.
     */
    bool (*config_access)(struct pci_function *function, uint32_t offset,
                          struct bus_access *access);
    /* Optional: a BAR came into, moved in, or left its bus: re-register doorbells. */
    void (*bar_changed)(struct pci_function *function, unsigned bar);
};

/* Embedded in the device. Identity and BARs are set before pci_root_add; the rest is private. */
struct pci_function {
    const struct pci_function_ops *ops;
    const char *name;
    uint16_t vendor_id, device_id, subsystem_vendor_id, subsystem_id;
    uint32_t class_code; /* 24 bits: base, sub, programming interface */
    uint8_t revision_id;
    bool has_intx; /* wire INTA */
    struct pci_bar bars[PCI_BAR_COUNT];

    /* private */
    struct pci_root *root;
    uint8_t slot;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest may change */
    uint16_t capability_last;
    struct irq_line intx;
    bool intx_level;
};

struct pci_root;

struct pci_root_config {
    struct bus *port_bus; /* CF8/CFC and I/O BARs; NULL where there are none (aarch64 without port
                             window) */
    struct bus *mmio_bus; /* ECAM and memory BARs */
    uint64_t ecam_base, ecam_len;
    uint64_t io_base, io_len; /* windows from which BARs are assigned at start */
    uint64_t mem32_base, mem32_len;
    uint64_t mem64_base, mem64_len;
    struct irq_line intx[4]; /* the four root pins; slot s, pin p goes to intx[(s + p) % 4] */
};

must_check int pci_root_create(struct pci_root **out, const struct pci_root_config *config,
                               struct err *err);
/* Functions are removed first. NULL is allowed. */
void pci_root_destroy(struct pci_root *root);

/*
 * Puts the function in the lowest free slot (slot 0 is the host bridge), gives its BARs addresses
 * from the windows. Decoding stays off until the guest sets the command register. -ENOSPC without
 * slot or window.
 */
must_check int pci_root_add(struct pci_root *root, struct pci_function *function, struct err *err);
void pci_root_remove(struct pci_root *root, struct pci_function *function);

/* Before pci_root_add. Appends a capability of `len` bytes (its first two are filled in) and
 * returns its config offset. */
must_check int pci_function_add_capability(struct pci_function *function, uint8_t id,
                                           const void *body, uint32_t len,
                                           const uint8_t *writable_mask, uint16_t *offset);
/* Drives INTA (level), subject to the command register's interrupt disable bit. */
void pci_function_set_intx(struct pci_function *function, bool level);
bool pci_function_bus_master(const struct pci_function *function);
/* Back to the state after pci_root_add. */
void pci_function_reset(struct pci_function *function);
