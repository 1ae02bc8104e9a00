/*
 * pvpanic: one register through which the guest says that it panicked (QEMU's docs/specs/pvpanic;
 * ACPI id QEMU0001, in a device tree qemu,pvpanic-mmio). Executor thread, or before it runs.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "legacy/machine.h"

struct pvpanic;

struct pvpanic_config {
    struct bus *bus;
    uint64_t base; /* 0x505 among the ports of a PC */
    struct machine machine;
};

must_check int pvpanic_create(struct pvpanic **out, const struct pvpanic_config *config,
                              struct err *err);
/* NULL is allowed. Nothing to reset. */
void pvpanic_destroy(struct pvpanic *pvpanic);
