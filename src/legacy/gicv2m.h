/*
 * GICv2m: takes the messages that a GICv2 has no register for, and makes each an edge on one of its
 * shared interrupts (Arm, Server Base System Architecture 1.0, appendix E). A function's message
 * does not pass here: it goes to the same msi_chip by itself. Executor thread, or before it runs.
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "bus/irq.h"

struct gicv2m;

struct gicv2m_config {
    struct bus *bus;
    struct msi_chip msi; /* takes messages to the address of MSI_SETSPI_NS */
    uint64_t base;
    uint16_t spi_base, spi_count; /* the interrupts, by the GIC's numbers */
};

must_check int gicv2m_create(struct gicv2m **out, const struct gicv2m_config *config,
                             struct err *err);
/* NULL is allowed. Nothing to reset. */
void gicv2m_destroy(struct gicv2m *gicv2m);
