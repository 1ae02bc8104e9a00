/* The end of the machine, by whatever it has. */
#include <stddef.h>

#include "../arch.h"
#include "../memory.h"
#include "tables.h"

/* ACPI 6.4, 5.2: the fields that matter here, at their offsets. */
enum {
    RSDP_XSDT = 24,
    TABLE_LENGTH = 4,
    TABLE_HEADER_SIZE = 36,
    FADT_PM1A_CONTROL = 64,
    FADT_X_DSDT = 140,
    FADT_X_DSDT_END = FADT_X_DSDT + 8,
    FADT_DSDT = 40,
    SLEEP_ENABLE = 1 << 13,
    SLEEP_TYPE_SHIFT = 10,
    /* AML: the name _S5_, a package, its length and count, a byte. */
    AML_PACKAGE = 0x12,
    AML_BYTE_PREFIX = 0x0a,
};

/* Tables lie where they like. */
static uint64_t field(uint64_t table, uint32_t offset, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, (const void *)(uintptr_t)(table + offset), size);
    return value;
}

static uint64_t fadt_find(uint64_t rsdp)
{
    uint64_t xsdt = rsdp ? field(rsdp, RSDP_XSDT, 8) : 0;
    uint64_t length = xsdt ? field(xsdt, TABLE_LENGTH, 4) : 0;

    for (uint64_t at = TABLE_HEADER_SIZE; at + 8 <= length; at += 8) {
        uint64_t table = field(xsdt, (uint32_t)at, 8);

        if (!memcmp((const void *)(uintptr_t)table, "FACP", 4))
            return table;
    }
    return 0;
}

/* SLP_TYPa of \_S5, or -1. */
static int sleep_type_find(uint64_t dsdt)
{
    const uint8_t *aml = (const uint8_t *)(uintptr_t)dsdt;
    uint64_t length = field(dsdt, TABLE_LENGTH, 4);

    for (uint64_t at = TABLE_HEADER_SIZE; at + 9 <= length; at++) {
        const uint8_t *value = aml + at + 4;

        if (memcmp(aml + at, "_S5_", 4) || *value != AML_PACKAGE)
            continue;
        value += 3;
        return value[0] == AML_BYTE_PREFIX ? value[1] : value[0];
    }
    return -1;
}

static void acpi_power_off(uint64_t rsdp)
{
    uint64_t fadt = fadt_find(rsdp), port, dsdt = 0;
    int type;

    if (!fadt)
        return;
    port = field(fadt, FADT_PM1A_CONTROL, 4);
    if (field(fadt, TABLE_LENGTH, 4) >= FADT_X_DSDT_END)
        dsdt = field(fadt, FADT_X_DSDT, 8);
    if (!dsdt)
        dsdt = field(fadt, FADT_DSDT, 4);
    if (!port || !dsdt)
        return;
    type = sleep_type_find(dsdt);
    if (type >= 0)
        out16((uint16_t)port, (uint16_t)(SLEEP_ENABLE | type << SLEEP_TYPE_SHIFT));
}

void power_off(const struct boot_info *info)
{
    acpi_power_off(info->rsdp);
    out8(0xcf9, 6);
    out8(0x64, 0xfe);
    triple_fault();
    for (;;)
        cpu_relax();
}
