#include "boot/x86_64/acpi.h"

#include <string.h>

#include "base/arith.h"
#include "base/check.h"
#include "base/limits.h"
#include "boot/x86_64/dsdt.h"
#include "boot/x86_64/lowmem.h"
#include "mem/layout.h"

#define packed_fields __attribute__((packed))

/* ACPI 6.3, 5.2.3.2. */
struct acpi_gas {
    uint8_t space_id; /* 1: ports */
    uint8_t bit_width;
    uint8_t bit_offset;
    uint8_t access_size; /* 1: byte, 2: word, 3: dword */
    uint64_t address;
} packed_fields;

/* 5.2.5.3 */
struct acpi_rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt_address;
    uint32_t length;
    uint64_t xsdt_address;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} packed_fields;
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.3, 5.2.5.3");

/* 5.2.6 */
struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} packed_fields;
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.3, 5.2.6");

struct acpi_xsdt {
    struct acpi_header header;
    uint64_t tables[3];
} packed_fields;

/* 5.2.9 */
struct acpi_fadt {
    struct acpi_header header;
    uint32_t facs;
    uint32_t dsdt;
    uint8_t reserved0;
    uint8_t preferred_profile;
    uint16_t sci_interrupt;
    uint32_t smi_command;
    uint8_t acpi_enable;
    uint8_t acpi_disable;
    uint8_t s4_bios_request;
    uint8_t pstate_control;
    uint32_t pm1a_event;
    uint32_t pm1b_event;
    uint32_t pm1a_control;
    uint32_t pm1b_control;
    uint32_t pm2_control;
    uint32_t pm_timer;
    uint32_t gpe0;
    uint32_t gpe1;
    uint8_t pm1_event_len;
    uint8_t pm1_control_len;
    uint8_t pm2_control_len;
    uint8_t pm_timer_len;
    uint8_t gpe0_len;
    uint8_t gpe1_len;
    uint8_t gpe1_base;
    uint8_t cst_control;
    uint16_t c2_latency_us;
    uint16_t c3_latency_us;
    uint16_t flush_size;
    uint16_t flush_stride;
    uint8_t duty_offset;
    uint8_t duty_width;
    uint8_t day_alarm;
    uint8_t month_alarm;
    uint8_t century;
    uint16_t boot_flags;
    uint8_t reserved1;
    uint32_t flags;
    struct acpi_gas reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_flags;
    uint8_t minor_version;
    uint64_t x_facs;
    uint64_t x_dsdt;
    struct acpi_gas x_pm1a_event;
    struct acpi_gas x_pm1b_event;
    struct acpi_gas x_pm1a_control;
    struct acpi_gas x_pm1b_control;
    struct acpi_gas x_pm2_control;
    struct acpi_gas x_pm_timer;
    struct acpi_gas x_gpe0;
    struct acpi_gas x_gpe1;
    struct acpi_gas sleep_control;
    struct acpi_gas sleep_status;
    uint64_t hypervisor_id;
} packed_fields;
_Static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 6.3, 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, flags) == 112, "ACPI 6.3, 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, x_pm1a_event) == 148, "ACPI 6.3, 5.2.9");

enum {
    FADT_FLAG_WBINVD = 1 << 0,
    FADT_FLAG_PROC_C1 = 1 << 2,
    FADT_FLAG_NO_FIXED_SLEEP_BUTTON = 1 << 5,
    FADT_FLAG_NO_FIXED_RTC = 1 << 6, /* no RTC alarm in the PM1 registers */
    FADT_FLAG_TIMER_32 = 1 << 8,
    FADT_FLAG_RESET_REGISTER = 1 << 10,
    FADT_BOOT_LEGACY_DEVICES = 1 << 0,
    FADT_BOOT_8042 = 1 << 1,
    FADT_BOOT_NO_VGA = 1 << 2,
    /* Latencies that say: no such state. */
    FADT_NO_C2_US = 101,
    FADT_NO_C3_US = 1001,
};

/* 5.2.10 */
struct acpi_facs {
    char signature[4];
    uint32_t length;
    uint32_t hardware_signature;
    uint32_t waking_vector;
    uint32_t global_lock;
    uint32_t flags;
    uint64_t x_waking_vector;
    uint8_t version;
    uint8_t reserved[31];
} packed_fields;
_Static_assert(sizeof(struct acpi_facs) == 64, "ACPI 6.3, 5.2.10");

/* 5.2.12 */
struct madt_lapic {
    uint8_t type, length;
    uint8_t processor_uid;
    uint8_t apic_id;
    uint32_t flags;
} packed_fields;

struct madt_ioapic {
    uint8_t type, length;
    uint8_t ioapic_id;
    uint8_t reserved;
    uint32_t address;
    uint32_t gsi_base;
} packed_fields;

struct madt_override {
    uint8_t type, length;
    uint8_t bus;
    uint8_t irq;
    uint32_t gsi;
    uint16_t flags;
} packed_fields;

struct madt_lapic_nmi {
    uint8_t type, length;
    uint8_t processor_uid;
    uint16_t flags;
    uint8_t lint;
} packed_fields;

