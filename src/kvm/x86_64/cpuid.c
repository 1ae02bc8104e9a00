#include "kvm/x86_64/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>

#include "base/compiler.h"

enum {
    LEAF_1_ECX_VMX = 1 << 5,
    LEAF_1_ECX_TSC_DEADLINE = 1 << 24,
    LEAF_1_EDX_HTT = 1 << 28,
    LEAF_81_ECX_CMP_LEGACY = 1 << 1,
    LEAF_81_ECX_SVM = 1 << 2,
};
#define LEAF_1_ECX_HYPERVISOR (1u << 31)

enum { TOPOLOGY_INVALID, TOPOLOGY_SMT, TOPOLOGY_CORE };

/* The clock of KVM's local APIC timers: 1 GHz. */
enum { APIC_BUS_KHZ = 1000000 };

struct kvm_cpuid2 *cpuid_alloc(void)
{
    struct kvm_cpuid2 *table =
        calloc(1, sizeof(*table) + CPUID_ENTRY_COUNT_MAX * sizeof(table->entries[0]));

    if (table)
        table->nent = CPUID_ENTRY_COUNT_MAX;
    return table;
}

/* Bits of an APIC id that number `count` cores. */
static uint32_t id_bits(uint32_t count)
{
    return count > 1 ? 32 - (uint32_t)__builtin_clz(count - 1) : 0;
}

static uint32_t field(uint32_t value, unsigned shift, unsigned width, uint32_t bits)
{
    uint32_t mask = ((1u << width) - 1) << shift;

    return (value & ~mask) | ((bits << shift) & mask);
}

static must_check int append(struct kvm_cpuid2 *table, const struct kvm_cpuid_entry2 *entry)
{
    /* vCPU 0's leaf of ids is all zeros until cpuid_set_apic_id. */
    if (!(entry->eax | entry->ebx | entry->ecx | entry->edx) && entry->function != 0x8000001e)
        return 0;
    if (table->nent == CPUID_ENTRY_COUNT_MAX)
        return -E2BIG;
    table->entries[table->nent++] = *entry;
    return 0;
}

/* Leaf 4 of Intel and 0x8000001d of AMD: private level 1 and 2 caches, the rest shared by all. */
static void cache_adjust(struct kvm_cpuid_entry2 *entry, uint32_t vcpu_count)
{
    uint32_t type = entry->eax & 0x1f;
    uint32_t level = entry->eax >> 5 & 7;

    if (!type)
        return;
    entry->eax = field(entry->eax, 14, 12, level < 3 ? 0 : vcpu_count - 1);
    if (entry->function == 4)
        entry->eax = field(entry->eax, 26, 6, vcpu_count - 1);
}

/* False when the entry is dropped. */
static bool entry_adjust(struct kvm_cpuid_entry2 *entry, const struct cpuid_config *config)
{
    uint32_t count = config->vcpu_count;

    switch (entry->function) {
    case 0x1:
        entry->ebx = field(entry->ebx, 16, 8, count);
        entry->ecx &= ~(uint32_t)(LEAF_1_ECX_VMX | LEAF_1_ECX_TSC_DEADLINE);
        entry->ecx |= LEAF_1_ECX_HYPERVISOR;
        if (config->has_tsc_deadline)
            entry->ecx |= LEAF_1_ECX_TSC_DEADLINE;
        entry->edx &= ~(uint32_t)LEAF_1_EDX_HTT;
        if (count > 1)
            entry->edx |= LEAF_1_EDX_HTT;
        return true;
    case 0x4:
    case 0x8000001d:
        cache_adjust(entry, count);
        return true;
    case 0xb:  /* made by topology_append */
    case 0x1f: /* the guest falls back to 0xb */
    case 0x8000000a:
    case 0x80000026:
        return false;
    case 0x80000001:
        entry->ecx &= ~(uint32_t)LEAF_81_ECX_SVM;
        if (count == 1)
            entry->ecx &= ~(uint32_t)LEAF_81_ECX_CMP_LEGACY;
        return true;
    case CPUID_BRAND_FIRST: /* made by brand_append */
    case CPUID_BRAND_FIRST + 1:
    case CPUID_BRAND_FIRST + 2:
        return false;
    case 0x80000008:
        entry->ecx = field(entry->ecx, 0, 8, count - 1);
        entry->ecx = field(entry->ecx, 12, 4, id_bits(count));
        return true;
    case 0x8000001e: /* one thread per core, one node */
        entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
        return true;
    case 0x40000000:
        entry->eax = 0x40000010;
        return true;
    case 0x40000010:
        return false;
    default:
        return true;
    }
}

static must_check int topology_append(struct kvm_cpuid2 *table, uint32_t vcpu_count)
{
    const struct kvm_cpuid_entry2 levels[] = {
        {.index = 0, .eax = 0, .ebx = 1, .ecx = TOPOLOGY_SMT << 8},
        {.index = 1, .eax = id_bits(vcpu_count), .ebx = vcpu_count, .ecx = TOPOLOGY_CORE << 8 | 1},
    };

    for (size_t i = 0; i < array_count(levels); i++) {
        struct kvm_cpuid_entry2 entry = levels[i];
        int ret;

        entry.function = 0xb;
        entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        ret = append(table, &entry);
        if (ret)
            return ret;
    }
    return 0;
}

static must_check int brand_append(struct kvm_cpuid2 *table, const struct cpuid_config *config)
{
    for (uint32_t i = 0; i < CPUID_BRAND_COUNT; i++) {
        const uint32_t *part = config->brand[i];
        struct kvm_cpuid_entry2 entry = {.function = CPUID_BRAND_FIRST + i,
                                         .eax = part[0],
                                         .ebx = part[1],
                                         .ecx = part[2],
                                         .edx = part[3]};
        int ret = append(table, &entry);

        if (ret)
            return ret;
    }
    return 0;
}

int cpuid_build(struct kvm_cpuid2 *table, const struct kvm_cpuid2 *supported,
                const struct cpuid_config *config)
{
    const struct kvm_cpuid_entry2 timing = {
        .function = 0x40000010, .eax = config->tsc_khz, .ebx = APIC_BUS_KHZ};
    uint32_t leaf_max = 0;
    int ret;

    table->nent = 0;
    for (uint32_t i = 0; i < supported->nent; i++) {
        struct kvm_cpuid_entry2 entry = supported->entries[i];

        if (!entry.function)
            leaf_max = entry.eax;
        if (!entry_adjust(&entry, config))
            continue;
        ret = append(table, &entry);
        if (ret)
            return ret;
    }
    if (leaf_max >= 0xb) {
        ret = topology_append(table, config->vcpu_count);
        if (ret)
            return ret;
    }
    ret = brand_append(table, config);
    if (ret)
        return ret;
    return config->tsc_khz ? append(table, &timing) : 0;
}

void cpuid_set_apic_id(struct kvm_cpuid2 *table, uint32_t apic_id)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &table->entries[i];

        switch (entry->function) {
        case 0x1:
            entry->ebx = field(entry->ebx, 24, 8, apic_id);
            break;
        case 0xb:
            entry->edx = apic_id;
            break;
        case 0x8000001e:
            entry->eax = apic_id;
            entry->ebx = field(entry->ebx, 0, 8, apic_id);
            break;
        }
    }
}
