#include "fake_pci.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/compiler.h"

static void line_set(void *chip, uint32_t gsi, bool level)
{
    struct fake_pci *pci = chip;

    cr_assert(gsi >= 16 && gsi < 16 + PCI_INTX_COUNT);
    cr_assert_neq(pci->line[gsi - 16], level, "a line is only told of changes");
    pci->line[gsi - 16] = level;
    pci->line_changes++;
}

static const struct irq_line_ops line_ops = {.set = line_set};

struct fake_pci *fake_pci_create(struct bus_range *reset_control)
{
    struct fake_pci *pci = calloc(1, sizeof(*pci));
    struct pci_root_config config = {
        .ecam_base = FAKE_ECAM_BASE,
        .ecam_len = 2 << 20,
        .io_base = FAKE_IO_BASE,
        .io_len = FAKE_IO_LEN,
        .mem32_base = FAKE_MEM32_BASE,
        .mem32_len = FAKE_MEM32_LEN,
        .mem64_base = FAKE_MEM64_BASE,
        .mem64_len = FAKE_MEM64_LEN,
        .reset_control = reset_control,
    };
    struct err err = {""};

    cr_assert_not_null(pci);
    cr_assert_eq(bus_create(&pci->port_bus, "port", &err), 0, "%s", err.text);
    cr_assert_eq(bus_create(&pci->mmio_bus, "memory", &err), 0, "%s", err.text);
    config.port_bus = pci->port_bus;
    config.mmio_bus = pci->mmio_bus;
    for (unsigned i = 0; i < PCI_INTX_COUNT; i++)
        config.intx[i] = (struct irq_line){.ops = &line_ops, .chip = pci, .gsi = 16 + i};
    cr_assert_eq(pci_root_create(&pci->root, &config, &err), 0, "%s", err.text);
    return pci;
}

void fake_pci_destroy(struct fake_pci *pci)
{
    pci_root_destroy(pci->root);
    bus_destroy(pci->port_bus);
    bus_destroy(pci->mmio_bus);
    free(pci);
}

/* ---- cards ---- */

static enum bus_verdict card_access(struct fake_card *card, unsigned bar, struct bus_access *access)
{
    cr_assert(card->present & 1U << bar, "an access while the BAR is not decoded");
    cr_assert_lt(access->offset, card->function.bars[bar].size);
    card->accesses++;
    if (card->defers) {
        card->deferred = access;
        return BUS_DEFER;
    }
    if (!access->is_write)
        access->value = fake_card_answer(card, bar, (uint32_t)access->offset);
    return BUS_DONE;
}

/* One ops table for each BAR: the range is where its index comes from. */
#define CARD_BAR(i)                                                                             \
    static enum bus_verdict card_access_##i(struct bus_range *range, struct bus_access *access) \
    {                                                                                           \
        return card_access(container_of(range, struct fake_card, function.bars[i].range), i,    \
                           access);                                                             \
    }
CARD_BAR(0)
CARD_BAR(1)
CARD_BAR(2)
CARD_BAR(3)
CARD_BAR(4)
CARD_BAR(5)

static const struct bus_range_ops card_bar_ops[PCI_BAR_COUNT] = {
    {card_access_0}, {card_access_1}, {card_access_2},
    {card_access_3}, {card_access_4}, {card_access_5},
};

static void card_bar_changed(struct pci_function *function, unsigned bar)
{
    struct fake_card *card = container_of(function, struct fake_card, function);
    bool was_present = card->present & 1U << bar;

    cr_assert_neq(function->bars[bar].decoded, was_present, "a leave, then an entry");
    if (function->bars[bar].decoded)
        card->enters[bar]++;
    else
        card->leaves[bar]++;
    card->present ^= 1U << bar;
}

static bool card_config_access(struct pci_function *function, uint32_t offset,
                               struct bus_access *access)
{
    struct fake_card *card = container_of(function, struct fake_card, function);

    cr_assert(access->size == 1 || access->size == 2 || access->size == 4);
    cr_assert_leq(offset % 4 + access->size, 4, "no capability sees a crossed dword");
    return card->config_access && card->config_access(card, offset, access);
}

static void card_bus_master_changed(struct pci_function *function)
{
    container_of(function, struct fake_card, function)->bus_master_changes++;
}

static const struct pci_function_ops card_ops = {
    .config_access = card_config_access,
    .bar_changed = card_bar_changed,
    .bus_master_changed = card_bus_master_changed,
};

void fake_card_init(struct fake_card *card, uint8_t tag)
{
    *card = (struct fake_card){
        .tag = tag,
        .function =
            {
                .ops = &card_ops,
                .name = "card",
                .vendor_id = 0x1234,
                .device_id = tag,
                .subsystem_vendor_id = 0x5678,
                .subsystem_id = 0x9abc,
                .class_code = 0x020304,
                .revision_id = 5,
                .has_intx = true,
            },
    };
}

void fake_card_bar(struct fake_card *card, unsigned bar, enum pci_bar_type type, uint64_t size)
{
    card->function.bars[bar] = (struct pci_bar){
        .range = {.ops = &card_bar_ops[bar], .name = "card"},
        .size = size,
        .type = type,
    };
}

void fake_card_add(struct fake_pci *pci, struct fake_card *card)
{
    struct err err = {""};

    cr_assert_eq(pci_root_add(pci->root, &card->function, &err), 0, "%s", err.text);
}

uint32_t fake_card_answer(const struct fake_card *card, unsigned bar, uint32_t offset)
{
    return (uint32_t)card->tag << 24 | bar << 16 | (offset & 0xffff);
}

/* ---- accesses ---- */

static uint64_t bus_access(struct bus *bus, uint64_t addr, uint8_t size, bool is_write,
                           uint64_t value)
{
    struct bus_access access = {.addr = addr, .size = size, .is_write = is_write, .value = value};

    cr_assert_eq(bus_dispatch(bus, &access), BUS_DONE);
    return access.value;
}

uint64_t fake_port_read(struct fake_pci *pci, uint64_t addr, uint8_t size)
{
    return bus_access(pci->port_bus, addr, size, false, 0);
}

void fake_port_write(struct fake_pci *pci, uint64_t addr, uint8_t size, uint64_t value)
{
    bus_access(pci->port_bus, addr, size, true, value);
}

uint64_t fake_mem_read(struct fake_pci *pci, uint64_t addr, uint8_t size)
{
    return bus_access(pci->mmio_bus, addr, size, false, 0);
}

void fake_mem_write(struct fake_pci *pci, uint64_t addr, uint8_t size, uint64_t value)
{
    bus_access(pci->mmio_bus, addr, size, true, value);
}

static uint64_t ecam_addr(unsigned slot, uint32_t offset)
{
    return FAKE_ECAM_BASE + ((uint64_t)slot << 15) + offset;
}

uint32_t fake_config_read(struct fake_pci *pci, unsigned slot, uint32_t offset, uint8_t size)
{
    return (uint32_t)fake_mem_read(pci, ecam_addr(slot, offset), size);
}

void fake_config_write(struct fake_pci *pci, unsigned slot, uint32_t offset, uint8_t size,
                       uint32_t value)
{
    fake_mem_write(pci, ecam_addr(slot, offset), size, value);
}
