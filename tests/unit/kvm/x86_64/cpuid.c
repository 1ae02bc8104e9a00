/* The CPUID table: topology, hypervisor leaves, what is kept from the guest. */
#include "kvm/x86_64/cpuid.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>

/* An AMD and an Intel processor in one, as far as these leaves go. */
static const struct kvm_cpuid_entry2 host[] = {
    {.function = 0x0, .eax = 0x1f, .ebx = 0x68747541},
    {.function = 0x1, .eax = 0xa10f11, .ebx = 0x00020800, .ecx = 0x01202020, .edx = 0x078bfbff},
    {.function = 0x2},
    {.function = 0x4, .index = 0, .flags = 1, .eax = 0xfc000121, .ebx = 1},
    {.function = 0x4, .index = 3, .flags = 1, .eax = 0xfc03c163, .ebx = 1},
    {.function = 0x7, .flags = 1, .ebx = 0x20},
    {.function = 0xb, .index = 0, .flags = 1, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 7},
    {.function = 0xb, .index = 1, .flags = 1, .eax = 7, .ebx = 128, .ecx = 0x201, .edx = 7},
    {.function = 0x1f, .index = 0, .flags = 1, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 7},
    {.function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b},
    {.function = 0x40000001, .eax = 0x01007efb},
    {.function = 0x80000000, .eax = 0x80000021},
    {.function = 0x80000001, .ecx = 0x00400397},
    {.function = 0x80000002, .eax = 0x20202020},
    {.function = 0x80000008, .eax = 0x3030, .ecx = 0x7001},
    {.function = 0x8000000a, .eax = 1, .ebx = 8},
    {.function = 0x8000001d, .index = 0, .flags = 1, .eax = 0x4121},
    {.function = 0x8000001d, .index = 3, .flags = 1, .eax = 0x4163},
    {.function = 0x8000001e, .eax = 9, .ebx = 0x109, .ecx = 0x302},
};

static struct kvm_cpuid2 *build(uint32_t vcpu_count, uint32_t apic_id)
{
    const struct cpuid_config config = {.vcpu_count = vcpu_count,
                                        .tsc_khz = 2600000,
                                        .has_tsc_deadline = true,
                                        .brand = {{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}}};
    struct kvm_cpuid2 *supported = cpuid_alloc(), *table = cpuid_alloc();

    cr_assert(supported && table);
    memcpy(supported->entries, host, sizeof(host));
    supported->nent = sizeof(host) / sizeof(host[0]);
    cr_assert_eq(cpuid_build(table, supported, &config), 0);
    cpuid_set_apic_id(table, apic_id);
    free(supported);
    return table;
}

/* NULL: the leaf reads as zeros. */
static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *table, uint32_t function,
                                           uint32_t index)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        if (table->entries[i].function == function && table->entries[i].index == index)
            return &table->entries[i];
    }
    return NULL;
}

Test(cpuid, topology_leaves_agree_on_single_threaded_cores_of_one_socket)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 64}, bits[] = {0, 1, 2, 2, 3, 6};

    for (int i = 0; i < 6; i++) {
        struct kvm_cpuid2 *table = build(counts[i], counts[i] - 1);
        const struct kvm_cpuid_entry2 *entry = find(table, 0x1, 0);

        cr_assert_eq(entry->ebx >> 24, counts[i] - 1);
        cr_assert_eq(entry->ebx >> 16 & 0xff, counts[i]);
        cr_assert_eq(entry->edx >> 28 & 1, counts[i] > 1);
        cr_assert_eq(find(table, 0x4, 0)->eax >> 26, counts[i] - 1);
        cr_assert_eq(find(table, 0x4, 0)->eax >> 14 & 0xfff, 0, "private");
        cr_assert_eq(find(table, 0x4, 3)->eax >> 14 & 0xfff, counts[i] - 1, "shared by all");
        entry = find(table, 0xb, 0);
        cr_assert(entry->eax == 0 && entry->ebx == 1 && entry->ecx == 0x100);
        cr_assert_eq(entry->edx, counts[i] - 1);
        entry = find(table, 0xb, 1);
        cr_assert(entry->eax == bits[i] && entry->ebx == counts[i] && entry->ecx == 0x201);
        cr_assert_eq(entry->edx, counts[i] - 1);
        cr_assert_null(find(table, 0x1f, 0));
        cr_assert_eq(find(table, 0x80000001, 0)->ecx >> 1 & 1, counts[i] > 1);
        cr_assert_eq(find(table, 0x80000008, 0)->ecx, (counts[i] - 1) | bits[i] << 12);
        cr_assert_eq(find(table, 0x8000001d, 0)->eax >> 14, 0);
        cr_assert_eq(find(table, 0x8000001d, 3)->eax >> 14, counts[i] - 1);
        entry = find(table, 0x8000001e, 0);
        cr_assert(entry->eax == counts[i] - 1 && entry->ebx == counts[i] - 1 && entry->ecx == 0);
        free(table);
    }
}

Test(cpuid, hypervisor_leaves_are_there)
{
    struct kvm_cpuid2 *table = build(2, 0);

    cr_assert(find(table, 0x1, 0)->ecx >> 31);
    cr_assert_eq(find(table, 0x40000000, 0)->eax, 0x40000010);
    cr_assert_eq(find(table, 0x40000001, 0)->eax, 0x01007efb);
    cr_assert_eq(find(table, 0x40000010, 0)->eax, 2600000);
    cr_assert(find(table, 0x1, 0)->ecx >> 24 & 1, "TSC deadline timer");
    free(table);
}

Test(cpuid, the_processor_has_the_name_that_it_has_on_the_host)
{
    struct kvm_cpuid2 *table = build(2, 0);

    for (uint32_t i = 0; i < 3; i++) {
        const struct kvm_cpuid_entry2 *entry = find(table, 0x80000002 + i, 0);

        cr_assert(entry->eax == 4 * i + 1 && entry->ebx == 4 * i + 2);
        cr_assert(entry->ecx == 4 * i + 3 && entry->edx == 4 * i + 4);
    }
    free(table);
}

Test(cpuid, nested_virtualization_is_kept_from_the_guest)
{
    struct kvm_cpuid2 *table = build(1, 0);

    cr_assert_not(find(table, 0x1, 0)->ecx >> 5 & 1, "VMX");
    cr_assert_not(find(table, 0x80000001, 0)->ecx >> 2 & 1, "SVM");
    cr_assert_null(find(table, 0x8000000a, 0));
    free(table);
}

Test(cpuid, other_leaves_pass_and_zeros_are_left_out)
{
    struct kvm_cpuid2 *table = build(1, 0);

    cr_assert_eq(find(table, 0x7, 0)->ebx, 0x20);
    cr_assert_eq(find(table, 0x80000008, 0)->eax, 0x3030);
    cr_assert_null(find(table, 0x2, 0));
    free(table);
}

Test(cpuid, table_that_is_full_is_an_error)
{
    const struct cpuid_config config = {.vcpu_count = 1, .tsc_khz = 1};
    struct kvm_cpuid2 *supported = cpuid_alloc(), *table = cpuid_alloc();

    cr_assert(supported && table);
    for (uint32_t i = 0; i < CPUID_ENTRY_COUNT_MAX; i++)
        supported->entries[i] = (struct kvm_cpuid_entry2){.function = 0x80000100 + i, .eax = 1};
    cr_assert_eq(cpuid_build(table, supported, &config), -E2BIG);
    free(supported);
    free(table);
}
