#include "boot/aarch64/fdt.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/arith.h"
#include "base/check.h"
#include "mem/layout.h"

/* References to nodes. */
enum { PHANDLE_GIC = 1, PHANDLE_MSI, PHANDLE_CLOCK };

/* Bindings interrupt-controller/arm,gic-v3.yaml and arm,gic.yaml. */
enum { IRQ_SHARED = 0, IRQ_PRIVATE = 1, IRQ_LEVEL_HIGH = 4, IRQ_V2_CPUS_SHIFT = 8 };

/* Bindings pci/host-generic-pci.yaml; the first cell of a PCI address. */
#define PCI_SPACE_MEM32 0x02000000U
#define PCI_SPACE_MEM64 0x03000000U

enum {
    SERIAL_CLOCK_HZ = 1843200,
    BUS_CLOCK_HZ = 24000000,
    RNG_SEED_SIZE = 32,
    CELL_COUNT_MAX = 4 * LAYOUT_GSI_PCI_COUNT * 10,
};

/* Fails only when the tree is larger than its buffer, which is our bug. */
static void must(int ret)
{
    CHECK_CMP(ret, >=, 0);
}

static void node_begin(void *fdt, const char *name)
{
    must(fdt_begin_node(fdt, name));
}

static void node_begin_at(void *fdt, const char *name, uint64_t addr)
{
    char text[64];

    snprintf(text, sizeof(text), "%s@%llx", name, (unsigned long long)addr);
    node_begin(fdt, text);
}

static void node_end(void *fdt)
{
    must(fdt_end_node(fdt));
}

static void put_flag(void *fdt, const char *name)
{
    must(fdt_property(fdt, name, NULL, 0));
}

static void put_u32(void *fdt, const char *name, uint32_t value)
{
    must(fdt_property_u32(fdt, name, value));
}

static void put_u64(void *fdt, const char *name, uint64_t value)
{
    must(fdt_property_u64(fdt, name, value));
}

static void put_text(void *fdt, const char *name, const char *text)
{
    must(fdt_property_string(fdt, name, text));
}

/* Several strings, each with its zero; `size` counts them all. */
static void put_texts(void *fdt, const char *name, const char *texts, size_t size)
{
    must(fdt_property(fdt, name, texts, (int)size));
}
#define PUT_TEXTS(fdt, name, texts) put_texts(fdt, name, texts, sizeof(texts))

static void put_cells(void *fdt, const char *name, const uint32_t *cells, size_t count)
{
    fdt32_t raw[CELL_COUNT_MAX];

    CHECK_CMP(count, <=, array_count(raw));
    for (size_t i = 0; i < count; i++)
        raw[i] = cpu_to_fdt32(cells[i]);
    must(fdt_property(fdt, name, raw, (int)(count * sizeof(raw[0]))));
}
#define PUT_CELLS(fdt, name, ...)                         \
    put_cells(fdt, name, (const uint32_t[]){__VA_ARGS__}, \
              array_count(((const uint32_t[]){__VA_ARGS__})))

#define HIGH(value)    (uint32_t)((uint64_t)(value) >> 32)
#define LOW(value)     (uint32_t)(value)
#define CELLS_2(value) HIGH(value), LOW(value)

static void put_reg(void *fdt, uint64_t base, uint64_t len)
{
    PUT_CELLS(fdt, "reg", CELLS_2(base), CELLS_2(len));
}

static void put_interrupt(void *fdt, uint32_t gsi)
{
    PUT_CELLS(fdt, "interrupts", IRQ_SHARED, gsi, IRQ_LEVEL_HIGH);
}

/* The flags of a private interrupt; GICv2 wants to know whose it is. */
static uint32_t private_flags(const struct boot_machine *machine)
{
    uint32_t cpus = (1U << u64_min(machine->vcpu_count, 8)) - 1;

    return IRQ_LEVEL_HIGH | (machine->gic == BOOT_GIC_V2 ? cpus << IRQ_V2_CPUS_SHIFT : 0);
}

