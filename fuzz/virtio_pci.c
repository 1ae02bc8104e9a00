/*
 * A virtio device behind its PCI transport, driven by the fuzzer as a guest does: registers in the
 * BAR and through the PCI_CFG window, config space, doorbells, ring memory, and turns of the
 * executor in between, in any order. One step sets the device up as a driver would, so that short
 * inputs get to a running queue. Whatever happened, the device stops, answers every access once and
 * leaves nothing behind.
 */
#include "virtio/pci.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "virtio_machine.h"

enum { VECTOR_COUNT = QUEUE_COUNT + 1 };

#define ECAM_BASE  0xe0000000ULL
#define MEM32_BASE 0xc0000000ULL
#define MEM32_LEN  0x20000000ULL
#define PORT_BASE  0x1000ULL
#define PORT_LEN   0xf000ULL

struct pci_machine {
    struct machine base;
    struct bus *port_bus;
    struct pci_root *root;
    struct virtio_pci *pci;
    unsigned lines;
    bool routed[VECTOR_COUNT];
    uint32_t vector_count;
};

/* ---- chips ---- */

static void line_set(void *chip, uint32_t gsi, bool level)
{
    struct pci_machine *machine = chip;

    require((machine->lines >> gsi & 1) != level);
    machine->lines ^= 1U << gsi;
}

static int vector_alloc(void *chip, uint32_t *vector)
{
    *vector = ((struct pci_machine *)chip)->vector_count++;
    return 0;
}

static void vector_free(void *chip, uint32_t vector)
{
    (void)vector;
    ((struct pci_machine *)chip)->vector_count--;
}

static int vector_route(void *chip, uint32_t vector, const struct msi_message *message)
{
    (void)message;
    ((struct pci_machine *)chip)->routed[vector] = true;
    return 0;
}

static void vector_signal(void *chip, uint32_t vector)
{
    require(((struct pci_machine *)chip)->routed[vector]);
}

static const struct irq_line_ops line_ops = {.set = line_set};
static const struct msi_chip_ops msi_ops = {
    .alloc = vector_alloc,
    .free = vector_free,
    .route = vector_route,
    .signal = vector_signal,
};

static void transport_create(struct pci_machine *machine)
{
    struct pci_root_config config = {
        .mmio_bus = machine->base.mmio_bus,
        .ecam_base = ECAM_BASE,
        .ecam_len = 1 << 20,
        .mem32_base = MEM32_BASE,
        .mem32_len = MEM32_LEN,
        .io_base = PORT_BASE,
        .io_len = PORT_LEN,
    };
    struct virtio_pci_config pci = {
        .msi = {&msi_ops, machine},
        .doorbells = {&doorbell_ops, &machine->base},
    };

    memset(machine->routed, 0, sizeof(machine->routed));
    for (uint32_t i = 0; i < PCI_INTX_COUNT; i++)
        config.intx[i] = (struct irq_line){&line_ops, machine, i};
    if (bus_create(&machine->port_bus, "port", NULL))
        abort();
    config.port_bus = machine->port_bus;
    if (pci_root_create(&machine->root, &config, NULL))
        abort();
    pci.root = machine->root;
    if (virtio_pci_create(&machine->pci, &machine->base.device, &pci, NULL))
        abort();
}

static void transport_destroy(struct pci_machine *machine)
{
    virtio_pci_shutdown(machine->pci, machine_stopped, &machine->base);
    machine_await_stop(&machine->base);
    virtio_pci_destroy(machine->pci);
    require(!machine->vector_count && !machine->lines);
    pci_root_destroy(machine->root);
    bus_destroy(machine->port_bus);
}

/* ---- steps ---- */

static uint64_t config_addr(uint32_t offset)
{
    return ECAM_BASE + (1ULL << 15) + offset;
}

static uint64_t bar_base(struct machine *machine)
{
    return (uint32_t)machine_access(
               machine, (struct bus_access){.addr = config_addr(PCI_BASE_ADDRESS_0), .size = 4}) &
           ~0xfULL;
}