struct acpi_madt {
    struct acpi_header header;
    uint32_t lapic_address;
    uint32_t flags;
    struct madt_ioapic ioapic;
    struct madt_override pit;
    struct madt_override sci;
    struct madt_lapic_nmi nmi;
    struct madt_lapic lapics[];
} packed_fields;
_Static_assert(offsetof(struct acpi_madt, lapics) == 36 + 8 + 12 + 10 + 10 + 6, "ACPI 6.3, 5.2.12");

/* The local APIC entries have 8-bit identifiers, of which 0xff is taken. */
_Static_assert(VCPU_COUNT_MAX < 0xff, "x2APIC entries would be needed");

enum {
    MADT_TYPE_LAPIC = 0,
    MADT_TYPE_IOAPIC = 1,
    MADT_TYPE_OVERRIDE = 2,
    MADT_TYPE_LAPIC_NMI = 4,
    MADT_FLAG_PCAT_COMPAT = 1 << 0, /* there are also two 8259 */
    MADT_LAPIC_ENABLED = 1 << 0,
    MADT_ALL_PROCESSORS = 0xff,
    MADT_ACTIVE_HIGH_LEVEL = 1 << 0 | 3 << 2,
};

/* PCI firmware specification 3.2, 4.1.2. */
struct acpi_mcfg {
    struct acpi_header header;
    uint64_t reserved0;
    uint64_t base;
    uint16_t segment;
    uint8_t bus_first, bus_last;
    uint32_t reserved1;
} packed_fields;
_Static_assert(sizeof(struct acpi_mcfg) == 60, "PCI firmware specification 3.2, 4.1.2");

/* The area that the tables fill from its start; one after the other, each on a cache line of its
 * own. */
struct table_area {
    uint8_t *host;
    uint64_t base; /* guest-physical */
    size_t size;
    size_t used;
};

static void *table_alloc(struct table_area *area, size_t size)
{
    void *table = area->host + area->used;

    CHECK_CMP(size, <=, area->size - area->used);
    area->used = align_up(area->used + size, 64);
    return table;
}

static uint32_t table_address(const struct table_area *area, const void *table)
{
    return (uint32_t)(area->base + (uint64_t)((const uint8_t *)table - area->host));
}

/* The byte that makes the sum of all 0. */
static uint8_t table_checksum(const void *table, size_t size)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)table)[i]);
    return (uint8_t)-sum;
}

/* Last step of each table: its header with the checksum over all. */
static void table_seal(struct acpi_header *header, const char signature[4], uint8_t revision,
                       size_t size)
{
    *header = (struct acpi_header){
        .length = (uint32_t)size, .revision = revision, .oem_revision = 1, .creator_revision = 1};
    memcpy(header->signature, signature, 4);
    memcpy(header->oem_id, "RINGVM", 6);
    memcpy(header->oem_table_id, "RINGVM  ", 8);
    memcpy(header->creator_id, "RING", 4);
    header->checksum = table_checksum(header, size);
}

static uint32_t write_dsdt(struct table_area *area, const struct acpi_config *config,
                           uint64_t mem_size)
{
    size_t start = area->used;
    struct aml aml = {area->host + start, area->size - start, sizeof(struct acpi_header)};

    dsdt_append(&aml, config, mem_size);
    table_seal(table_alloc(area, aml.size), "DSDT", 2, aml.size);
    return (uint32_t)(area->base + start);
}

static uint32_t write_facs(struct table_area *area)
{
    struct acpi_facs *facs = table_alloc(area, sizeof(*facs));

    *facs = (struct acpi_facs){
        .signature = {'F', 'A', 'C', 'S'}, .length = sizeof(*facs), .version = 2};
    return table_address(area, facs);
}

static struct acpi_gas port_register(uint16_t port, uint8_t len, uint8_t access_size)
{
    return (struct acpi_gas){.space_id = 1,
                             .bit_width = (uint8_t)(len * 8),
                             .access_size = access_size,
                             .address = port};
}

/* The 32-bit fields are for guests that know ACPI 1 only; each agrees with its 64-bit sibling. The
 * FACS has one address only, or guests find two of it. */