static int put_chosen(void *fdt, const struct fdt_info *info, struct err *err)
{
    struct {
        uint8_t rng[RNG_SEED_SIZE];
        uint64_t kaslr;
    } seeds;
    ssize_t ret = getrandom(&seeds, sizeof(seeds), 0);

    if (ret != sizeof(seeds))
        return err_set(err, ret < 0 ? -errno : -EIO,
                       "getrandom(2): cannot get a seed for the guest; is it forbidden here?");
    node_begin(fdt, "chosen");
    put_text(fdt, "bootargs", info->cmdline);
    put_text(fdt, "stdout-path", "serial0");
    must(fdt_property(fdt, "rng-seed", seeds.rng, sizeof(seeds.rng)));
    put_u64(fdt, "kaslr-seed", seeds.kaslr);
    if (info->initrd_size) {
        put_u64(fdt, "linux,initrd-start", info->initrd_base);
        put_u64(fdt, "linux,initrd-end", info->initrd_base + info->initrd_size);
    }
    node_end(fdt);
    return 0;
}

static uint64_t serial_base(unsigned index)
{
    return LAYOUT_SERIAL_BASE + index * LAYOUT_SERIAL_STRIDE;
}

static void put_aliases(void *fdt)
{
    node_begin(fdt, "aliases");
    for (unsigned i = 0; i < LAYOUT_SERIAL_COUNT; i++) {
        char name[16], path[32];

        snprintf(name, sizeof(name), "serial%u", i);
        snprintf(path, sizeof(path), "/serial@%llx", (unsigned long long)serial_base(i));
        put_text(fdt, name, path);
    }
    node_end(fdt);
}

static void put_memory(void *fdt, const struct gmem *mem)
{
    for (size_t i = 0; i < gmem_region_count(mem); i++) {
        const struct gmem_range *range = &gmem_region(mem, i)->range;

        node_begin_at(fdt, "memory", range->base.addr);
        put_text(fdt, "device_type", "memory");
        put_reg(fdt, range->base.addr, range->size);
        node_end(fdt);
    }
}

static void put_cpus(void *fdt, const struct boot_machine *machine)
{
    node_begin(fdt, "cpus");
    put_u32(fdt, "#address-cells", 2);
    put_u32(fdt, "#size-cells", 0);
    for (uint32_t i = 0; i < machine->vcpu_count; i++) {
        node_begin_at(fdt, "cpu", machine->affinities[i]);
        put_text(fdt, "device_type", "cpu");
        put_text(fdt, "compatible", "arm,armv8");
        put_u64(fdt, "reg", machine->affinities[i]);
        put_text(fdt, "enable-method", "psci");
        node_end(fdt);
    }
    node_end(fdt);

    node_begin(fdt, "psci");
    PUT_TEXTS(fdt, "compatible", "arm,psci-1.0\0arm,psci-0.2");
    put_text(fdt, "method", "hvc");
    node_end(fdt);
}

static void put_gic(void *fdt, const struct boot_machine *machine)
{
    node_begin_at(fdt, "interrupt-controller", LAYOUT_GIC_DIST_BASE);
    put_flag(fdt, "interrupt-controller");
    put_u32(fdt, "#interrupt-cells", 3);
    put_u32(fdt, "#address-cells", 2);
    put_u32(fdt, "#size-cells", 2);
    put_flag(fdt, "ranges");
    put_u32(fdt, "phandle", PHANDLE_GIC);
    if (machine->gic == BOOT_GIC_V2) {
        put_text(fdt, "compatible", "arm,cortex-a15-gic");
        PUT_CELLS(fdt, "reg", CELLS_2(LAYOUT_GIC_DIST_BASE), CELLS_2(LAYOUT_GIC_V2_DIST_LEN),
                  CELLS_2(LAYOUT_GIC_V2_CPU_BASE), CELLS_2(LAYOUT_GIC_V2_CPU_LEN));
    } else {
        put_text(fdt, "compatible", "arm,gic-v3");
        PUT_CELLS(fdt, "reg", CELLS_2(LAYOUT_GIC_DIST_BASE), CELLS_2(LAYOUT_GIC_DIST_LEN),
                  CELLS_2(LAYOUT_GIC_REDIST_BASE),
                  CELLS_2(machine->vcpu_count * LAYOUT_GIC_REDIST_LEN));
    }
    if (machine->gic == BOOT_GIC_V2) {
        node_begin_at(fdt, "v2m", LAYOUT_GIC_V2M_BASE);
        put_text(fdt, "compatible", "arm,gic-v2m-frame");
        put_flag(fdt, "msi-controller");
        put_reg(fdt, LAYOUT_GIC_V2M_BASE, LAYOUT_GIC_V2M_LEN);
        put_u32(fdt, "phandle", PHANDLE_MSI);
        node_end(fdt);
    }
    if (machine->gic == BOOT_GIC_V3_ITS) {
        node_begin_at(fdt, "msi-controller", LAYOUT_GIC_ITS_BASE);
        put_text(fdt, "compatible", "arm,gic-v3-its");
        put_flag(fdt, "msi-controller");
        put_u32(fdt, "#msi-cells", 1);
        put_reg(fdt, LAYOUT_GIC_ITS_BASE, LAYOUT_GIC_ITS_LEN);
        put_u32(fdt, "phandle", PHANDLE_MSI);
        node_end(fdt);
    }
    node_end(fdt);
}

