/*
 * Reset control register of PC chipsets: one byte at port 0xcf9, which lies inside the four bytes
 * of the PCI address register. So it is not put on the port bus, the PCI root passes it on:
 * pci_root_config.reset_control. Executor thread, or before it runs.
 */
#pragma once
#include "bus/bus.h"
#include "legacy/machine.h"

/* Embedded by its owner. */
struct reset_control {
    struct bus_range range; /* read-only: for the PCI root */
    struct machine machine; /* private */
    uint8_t value;          /* private */
};

void reset_control_init(struct reset_control *control, struct machine machine);
void reset_control_reset(struct reset_control *control);
