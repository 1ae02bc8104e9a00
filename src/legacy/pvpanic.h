/*
 * pvpanic on the ISA bus: one port through which the guest says that it panicked (QEMU's
 * docs/specs/pvpanic; ACPI id QEMU0001). Executor thread, or before it runs.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "bus/bus.h"
#include "legacy/machine.h"

struct pvpanic;

struct pvpanic_config {
    struct bus *bus;
    uint64_t port; /* 0x505 */
    struct machine machine;
};

must_check int pvpanic_create(struct pvpanic **out, const struct pvpanic_config *config,
                              struct err *err);
/* NULL is allowed. Nothing to reset. */
void pvpanic_destroy(struct pvpanic *pvpanic);
