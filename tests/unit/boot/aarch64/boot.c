/* The whole start: what lies where, and what the device tree says of it. */
#include "boot/aarch64/boot.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>

#include "fixture.h"

struct start {
    struct gmem *mem;
    struct boot_config config;
    struct boot_regs regs;
    struct err err;
    const void *fdt;
};

static void start_init(struct start *start, uint64_t mem_size)
{
    struct image image;

    image_fill(&image);
    *start = (struct start){
        .mem = ram_make(mem_size),
        .config = {.kernel = file_make("kernel", &image, sizeof(image)),
                   .initrd = {.fd = -1},
                   .cmdline = "console=ttyS0 quiet",
                   .machine = {.vcpu_count = 2,
                               .affinities = {0, 0x100000001},
                               .gic = BOOT_GIC_V3_ITS,
                               .has_pmu = true}},
    };
}

static void start_load(struct start *start)
{
    cr_assert_eq(boot_load(start->mem, &start->config, &start->regs, &start->err), 0, "%s",
                 start->err.text);
    start->fdt = gmem_ptr(start->mem, start->regs.device_tree, 0x10000);
    cr_assert_not_null(start->fdt);
    cr_assert_eq(fdt_check_full(start->fdt, 0x10000), 0);
}

static void start_free(struct start *start)
{
    boot_file_close(&start->config.kernel);
    boot_file_close(&start->config.initrd);
    gmem_destroy(start->mem);
}

/* Cell `index` of a property; fails when there is none. */
static uint32_t cell(const struct start *start, const char *path, const char *name, int index)
{
    int len, node = fdt_path_offset(start->fdt, path);
    const fdt32_t *cells;

    cr_assert_geq(node, 0, "no node %s", path);
    cells = fdt_getprop(start->fdt, node, name, &len);
    cr_assert(cells && len >= 4 * (index + 1), "%s: no cell %d of %s", path, index, name);
    return fdt32_to_cpu(cells[index]);
}

static uint64_t cells_2(const struct start *start, const char *path, const char *name, int index)
{
    return (uint64_t)cell(start, path, name, index) << 32 | cell(start, path, name, index + 1);
}

static const char *text(const struct start *start, const char *path, const char *name)
{
    return fdt_getprop(start->fdt, fdt_path_offset(start->fdt, path), name, NULL);
}

static bool has(const struct start *start, const char *path, const char *name)
{
    int node = fdt_path_offset(start->fdt, path);

    return node >= 0 && (!name || fdt_getprop(start->fdt, node, name, NULL));
}

Test(boot, processor_starts_at_the_kernel_with_the_tree)
{
    struct start start;

    start_init(&start, 64 * MIB);
    start_load(&start);
    cr_assert_eq(start.regs.pc, LAYOUT_RAM_BASE + IMAGE_TEXT_OFFSET);
    cr_assert_eq(start.regs.device_tree.addr % 8, 0);
    cr_assert_geq(start.regs.device_tree.addr, start.regs.pc + IMAGE_SIZE);
    cr_assert_str_eq(text(&start, "/chosen", "bootargs"), "console=ttyS0 quiet");
    cr_assert(!has(&start, "/chosen", "linux,initrd-start"));
    start_free(&start);
}

Test(boot, initrd_lies_behind_all_else_and_is_announced)
{
    static uint8_t bytes[12345];
    uint64_t base;
    struct start start;
    const uint8_t *host;

    memset(bytes, 0x5a, sizeof(bytes));
    start_init(&start, 64 * MIB);
    start.config.initrd = file_make("initrd", bytes, sizeof(bytes));
    start_load(&start);
    base = cells_2(&start, "/chosen", "linux,initrd-start", 0);
    cr_assert_eq(cells_2(&start, "/chosen", "linux,initrd-end", 0), base + sizeof(bytes));
    cr_assert_geq(base, start.regs.device_tree.addr + 0x10000);
    host = gmem_ptr(start.mem, gpa(base), sizeof(bytes));
    cr_assert(host && !memcmp(host, bytes, sizeof(bytes)));
    start_free(&start);
}

Test(boot, tree_says_where_memory_is_also_above_4_gib)
{
    struct start start;

    start_init(&start, 8192 * MIB);
    start_load(&start);
    cr_assert_eq(cells_2(&start, "/memory@40000000", "reg", 0), LAYOUT_RAM_BASE);
    cr_assert_eq(cells_2(&start, "/memory@40000000", "reg", 2), 8192 * MIB);
    start_free(&start);
}

Test(boot, tree_has_each_processor_by_its_affinity)
{
    struct start start;

    start_init(&start, 64 * MIB);
    start_load(&start);
    cr_assert_eq(cells_2(&start, "/cpus/cpu@0", "reg", 0), 0);
    cr_assert_eq(cells_2(&start, "/cpus/cpu@100000001", "reg", 0), 0x100000001);
    cr_assert_str_eq(text(&start, "/cpus/cpu@0", "enable-method"), "psci");
    cr_assert_str_eq(text(&start, "/psci", "method"), "hvc");
    start_free(&start);
}

