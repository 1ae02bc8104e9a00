/*
 * A PCI root with two cards that the fuzzer drives as a guest does: ports, ECAM and wherever the
 * BARs are now, in every width. One card has MSI-X, both have INTx. After each access what is
 * decoded follows from the registers, answers where they say, and overlaps nothing; what is
 * read-only is as it was; no message leaves a vector that was not routed.
 */
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "bus/msix.h"
#include "bus/pci.h"

enum {
    CARD_COUNT = 2,
    VECTOR_COUNT = 3,
    MSIX_BAR = 2,
    MSIX_BAR_SIZE = 0x1000,
    PBA_OFFSET = 0x800,
    STEP_SIZE = 8, /* bytes of input for one step */
};

#define ECAM_BASE  0xe0000000ULL
#define IO_BASE    0x1000ULL
#define IO_LEN     0xf000ULL
#define MEM32_BASE 0xc0000000ULL
#define MEM32_LEN  0x20000000ULL
#define MEM64_BASE 0x800000000ULL
#define MEM64_LEN  0x800000000ULL
#define ANSWER     0x5aULL

struct card {
    struct pci_function function;
    struct msix *msix; /* of the first card only */
    uint8_t identity[16];
    unsigned present;
    unsigned hits; /* of the last access */
};

struct machine {
    struct bus *port_bus, *mmio_bus;
    struct pci_root *root;
    struct card cards[CARD_COUNT];
    unsigned lines;
    bool routed[VECTOR_COUNT];
    uint32_t vector_count;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* ---- chips ---- */

static void line_set(void *chip, uint32_t gsi, bool level)
{
    struct machine *machine = chip;

    require((machine->lines >> gsi & 1) != level);
    machine->lines ^= 1U << gsi;
}

static int vector_alloc(void *chip, uint32_t *vector)
{
    *vector = ((struct machine *)chip)->vector_count++;
    return 0;
}

static void vector_free(void *chip, uint32_t vector)
{
    (void)chip;
    require(vector < VECTOR_COUNT);
}

static int vector_route(void *chip, uint32_t vector, const struct msi_message *message)
{
    struct machine *machine = chip;

    machine->routed[vector] = message->address >> 20 == 0xfee;
    return machine->routed[vector] ? 0 : -1;
}

static void vector_signal(void *chip, uint32_t vector)
{
    require(((struct machine *)chip)->routed[vector]);
}

static const struct irq_line_ops line_ops = {.set = line_set};
static const struct msi_chip_ops msi_ops = {
    .alloc = vector_alloc,
    .free = vector_free,
    .route = vector_route,
    .signal = vector_signal,
};

/* ---- cards ---- */

static enum bus_verdict bar_access(struct card *card, unsigned bar, struct bus_access *access)
{
    require(card->present >> bar & 1);
    require(access->offset < card->function.bars[bar].size &&
            access->size <= card->function.bars[bar].size - access->offset);
    card->hits |= 1U << bar;
    if (bar == MSIX_BAR && card->msix && msix_bar_access(card->msix, access))
        return BUS_DONE;
    if (!access->is_write)
        access->value = ANSWER + bar;
    return BUS_DONE;
}

#define BAR(i)                                                                                  \
    static enum bus_verdict bar_access_##i(struct bus_range *range, struct bus_access *access)  \
    {                                                                                           \
        return bar_access(container_of(range, struct card, function.bars[i].range), i, access); \
    }                                                                                           \
    static const struct bus_range_ops bar_ops_##i = {.access = bar_access_##i};
BAR(0)
BAR(1)
BAR(2)
BAR(4)

static bool config_access(struct pci_function *function, uint32_t offset, struct bus_access *access)
{
    struct card *card = container_of(function, struct card, function);

    require(offset % 4 + access->size <= 4);
    return card->msix && msix_config_access(card->msix, offset, access);
}

static void bar_changed(struct pci_function *function, unsigned bar)
{
    struct card *card = container_of(function, struct card, function);

    require((card->present >> bar & 1) != function->bars[bar].decoded);
    card->present ^= 1U << bar;
}

static const struct pci_function_ops card_ops = {
    .config_access = config_access,
    .bar_changed = bar_changed,
};

static void card_create(struct machine *machine, unsigned index)
{
    struct card *card = &machine->cards[index];
    struct pci_bar *bars = card->function.bars;

    card->function.ops = &card_ops;
    card->function.name = "card";
    card->function.vendor_id = 0x1234;
    card->function.device_id = (uint16_t)index;
    card->function.has_intx = true;
    bars[0] = (struct pci_bar){.range.ops = &bar_ops_0, .size = 0x100, .type = PCI_BAR_MEM32};
    bars[1] = (struct pci_bar){.range.ops = &bar_ops_1, .size = 32, .type = PCI_BAR_IO};
    bars[2] =
        (struct pci_bar){.range.ops = &bar_ops_2, .size = MSIX_BAR_SIZE, .type = PCI_BAR_MEM64};
    bars[4] = (struct pci_bar){.range.ops = &bar_ops_4, .size = 0x100000000, .type = PCI_BAR_MEM64};
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        bars[i].range.name = "card";
    if (index == 0 &&
        msix_create(&card->msix, &card->function, (struct msi_chip){&msi_ops, machine},
                    VECTOR_COUNT, MSIX_BAR, 0, PBA_OFFSET, NULL))
        abort();
    if (pci_root_add(machine->root, &card->function, NULL))
        abort();
    memcpy(card->identity, card->function.config, sizeof(card->identity));
}

static void machine_create(struct machine *machine)
{
    struct pci_root_config config = {
        .ecam_base = ECAM_BASE,
        .ecam_len = 1 << 20,
        .io_base = IO_BASE,
        .io_len = IO_LEN,
        .mem32_base = MEM32_BASE,
        .mem32_len = MEM32_LEN,
        .mem64_base = MEM64_BASE,
        .mem64_len = MEM64_LEN,
    };

    memset(machine, 0, sizeof(*machine));
    for (uint32_t i = 0; i < PCI_INTX_COUNT; i++)
        config.intx[i] = (struct irq_line){&line_ops, machine, i};
    if (bus_create(&machine->port_bus, "port", NULL) ||
        bus_create(&machine->mmio_bus, "memory", NULL))
        abort();
    config.port_bus = machine->port_bus;
    config.mmio_bus = machine->mmio_bus;
    if (pci_root_create(&machine->root, &config, NULL))
        abort();
    for (unsigned i = 0; i < CARD_COUNT; i++)
        card_create(machine, i);
}

static void machine_destroy(struct machine *machine)
{
    for (unsigned i = 0; i < CARD_COUNT; i++) {
        pci_root_remove(machine->root, &machine->cards[i].function);
        require(!machine->cards[i].present);
        msix_destroy(machine->cards[i].msix);
    }
    require(!machine->lines);
    pci_root_destroy(machine->root);
    bus_destroy(machine->port_bus);
    bus_destroy(machine->mmio_bus);
}

/* ---- what always holds ---- */

static bool inside(uint64_t base, uint64_t len, uint64_t window, uint64_t window_len)
{
    return base >= window && base - window < window_len && len <= window_len - (base - window);
}

static uint64_t bar_register(const struct card *card, unsigned bar)
{
    const uint8_t *at = &card->function.config[PCI_BASE_ADDRESS_0 + 4 * bar];
    enum pci_bar_type type = card->function.bars[bar].type;
    uint64_t value = 0;

    memcpy(&value, at, type == PCI_BAR_MEM64 ? 8 : 4);
    return value & ~(type == PCI_BAR_IO ? 3ULL : 15ULL);
}

static void bar_check(struct machine *machine, struct card *card, unsigned index)
{
    const struct pci_bar *bar = &card->function.bars[index];
    bool is_port = bar->type == PCI_BAR_IO;
    uint8_t command = card->function.config[PCI_COMMAND];
    struct bus_access probe = {.addr = bar->range.base, .size = 1};

    require(bar->decoded == (card->present >> index & 1));
    if (!bar->decoded)
        return;
    require(command & (is_port ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY));
    require(bar->range.base == bar_register(card, index));
    require(bar->range.base % bar->size == 0);
    if (is_port)
        require(inside(bar->range.base, bar->size, IO_BASE, IO_LEN));
    else
        require(inside(bar->range.base, bar->size, MEM32_BASE, MEM32_LEN) ||
                inside(bar->range.base, bar->size, MEM64_BASE, MEM64_LEN));
    card->hits = 0;
    bus_dispatch(is_port ? machine->port_bus : machine->mmio_bus, &probe);
    require(card->hits == 1U << index);
}

static void machine_check(struct machine *machine)
{
    for (unsigned i = 0; i < CARD_COUNT; i++) {
        struct card *card = &machine->cards[i];
        const uint8_t *config = card->function.config;

        for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++)
            bar_check(machine, card, bar);
        require(!memcmp(config, card->identity, PCI_COMMAND));
        require(!memcmp(config + PCI_CLASS_REVISION, card->identity + PCI_CLASS_REVISION, 4));
        require(config[PCI_HEADER_TYPE] == 0 && config[PCI_INTERRUPT_PIN] == 1);
    }
}