/* What each vCPU has of its own. */
static void put_private(void *fdt, const struct boot_machine *machine)
{
    const uint32_t flags = private_flags(machine);

    node_begin(fdt, "timer");
    put_text(fdt, "compatible", "arm,armv8-timer");
    PUT_CELLS(fdt, "interrupts", IRQ_PRIVATE, LAYOUT_PPI_TIMER_SECURE, flags, IRQ_PRIVATE,
              LAYOUT_PPI_TIMER_PHYSICAL, flags, IRQ_PRIVATE, LAYOUT_PPI_TIMER_VIRTUAL, flags,
              IRQ_PRIVATE, LAYOUT_PPI_TIMER_HYPERVISOR, flags);
    put_flag(fdt, "always-on");
    node_end(fdt);
    if (!machine->has_pmu)
        return;
    node_begin(fdt, "pmu");
    put_text(fdt, "compatible", "arm,armv8-pmuv3");
    PUT_CELLS(fdt, "interrupts", IRQ_PRIVATE, LAYOUT_PPI_PMU, flags);
    node_end(fdt);
}

static void put_chips(void *fdt)
{
    for (unsigned i = 0; i < LAYOUT_SERIAL_COUNT; i++) {
        node_begin_at(fdt, "serial", serial_base(i));
        put_text(fdt, "compatible", "ns16550a");
        put_reg(fdt, serial_base(i), LAYOUT_SERIAL_LEN);
        put_interrupt(fdt, LAYOUT_GSI_SERIAL + i);
        put_u32(fdt, "clock-frequency", SERIAL_CLOCK_HZ);
        node_end(fdt);
    }

    node_begin(fdt, "clock");
    put_text(fdt, "compatible", "fixed-clock");
    put_u32(fdt, "#clock-cells", 0);
    put_u32(fdt, "clock-frequency", BUS_CLOCK_HZ);
    put_u32(fdt, "phandle", PHANDLE_CLOCK);
    node_end(fdt);

    node_begin_at(fdt, "rtc", LAYOUT_RTC_BASE);
    PUT_TEXTS(fdt, "compatible", "arm,pl031\0arm,primecell");
    put_reg(fdt, LAYOUT_RTC_BASE, LAYOUT_RTC_LEN);
    put_interrupt(fdt, LAYOUT_GSI_RTC);
    put_u32(fdt, "clocks", PHANDLE_CLOCK);
    put_text(fdt, "clock-names", "apb_pclk");
    node_end(fdt);

    node_begin_at(fdt, "pvpanic", LAYOUT_PVPANIC_BASE);
    put_text(fdt, "compatible", "qemu,pvpanic-mmio");
    put_reg(fdt, LAYOUT_PVPANIC_BASE, LAYOUT_PVPANIC_LEN);
    node_end(fdt);
}

static void put_virtio_mmio(void *fdt, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t base = LAYOUT_VIRTIO_MMIO_BASE + i * LAYOUT_VIRTIO_MMIO_LEN;

        node_begin_at(fdt, "virtio", base);
        put_text(fdt, "compatible", "virtio,mmio");
        put_reg(fdt, base, LAYOUT_VIRTIO_MMIO_LEN);
        put_interrupt(fdt, LAYOUT_GSI_VIRTIO_BASE + i % LAYOUT_GSI_VIRTIO_COUNT);
        put_flag(fdt, "dma-coherent");
        node_end(fdt);
    }
}