Test(boot, tree_has_the_interrupt_controller_that_there_is)
{
    struct start start;

    start_init(&start, 64 * MIB);
    start_load(&start);
    cr_assert_str_eq(text(&start, "/interrupt-controller@8000000", "compatible"), "arm,gic-v3");
    cr_assert_eq(cells_2(&start, "/interrupt-controller@8000000", "reg", 6),
                 2 * LAYOUT_GIC_REDIST_LEN);
    cr_assert_eq(
        cell(&start, "/pcie@3f000000", "msi-map", 1),
        cell(&start, "/interrupt-controller@8000000/msi-controller@8080000", "phandle", 0));

    start.config.machine.gic = BOOT_GIC_V3;
    start_load(&start);
    cr_assert(!has(&start, "/interrupt-controller@8000000/msi-controller@8080000", NULL));
    cr_assert(!has(&start, "/pcie@3f000000", "msi-map"));

    start.config.machine.gic = BOOT_GIC_V2;
    start_load(&start);
    cr_assert_str_eq(text(&start, "/interrupt-controller@8000000", "compatible"),
                     "arm,cortex-a15-gic");
    cr_assert_eq(cell(&start, "/timer", "interrupts", 2), 0x304, "both processors, level high");
    cr_assert_eq(cell(&start, "/pcie@3f000000", "msi-map", 1),
                 cell(&start, "/interrupt-controller@8000000/v2m@8020000", "phandle", 0));
    start_free(&start);
}

Test(boot, performance_monitor_is_in_the_tree_when_there_is_one)
{
    struct start start;

    start_init(&start, 64 * MIB);
    start_load(&start);
    cr_assert_eq(cell(&start, "/pmu", "interrupts", 1), LAYOUT_PPI_PMU);
    start.config.machine.has_pmu = false;
    start_load(&start);
    cr_assert(!has(&start, "/pmu", NULL));
    start_free(&start);
}

Test(boot, each_slot_and_pin_has_the_interrupt_that_the_bus_drives)
{
    enum { ENTRY = 10 };
    struct start start;

    start_init(&start, 64 * MIB);
    start_load(&start);
    for (int slot = 0; slot < 4; slot++) {
        for (int pin = 0; pin < 4; pin++) {
            int entry = ENTRY * (4 * slot + pin);

            cr_assert_eq(cell(&start, "/pcie@3f000000", "interrupt-map", entry), slot << 11);
            cr_assert_eq(cell(&start, "/pcie@3f000000", "interrupt-map", entry + 3), pin + 1);
            cr_assert_eq(cell(&start, "/pcie@3f000000", "interrupt-map", entry + 8),
                         LAYOUT_GSI_PCI_BASE + (slot + pin) % 4);
        }
    }
    start_free(&start);
}

Test(boot, tree_has_the_mmio_devices_that_there_are)
{
    struct start start;

    start_init(&start, 64 * MIB);
    start.config.machine.virtio_mmio_count = 2;
    start_load(&start);
    cr_assert_eq(cell(&start, "/virtio@a001000", "interrupts", 1), LAYOUT_GSI_VIRTIO_BASE + 1);
    cr_assert(!has(&start, "/virtio@a002000", NULL));
    start_free(&start);
}

Test(boot, tree_says_where_to_report_a_panic)
{
    struct start start;

    start_init(&start, 64 * MIB);
    start_load(&start);
    cr_assert_str_eq(text(&start, "/pvpanic@9020000", "compatible"), "qemu,pvpanic-mmio");
    cr_assert_eq(cells_2(&start, "/pvpanic@9020000", "reg", 0), LAYOUT_PVPANIC_BASE);
    start_free(&start);
}

Test(boot, largest_machine_fits_into_the_tree)
{
    static char cmdline[2048];
    struct start start;

    memset(cmdline, 'x', sizeof(cmdline) - 1);
    start_init(&start, 64 * MIB);
    start.config.cmdline = cmdline;
    start.config.machine.vcpu_count = VCPU_COUNT_MAX;
    start.config.machine.virtio_mmio_count = LAYOUT_VIRTIO_MMIO_COUNT_MAX;
    for (uint32_t i = 0; i < VCPU_COUNT_MAX; i++)
        start.config.machine.affinities[i] = 0xff00ffff00 + i;
    start_load(&start);
    cr_assert_str_eq(text(&start, "/chosen", "bootargs"), cmdline);
    start_free(&start);
}

Test(boot, seeds_differ_from_start_to_start)
{
    struct start start;
    uint64_t first;

    start_init(&start, 64 * MIB);
    start_load(&start);
    first = cells_2(&start, "/chosen", "kaslr-seed", 0);
    cr_assert_neq(first, cells_2(&start, "/chosen", "rng-seed", 0));
    start_load(&start);
    cr_assert_neq(cells_2(&start, "/chosen", "kaslr-seed", 0), first);
    start_free(&start);
}

static void expect(struct start *start, int code, const char *line)
{
    int ret = boot_load(start->mem, &start->config, &start->regs, &start->err);

    cr_assert_eq(ret, code, "%d: %s", ret, start->err.text);
    cr_assert_not_null(strstr(start->err.text, line), "%s", start->err.text);
}

Test(boot, what_does_not_fit_is_refused)
{
    static char cmdline[2049], bytes[MIB];
    struct start start;

    memset(cmdline, 'x', sizeof(cmdline) - 1);
    start_init(&start, 64 * MIB);
    start.config.cmdline = cmdline;
    expect(&start, -E2BIG, "shorten --params");
    start_free(&start);

    start_init(&start, 2 * MIB);
    expect(&start, -ENOMEM, "no room for a device tree");
    start_free(&start);

    start_init(&start, 3 * MIB);
    start.config.initrd = file_make("initrd", bytes, sizeof(bytes));
    expect(&start, -ENOMEM, "initrd /boot/file: 1 MiB do not fit");
    start_free(&start);
}
