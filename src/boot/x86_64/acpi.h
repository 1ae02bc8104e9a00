/*
 * ACPI tables (ACPI 6.3) of the machine in mem/x86_64/layout.h: RSDP, XSDT, FADT, FACS, DSDT, MADT,
 * MCFG. The machine has fixed hardware (PM1a registers, SCI, power button; no SMI command: it is
 * always in ACPI mode) and is not hardware-reduced.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "mem/gmem.h"

/* What varies from one machine to the next; the rest is the layout's. */
struct acpi_config {
    uint32_t vcpu_count;       /* 1 to VCPU_COUNT_MAX; the local APIC identifiers are 0, 1, 2 ... */
    uint8_t com_mask;          /* bit n: COM(n + 1) exists */
    uint8_t virtio_mmio_count; /* at most LAYOUT_VIRTIO_MMIO_COUNT_MAX */
};

/* Writes the tables into the BIOS area, from LAYOUT_ACPI_BASE on, and returns the address of the
 * RSDP. Any thread, while no vCPU runs. */
gpa_t acpi_write(struct gmem *mem, const struct acpi_config *config);
