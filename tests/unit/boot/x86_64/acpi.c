#include "boot/x86_64/acpi.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "mem/layout.h"

enum { TABLE_COUNT_MAX = 8, HEADER_SIZE = 36 };

struct table {
    const uint8_t *bytes;
    uint32_t length;
};

struct tables {
    struct gmem *mem;
    uint64_t rsdp;
    struct table list[TABLE_COUNT_MAX]; /* XSDT, what it names, DSDT */
    size_t count;
};

static uint64_t number(const uint8_t *bytes, size_t offset, size_t len)
{
    uint64_t value = 0;

    memcpy(&value, bytes + offset, len);
    return value;
}

static const uint8_t *at(const struct gmem *mem, uint64_t address, uint64_t len)
{
    const uint8_t *bytes = gmem_ptr(mem, gpa(address), len);

    cr_assert(address >= LAYOUT_ACPI_BASE && address + len <= LAYOUT_BIOS_END);
    cr_assert_not_null(bytes);
    return bytes;
}

static const struct table *add(struct tables *tables, uint64_t address)
{
    struct table *table = &tables->list[tables->count++];

    table->length = (uint32_t)number(at(tables->mem, address, HEADER_SIZE), 4, 4);
    table->bytes = at(tables->mem, address, table->length);
    return table;
}

static const struct table *find(const struct tables *tables, const char *signature)
{
    for (size_t i = 0; i < tables->count; i++)
        if (!memcmp(tables->list[i].bytes, signature, 4))
            return &tables->list[i];
    cr_assert(false, "no table %s", signature);
    return NULL;
}

static void tables_make(struct tables *tables, const struct acpi_config *config, uint64_t mem_size)
{
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    const struct table *xsdt;
    size_t count;

    *tables = (struct tables){.mem = NULL};
    cr_assert_eq(layout_ram_ranges(mem_size, ranges, &count, NULL), 0);
    cr_assert_eq(gmem_create(&tables->mem, ranges, count, NULL), 0);
    tables->rsdp = acpi_write(tables->mem, config).addr;
    xsdt = add(tables, number(at(tables->mem, tables->rsdp, 36), 24, 8));
    for (uint32_t offset = HEADER_SIZE; offset < xsdt->length; offset += 8)
        add(tables, number(xsdt->bytes, offset, 8));
    add(tables, number(find(tables, "FACP")->bytes, 140, 8));
}

static uint8_t sum(const uint8_t *bytes, size_t len)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum;
}

static const struct acpi_config small = {.vcpu_count = 1, .com_mask = 1};
static const struct acpi_config large = {.vcpu_count = VCPU_COUNT_MAX,
                                         .com_mask = 0xf,
                                         .virtio_mmio_count = LAYOUT_VIRTIO_MMIO_COUNT_MAX};

Test(acpi, every_table_sums_to_zero)
{
    struct tables tables;
    const uint8_t *rsdp;

    tables_make(&tables, &large, 8ULL << 30);
    rsdp = at(tables.mem, tables.rsdp, 36);
    cr_assert_arr_eq(rsdp, "RSD PTR ", 8);
    cr_assert_eq(sum(rsdp, 20), 0);
    cr_assert_eq(sum(rsdp, 36), 0);
    cr_assert_eq(tables.count, 5);
    for (size_t i = 0; i < tables.count; i++)
        cr_assert_eq(sum(tables.list[i].bytes, tables.list[i].length), 0, "%.4s",
                     (const char *)tables.list[i].bytes);
    gmem_destroy(tables.mem);
}

Test(acpi, scan_of_the_bios_area_finds_the_rsdp)
{
    struct tables tables;

    tables_make(&tables, &small, 64 << 20);
    cr_assert_eq(tables.rsdp % 16, 0);
    cr_assert(tables.rsdp >= 0xe0000 && tables.rsdp < 0x100000);
    gmem_destroy(tables.mem);
}

Test(acpi, madt_names_each_vcpu_once)
{
    struct tables tables;
    const struct table *madt;
    uint64_t seen = 0;

    tables_make(&tables, &large, 64 << 20);
    madt = find(&tables, "APIC");
    for (uint32_t offset = 44; offset < madt->length; offset += madt->bytes[offset + 1]) {
        cr_assert_neq(madt->bytes[offset + 1], 0);
        if (madt->bytes[offset] != 0)
            continue;
        cr_assert_eq(madt->bytes[offset + 2], madt->bytes[offset + 3]);
        cr_assert_eq(number(madt->bytes, offset + 4, 4), 1, "enabled");
        cr_assert_eq(seen & 1ULL << madt->bytes[offset + 3], 0);
        seen |= 1ULL << madt->bytes[offset + 3];
    }
    cr_assert_eq(seen, UINT64_MAX);
    gmem_destroy(tables.mem);
}