/* 3.1.1, with `features` of the lower word. */
static void driver_start(struct machine *machine, uint32_t features, bool with_msix, bool packed)
{
    uint64_t bar;

    write_at(machine, config_addr(PCI_BASE_ADDRESS_0), 4, MEM32_BASE);
    write_at(machine, config_addr(PCI_BASE_ADDRESS_1), 4, PORT_BASE);
    write_at(machine, config_addr(PCI_COMMAND), 2,
             PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    bar = bar_base(machine);
    write_at(machine, config_addr(0x40), 4, with_msix ? 0x80000000U : 0);
    write_at(machine, bar + VIRTIO_PCI_COMMON_STATUS, 1, 0);
    machine_run(machine, TURNS_MAX);
    write_at(machine, bar + VIRTIO_PCI_COMMON_STATUS, 1, 3);
    write_at(machine, bar + VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    write_at(machine, bar + VIRTIO_PCI_COMMON_GF, 4, features & 0x30000005);
    write_at(machine, bar + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    write_at(machine, bar + VIRTIO_PCI_COMMON_GF, 4, packed ? 5 : 1);
    write_at(machine, bar + VIRTIO_PCI_COMMON_STATUS, 1, 11);
    for (unsigned i = 0; i < QUEUE_COUNT; i++) {
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_DESCLO, 4, i * RING_STEP);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_AVAILLO, 4, i * RING_STEP + 0x100);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_USEDLO, 4, i * RING_STEP + 0x200);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_MSIX, 2, i);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    }
    write_at(machine, bar + VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

/* A notification by port, or what a guest might take for one. */
static void port_write(struct pci_machine *machine, uint64_t addr, uint8_t size, uint32_t value)
{
    struct bus_access access = {.addr = addr, .size = size, .is_write = true, .value = value};

    if (!doorbell_ring(&machine->base, &access, true))
        require(bus_dispatch(machine->port_bus, &access) == BUS_DONE);
}

static void step_run(struct pci_machine *pci, const uint8_t *step)
{
    struct machine *machine = &pci->base;
    static const uint16_t structures[] = {0, 0x1000, 0x2000, 0x3000, 0x4000, 0x4800, 0x38, 0x7ff8};
    uint8_t size = (uint8_t)(1U << (step[1] & 3));
    bool is_write = step[1] & 4;
    uint32_t offset = step[2] | (uint32_t)step[3] << 8, value;
    uint64_t addr;

    memcpy(&value, step + 4, sizeof(value));
    switch (step[0] % 8) {
    case 0:
        driver_start(machine, value, step[1] & 1, step[1] & 2);
        return;
    case 1:
        if (step[1] & 8)
            packed_chain_add(machine, step[1] % QUEUE_COUNT, value);
        else
            chain_add(machine, step[1] % QUEUE_COUNT, value);
        return;
    case 2:
        memcpy(gmem_ptr(machine->mem, gpa(offset % (2 * RING_STEP)), 4), &value, 4);
        return;
    case 3:
        machine_run(machine, 1 + step[1] % TURNS_MAX);
        return;
    case 4:
        if (step[1] & 8) {
            port_write(pci, PORT_BASE + offset % 16, size, value);
            return;
        }
        addr = bar_base(machine) + 0x3000 + 4ULL * (step[2] % (QUEUE_COUNT + 1));
        is_write = true;
        break;
    case 5:
        addr = config_addr(offset % 0x110);
        break;
    default:
        addr = bar_base(machine) + structures[step[1] >> 5] + offset % 64;
        break;
    }
    machine_access(machine, (struct bus_access){.addr = addr,
                                                .size = size,
                                                .is_write = is_write,
                                                .value = value | (uint64_t)value << 32});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pci_machine machine;

    log_set_level(LOG_ERROR);
    machine_create(&machine.base);
    transport_create(&machine);
    for (; size >= STEP_SIZE; data += STEP_SIZE, size -= STEP_SIZE)
        step_run(&machine, data);
    transport_destroy(&machine);
    machine_destroy(&machine.base);
    return 0;
}