/* ---- steps ---- */

/* An address near something: the fuzzer gets nowhere with 64 random bits. */
static uint64_t step_addr(const struct machine *machine, const uint8_t *step, bool *is_port)
{
    uint32_t offset = step[1] | (uint32_t)step[2] << 8;
    const struct card *card = &machine->cards[step[3] % CARD_COUNT];

    *is_port = false;
    switch (step[3] >> 4) {
    case 0:
        *is_port = true;
        return 0xcf8 + offset % 8;
    case 1:
        *is_port = true;
        return offset;
    case 2:
        return MEM32_BASE + ((uint64_t)offset << 13);
    case 3:
        return card->function.bars[0].range.base + offset % 0x110;
    case 4:
        return card->function.bars[MSIX_BAR].range.base + offset % (MSIX_BAR_SIZE + 16);
    default:
        return ECAM_BASE + ((uint64_t)(step[3] & 3) << 15) + offset % 0x110;
    }
}

static void step_run(struct machine *machine, const uint8_t *step)
{
    struct bus_access access = {
        .size = (uint8_t)(1U << (step[0] & 3)),
        .is_write = step[0] & 4,
    };
    struct card *card = &machine->cards[step[0] >> 4 & 1];
    bool is_port;

    switch (step[0] >> 5) {
    case 0:
        msix_signal(machine->cards[0].msix, step[1] % VECTOR_COUNT);
        return;
    case 1:
        pci_function_set_intx(&card->function, step[1] & 1);
        return;
    case 2:
        if (step[1] == 0) {
            msix_reset(machine->cards[0].msix);
            pci_function_reset(&machine->cards[0].function);
            return;
        }
        break;
    }
    memcpy(&access.value, step + 4, 4);
    access.value |= access.value << 32;
    access.addr = step_addr(machine, step, &is_port);
    require(bus_dispatch(is_port ? machine->port_bus : machine->mmio_bus, &access) == BUS_DONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine;

    log_set_level(LOG_ERROR);
    machine_create(&machine);
    for (; size >= STEP_SIZE; data += STEP_SIZE, size -= STEP_SIZE) {
        step_run(&machine, data);
        machine_check(&machine);
    }
    machine_destroy(&machine);
    return 0;
}