Test(acpi, fadt_tells_how_to_reset_and_to_power_off)
{
    struct tables tables;
    const uint8_t *fadt;
    uint32_t flags;

    tables_make(&tables, &small, 64 << 20);
    fadt = find(&tables, "FACP")->bytes;
    flags = (uint32_t)number(fadt, 112, 4);
    cr_assert(flags & 1 << 10, "reset register");
    cr_assert_not(flags & 1 << 4, "the power button is fixed hardware");
    cr_assert_not(flags & 1 << 20, "not hardware-reduced");
    cr_assert_eq(number(fadt, 116, 1), 1);
    cr_assert_eq(number(fadt, 120, 8), LAYOUT_PORT_PM_RESET);
    cr_assert_eq(fadt[128], LAYOUT_PM_RESET_VALUE);
    cr_assert_eq(number(fadt, 56, 4), LAYOUT_PORT_PM1_EVENT);
    cr_assert_eq(number(fadt, 64, 4), LAYOUT_PORT_PM1_CONTROL);
    cr_assert_eq(number(fadt, 152, 8), LAYOUT_PORT_PM1_EVENT);
    cr_assert_eq(number(fadt, 36, 4) % 64, 0, "FACS is aligned");
    cr_assert_arr_eq(at(tables.mem, number(fadt, 36, 4), 64), "FACS", 4);
    cr_assert_eq(number(fadt, 132, 8), 0, "no second FACS");
    cr_assert_eq(number(fadt, 40, 4), number(fadt, 140, 8), "one DSDT");
    gmem_destroy(tables.mem);
}

static bool have_iasl(void)
{
    return access("/usr/bin/iasl", X_OK) == 0;
}

static void write_file(const char *path, const struct table *table)
{
    FILE *file = fopen(path, "wb");

    cr_assert_not_null(file);
    cr_assert_eq(fwrite(table->bytes, 1, table->length, file), table->length);
    cr_assert_eq(fclose(file), 0);
}

static void read_file(const char *path, uint8_t *bytes, size_t len)
{
    FILE *file = fopen(path, "rb");

    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fread(bytes, 1, len, file), len);
    cr_assert_eq(fgetc(file), EOF);
    cr_assert_eq(fclose(file), 0);
}

/* iasl exits with 0 after mere warnings, so what it prints is searched for them. */
static void run_clean(const char *command)
{
    char line[512];
    FILE *pipe = popen(command, "r");

    cr_assert_not_null(pipe);
    while (fgets(line, sizeof(line), pipe)) {
        cr_assert_null(strstr(line, "Error  "), "%s", line);
        cr_assert_null(strstr(line, "Warning "), "%s", line);
        cr_assert_null(strstr(line, "Remark "), "%s", line);
        cr_assert_null(strstr(line, "Could not"), "%s", line);
    }
    cr_assert_eq(pclose(pipe), 0, "%s", command);
}

/* Disassembles a table and compiles it again: what comes out is what went in. */
static void recompile(const char *folder, const struct table *table)
{
    char path[256], command[1024];
    uint8_t *again = malloc(table->length);

    cr_assert_not_null(again);
    snprintf(path, sizeof(path), "%s/t.dat", folder);
    write_file(path, table);
    snprintf(command, sizeof(command),
             "cd %s && iasl -d t.dat 2>&1 && mv t.dsl u.dsl && iasl -p u u.dsl 2>&1", folder);
    run_clean(command);
    snprintf(path, sizeof(path), "%s/u.aml", folder);
    read_file(path, again, table->length);
    /* The compiler leaves its own name and version, and so another checksum. */
    cr_assert_arr_eq(again, table->bytes, 9);
    cr_assert_arr_eq(again + 10, table->bytes + 10, 18);
    cr_assert_arr_eq(again + HEADER_SIZE, table->bytes + HEADER_SIZE, table->length - HEADER_SIZE);
    free(again);
}

static void recompile_all(const struct acpi_config *config, uint64_t mem_size)
{
    char folder[] = "/tmp/ringvm-acpi-XXXXXX", command[64];
    struct tables tables;

    cr_assert_not_null(mkdtemp(folder));
    tables_make(&tables, config, mem_size);
    for (size_t i = 0; i < tables.count; i++)
        recompile(folder, &tables.list[i]);
    gmem_destroy(tables.mem);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

Test(acpi, tables_of_a_small_machine_survive_the_acpica_compiler)
{
    if (!have_iasl())
        cr_skip_test("no iasl: install acpica-tools");
    recompile_all(&small, 64 << 20);
}

Test(acpi, tables_of_a_large_machine_survive_the_acpica_compiler)
{
    if (!have_iasl())
        cr_skip_test("no iasl: install acpica-tools");
    recompile_all(&large, 8ULL << 30);
}