/* Pin p of slot s, by the two low bits of s; all slots with the same bits share their entries. */
static void put_interrupt_map(void *fdt)
{
    enum { PIN_COUNT = LAYOUT_GSI_PCI_COUNT, ENTRY_CELLS = 10, SLOT_SHIFT = 11 };
    uint32_t cells[PIN_COUNT * PIN_COUNT * ENTRY_CELLS];
    size_t count = 0;

    for (uint32_t slot = 0; slot < PIN_COUNT; slot++) {
        for (uint32_t pin = 0; pin < PIN_COUNT; pin++) {
            const uint32_t entry[ENTRY_CELLS] = {
                slot << SLOT_SHIFT,
                0,
                0,
                pin + 1,
                PHANDLE_GIC,
                0,
                0, /* the GIC's address in its own space */
                IRQ_SHARED,
                LAYOUT_GSI_PCI_BASE + (slot + pin) % PIN_COUNT,
                IRQ_LEVEL_HIGH,
            };

            memcpy(&cells[count], entry, sizeof(entry));
            count += ENTRY_CELLS;
        }
    }
    put_cells(fdt, "interrupt-map", cells, count);
    PUT_CELLS(fdt, "interrupt-map-mask", (PIN_COUNT - 1) << SLOT_SHIFT, 0, 0, 7);
}

static void put_pcie(void *fdt, const struct gmem *mem, const struct boot_machine *machine)
{
    uint64_t mem64_base = layout_pci_mem64_base(gmem_size(mem));

    node_begin_at(fdt, "pcie", LAYOUT_ECAM_BASE);
    put_text(fdt, "compatible", "pci-host-ecam-generic");
    put_text(fdt, "device_type", "pci");
    put_u32(fdt, "#address-cells", 3);
    put_u32(fdt, "#size-cells", 2);
    put_u32(fdt, "#interrupt-cells", 1);
    PUT_CELLS(fdt, "bus-range", 0, LAYOUT_PCI_BUS_COUNT - 1);
    put_u32(fdt, "linux,pci-domain", 0);
    put_reg(fdt, LAYOUT_ECAM_BASE, LAYOUT_ECAM_LEN);
    PUT_CELLS(fdt, "ranges", PCI_SPACE_MEM32, CELLS_2(LAYOUT_PCI_MEM32_BASE),
              CELLS_2(LAYOUT_PCI_MEM32_BASE), CELLS_2(LAYOUT_PCI_MEM32_LEN), PCI_SPACE_MEM64,
              CELLS_2(mem64_base), CELLS_2(mem64_base), CELLS_2(LAYOUT_PCI_MEM64_LEN));
    put_interrupt_map(fdt);
    if (machine->gic != BOOT_GIC_V3)
        PUT_CELLS(fdt, "msi-map", 0, PHANDLE_MSI, 0, 0x10000);
    put_flag(fdt, "dma-coherent");
    node_end(fdt);
}

int fdt_write(void *host, const struct gmem *mem, const struct boot_machine *machine,
              const struct fdt_info *info, struct err *err)
{
    int ret;

    must(fdt_create(host, FDT_SIZE_MAX));
    must(fdt_finish_reservemap(host));
    node_begin(host, "");
    put_text(host, "compatible", "linux,dummy-virt");
    put_text(host, "model", "ringvm");
    put_u32(host, "#address-cells", 2);
    put_u32(host, "#size-cells", 2);
    put_u32(host, "interrupt-parent", PHANDLE_GIC);
    ret = put_chosen(host, info, err);
    if (ret)
        return ret;
    put_aliases(host);
    put_memory(host, mem);
    put_cpus(host, machine);
    put_gic(host, machine);
    put_private(host, machine);
    put_chips(host);
    put_virtio_mmio(host, machine->virtio_mmio_count);
    put_pcie(host, mem, machine);
    node_end(host);
    must(fdt_finish(host));
    return 0;
}
