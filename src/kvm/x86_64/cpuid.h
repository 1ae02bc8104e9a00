/*
 * The CPUID table of a vCPU: what KVM supports, with a topology of one socket of single-threaded
 * cores, the hypervisor's leaves, and without nested virtualization. Pure data: no KVM needed.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct kvm_cpuid2;

enum { CPUID_ENTRY_COUNT_MAX = 256, CPUID_BRAND_COUNT = 3 };
#define CPUID_BRAND_FIRST 0x80000002u

struct cpuid_config {
    uint32_t vcpu_count;
    uint32_t tsc_khz;      /* 0: unknown */
    bool has_tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER */
    /* The processor's name in leaves CPUID_BRAND_FIRST and on: eax to edx. KVM leaves it out. */
    uint32_t brand[CPUID_BRAND_COUNT][4];
};

/* Room for CPUID_ENTRY_COUNT_MAX entries; free() it. NULL without memory. */
must_check struct kvm_cpuid2 *cpuid_alloc(void);
/*
 * Makes the table that all vCPUs share from KVM_GET_SUPPORTED_CPUID's; -E2BIG when it does not fit.
 * Leaves of zeros are left out: an absent leaf reads as zeros too, and KVM searches linearly.
 */
must_check int cpuid_build(struct kvm_cpuid2 *table, const struct kvm_cpuid2 *supported,
                           const struct cpuid_config *config);
/* Writes the APIC id, everywhere it shows. */
void cpuid_set_apic_id(struct kvm_cpuid2 *table, uint32_t apic_id);
