/*
 * Test side: a PCI root with recording interrupt lines, and cards whose BARs answer with their own
 * number. Reached as a guest does, through the two buses. Helpers assert.
 */
#pragma once
#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus/bus.h"
#include "bus/pci.h"

#define FAKE_ECAM_BASE  0xe0000000ULL
#define FAKE_IO_BASE    0x1000ULL
#define FAKE_IO_LEN     0xf000ULL
#define FAKE_MEM32_BASE 0xc0000000ULL
#define FAKE_MEM32_LEN  0x20000000ULL
#define FAKE_MEM64_BASE 0x800000000ULL
#define FAKE_MEM64_LEN  0x800000000ULL

struct fake_pci {
    struct bus *port_bus, *mmio_bus;
    struct pci_root *root;
    bool line[PCI_INTX_COUNT];
    unsigned line_changes;
};

struct fake_card {
    struct pci_function function;
    uint8_t tag;       /* in what its BARs answer; set by the test */
    unsigned accesses; /* to BARs */
    unsigned enters[PCI_BAR_COUNT], leaves[PCI_BAR_COUNT];
    unsigned bus_master_changes;
    unsigned present; /* a bit for each BAR that entered and did not leave */
    bool defers;
    struct bus_access *deferred;
    bool (*config_access)(struct fake_card *card, uint32_t offset, struct bus_access *access);
};

/* `reset_control` may be NULL. */
struct fake_pci *fake_pci_create(struct bus_range *reset_control);
void fake_pci_destroy(struct fake_pci *pci);

/* Identity 1234:00TT with INTA; BARs are added by the test before fake_card_add. */
void fake_card_init(struct fake_card *card, uint8_t tag);
void fake_card_bar(struct fake_card *card, unsigned bar, enum pci_bar_type type, uint64_t size);
void fake_card_add(struct fake_pci *pci, struct fake_card *card);
/* What a BAR of the card answers a read of four bytes with. */
uint32_t fake_card_answer(const struct fake_card *card, unsigned bar, uint32_t offset);

uint64_t fake_port_read(struct fake_pci *pci, uint64_t addr, uint8_t size);
void fake_port_write(struct fake_pci *pci, uint64_t addr, uint8_t size, uint64_t value);
uint64_t fake_mem_read(struct fake_pci *pci, uint64_t addr, uint8_t size);
void fake_mem_write(struct fake_pci *pci, uint64_t addr, uint8_t size, uint64_t value);

/* Config space of function 0 of a slot, through ECAM. */
uint32_t fake_config_read(struct fake_pci *pci, unsigned slot, uint32_t offset, uint8_t size);
void fake_config_write(struct fake_pci *pci, unsigned slot, uint32_t offset, uint8_t size,
                       uint32_t value);
