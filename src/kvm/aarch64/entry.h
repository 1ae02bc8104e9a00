/*
 * Where vCPU 0 starts, and what the device tree says of the vCPUs. Everything that is not named
 * here is the processor's state after reset: EL1 with the MMU and interrupts off.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mem/gmem.h"

struct vm;

struct vm_entry {
    uint64_t pc;
    gpa_t device_tree; /* in x0: Documentation/arch/arm64/booting.rst */
};

/* After vm_create or vm_reset, before vm_resume. */
must_check int vm_set_entry(struct vm *vm, const struct vm_entry *entry, struct err *err);

/* The interrupt controller that this KVM offers. With an ITS it takes messages by itself; beside a
 * version 2 a GICv2m may, whose messages go to vm_msi_chip. */
enum vm_gic { VM_GIC_V2, VM_GIC_V3, VM_GIC_V3_ITS };

enum vm_gic vm_gic(const struct vm *vm);
/* The vCPUs have a performance monitor. */
bool vm_has_pmu(const struct vm *vm);
/* Affinity fields of a vCPU's MPIDR_EL1: its name in PSCI and in the device tree. */
must_check int vm_vcpu_affinity(const struct vm *vm, uint32_t vcpu_index, uint64_t *affinity,
                                struct err *err);