static uint32_t write_fadt(struct table_area *area, uint32_t facs, uint32_t dsdt)
{
    struct acpi_fadt *fadt = table_alloc(area, sizeof(*fadt));

    *fadt = (struct acpi_fadt){
        .facs = facs,
        .dsdt = dsdt,
        .sci_interrupt = LAYOUT_IRQ_SCI,
        .pm1a_event = LAYOUT_PORT_PM1_EVENT,
        .pm1a_control = LAYOUT_PORT_PM1_CONTROL,
        .pm_timer = LAYOUT_PORT_PM_TIMER,
        .pm1_event_len = 4,
        .pm1_control_len = 2,
        .pm_timer_len = 4,
        .c2_latency_us = FADT_NO_C2_US,
        .c3_latency_us = FADT_NO_C3_US,
        .century = LAYOUT_RTC_CENTURY,
        .boot_flags = FADT_BOOT_LEGACY_DEVICES | FADT_BOOT_8042 | FADT_BOOT_NO_VGA,
        .flags = FADT_FLAG_WBINVD | FADT_FLAG_PROC_C1 | FADT_FLAG_NO_FIXED_SLEEP_BUTTON |
                 FADT_FLAG_NO_FIXED_RTC | FADT_FLAG_TIMER_32 | FADT_FLAG_RESET_REGISTER,
        .reset_register = port_register(LAYOUT_PORT_PM_RESET, 1, 1),
        .reset_value = LAYOUT_PM_RESET_VALUE,
        .minor_version = 3,
        .x_dsdt = dsdt,
        .x_pm1a_event = port_register(LAYOUT_PORT_PM1_EVENT, 4, 2),
        .x_pm1a_control = port_register(LAYOUT_PORT_PM1_CONTROL, 2, 2),
        .x_pm_timer = port_register(LAYOUT_PORT_PM_TIMER, 4, 3),
    };
    memcpy(&fadt->hypervisor_id, "RINGVM\0\0", sizeof(fadt->hypervisor_id));
    table_seal(&fadt->header, "FACP", 6, sizeof(*fadt));
    return table_address(area, fadt);
}

static uint32_t write_madt(struct table_area *area, uint32_t vcpu_count)
{
    size_t size = sizeof(struct acpi_madt) + vcpu_count * sizeof(struct madt_lapic);
    struct acpi_madt *madt = table_alloc(area, size);

    *madt = (struct acpi_madt){
        .lapic_address = (uint32_t)LAYOUT_LAPIC_BASE,
        .flags = MADT_FLAG_PCAT_COMPAT,
        .ioapic = {.type = MADT_TYPE_IOAPIC,
                   .length = sizeof(madt->ioapic),
                   .address = (uint32_t)LAYOUT_IOAPIC_BASE},
        .pit = {.type = MADT_TYPE_OVERRIDE,
                .length = sizeof(madt->pit),
                .irq = LAYOUT_IRQ_PIT,
                .gsi = LAYOUT_GSI_PIT},
        .sci = {.type = MADT_TYPE_OVERRIDE,
                .length = sizeof(madt->sci),
                .irq = LAYOUT_IRQ_SCI,
                .gsi = LAYOUT_IRQ_SCI,
                .flags = MADT_ACTIVE_HIGH_LEVEL},
        .nmi = {.type = MADT_TYPE_LAPIC_NMI,
                .length = sizeof(madt->nmi),
                .processor_uid = MADT_ALL_PROCESSORS,
                .lint = 1},
    };
    for (uint32_t i = 0; i < vcpu_count; i++)
        madt->lapics[i] = (struct madt_lapic){.type = MADT_TYPE_LAPIC,
                                              .length = sizeof(madt->lapics[i]),
                                              .processor_uid = (uint8_t)i,
                                              .apic_id = (uint8_t)i,
                                              .flags = MADT_LAPIC_ENABLED};
    table_seal(&madt->header, "APIC", 5, size);
    return table_address(area, madt);
}

static uint32_t write_mcfg(struct table_area *area)
{
    struct acpi_mcfg *mcfg = table_alloc(area, sizeof(*mcfg));

    *mcfg = (struct acpi_mcfg){.base = LAYOUT_ECAM_BASE, .bus_last = LAYOUT_PCI_BUS_COUNT - 1};
    table_seal(&mcfg->header, "MCFG", 1, sizeof(*mcfg));
    return table_address(area, mcfg);
}

gpa_t acpi_write(struct gmem *mem, const struct acpi_config *config)
{
    struct table_area area = {.base = LAYOUT_ACPI_BASE, .size = LAYOUT_BIOS_END - LAYOUT_ACPI_BASE};
    struct acpi_rsdp *rsdp;
    struct acpi_xsdt *xsdt;
    uint32_t dsdt, facs;

    CHECK(config->vcpu_count >= 1 && config->vcpu_count <= VCPU_COUNT_MAX);
    area.host = lowmem_ptr(mem, area.base, area.size);
    memset(area.host, 0, area.size);

    rsdp = table_alloc(&area, sizeof(*rsdp));
    xsdt = table_alloc(&area, sizeof(*xsdt));
    dsdt = write_dsdt(&area, config, gmem_size(mem));
    facs = write_facs(&area);
    xsdt->tables[0] = write_fadt(&area, facs, dsdt);
    xsdt->tables[1] = write_madt(&area, config->vcpu_count);
    xsdt->tables[2] = write_mcfg(&area);
    table_seal(&xsdt->header, "XSDT", 1, sizeof(*xsdt));

    *rsdp = (struct acpi_rsdp){
        .revision = 2, .length = sizeof(*rsdp), .xsdt_address = table_address(&area, xsdt)};
    memcpy(rsdp->signature, "RSD PTR ", 8);
    memcpy(rsdp->oem_id, "RINGVM", 6);
    rsdp->checksum = table_checksum(rsdp, 20);
    rsdp->extended_checksum = table_checksum(rsdp, sizeof(*rsdp));
    return gpa(table_address(&area, rsdp));
}
