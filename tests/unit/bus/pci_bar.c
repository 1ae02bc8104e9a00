#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "bus/pci.h"
#include "fake_pci.h"

static void command_write(struct fake_pci *pci, unsigned slot, uint16_t value)
{
    fake_config_write(pci, slot, PCI_COMMAND, 2, value);
}

static uint32_t bar_offset(unsigned bar)
{
    return PCI_BASE_ADDRESS_0 + 4 * bar;
}

static void bar_write(struct fake_pci *pci, unsigned slot, unsigned bar, uint32_t value)
{
    fake_config_write(pci, slot, bar_offset(bar), 4, value);
}

static uint32_t bar_read(struct fake_pci *pci, unsigned slot, unsigned bar)
{
    return fake_config_read(pci, slot, bar_offset(bar), 4);
}

static bool answers(struct fake_pci *pci, const struct fake_card *card, unsigned bar, uint64_t addr)
{
    uint64_t value = card->function.bars[bar].type == PCI_BAR_IO ? fake_port_read(pci, addr, 4)
                                                                 : fake_mem_read(pci, addr, 4);

    return value == fake_card_answer(card, bar, 0);
}

static bool silent(struct fake_pci *pci, uint64_t addr)
{
    return fake_mem_read(pci, addr, 4) == 0xffffffff;
}

/* A card with one 32-bit memory BAR, in the next slot. */
static void card_add(struct fake_pci *pci, struct fake_card *card, uint8_t tag, uint64_t size)
{
    fake_card_init(card, tag);
    fake_card_bar(card, 0, PCI_BAR_MEM32, size);
    fake_card_add(pci, card);
}

/* ---- assignment ---- */

Test(pci_bar, types_are_in_the_low_bits)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    fake_card_init(&card, 1);
    fake_card_bar(&card, 0, PCI_BAR_MEM32, 0x1000);
    fake_card_bar(&card, 1, PCI_BAR_IO, 16);
    fake_card_bar(&card, 2, PCI_BAR_MEM64, 0x1000);
    fake_card_bar(&card, 4, PCI_BAR_MEM64, 0x1000);
    card.function.bars[4].prefetchable = true;
    fake_card_add(pci, &card);
    cr_assert_eq(bar_read(pci, 1, 0) & 0xf, 0x0);
    cr_assert_eq(bar_read(pci, 1, 1) & 0x3, 0x1);
    cr_assert_eq(bar_read(pci, 1, 2) & 0xf, 0x4);
    cr_assert_eq(bar_read(pci, 1, 4) & 0xf, 0xc);
    cr_assert_eq(bar_read(pci, 1, 3), FAKE_MEM64_BASE >> 32);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_bar, first_addresses_are_aligned_disjoint_and_in_the_window)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    static const uint64_t sizes[] = {0x20, 0x8000, 0x1000, 0x100000, 0x10};
    struct fake_card cards[array_count(sizes)];
    uint64_t bases[array_count(sizes)];

    for (unsigned i = 0; i < array_count(sizes); i++) {
        card_add(pci, &cards[i], (uint8_t)i, sizes[i]);
        bases[i] = bar_read(pci, i + 1, 0);
        cr_assert_eq(bases[i] % sizes[i], 0);
        cr_assert_eq(bases[i] % 4096, 0, "no two cards in one page");
        cr_assert(bases[i] >= FAKE_MEM32_BASE &&
                  bases[i] + sizes[i] <= FAKE_MEM32_BASE + FAKE_MEM32_LEN);
        for (unsigned k = 0; k < i; k++)
            cr_assert(bases[i] + sizes[i] <= bases[k] || bases[k] + sizes[k] <= bases[i]);
    }
    for (unsigned i = 0; i < array_count(sizes); i++)
        pci_root_remove(pci->root, &cards[i].function);
    fake_pci_destroy(pci);
}

Test(pci_bar, address_of_a_removed_card_is_given_again)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card first, second;
    uint32_t base;

    card_add(pci, &first, 1, 0x10000000);
    card_add(pci, &second, 2, 0x10000000);
    base = bar_read(pci, 1, 0);
    for (int i = 0; i < 3; i++) {
        pci_root_remove(pci->root, &first.function);
        card_add(pci, &first, 1, 0x10000000);
        cr_assert_eq(bar_read(pci, 1, 0), base);
    }
    pci_root_remove(pci->root, &first.function);
    pci_root_remove(pci->root, &second.function);
    fake_pci_destroy(pci);
}

Test(pci_bar, full_window_is_reported_with_the_name)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card first, second, third;
    struct err err;

    card_add(pci, &first, 1, 0x10000000);
    fake_card_init(&second, 2);
    fake_card_bar(&second, 0, PCI_BAR_MEM32, 0x20000000);
    cr_assert_eq(pci_root_add(pci->root, &second.function, &err), -ENOSPC);
    cr_assert(strstr(err.text, "card") && strstr(err.text, "memory"), "%s", err.text);
    fake_card_init(&second, 2);
    fake_card_bar(&second, 0, PCI_BAR_IO, 0x10000);
    cr_assert_eq(pci_root_add(pci->root, &second.function, &err), -ENOSPC);
    cr_assert(strstr(err.text, "port"), "%s", err.text);
    card_add(pci, &third, 3, 0x10000000);
    cr_assert_eq(third.function.slot, 2, "the refused ones took nothing");
    pci_root_remove(pci->root, &third.function);
    pci_root_remove(pci->root, &first.function);
    fake_pci_destroy(pci);
}

/* ---- sizing and moving ---- */

Test(pci_bar, size_is_read_back_with_decoding_off_and_on)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;
    uint32_t bases[4];

    fake_card_init(&card, 1);
    fake_card_bar(&card, 0, PCI_BAR_MEM32, 0x8000);
    fake_card_bar(&card, 1, PCI_BAR_IO, 64);
    fake_card_bar(&card, 2, PCI_BAR_MEM64, 0x200000000);
    fake_card_add(pci, &card);
    for (unsigned i = 0; i < 4; i++)
        bases[i] = bar_read(pci, 1, i);
    for (uint16_t command = 0; command <= 3; command++) {
        command_write(pci, 1, command);
        for (unsigned i = 0; i < 4; i++)
            bar_write(pci, 1, i, ~0U);
        cr_assert_eq(bar_read(pci, 1, 0), 0xffff8000);
        cr_assert_eq(bar_read(pci, 1, 1), 0xffffffc1);
        cr_assert_eq(bar_read(pci, 1, 2), 0x00000004);
        cr_assert_eq(bar_read(pci, 1, 3), 0xfffffffe);
        for (unsigned i = 0; i < 4; i++)
            bar_write(pci, 1, i, bases[i]);
        for (unsigned i = 0; i < 4; i++)
            cr_assert_eq(bar_read(pci, 1, i), bases[i]);
        cr_assert_eq(card.function.bars[0].decoded, (command & PCI_COMMAND_MEMORY) != 0);
        cr_assert_eq(card.function.bars[1].decoded, (command & PCI_COMMAND_IO) != 0);
        cr_assert_eq(card.function.bars[2].decoded, (command & PCI_COMMAND_MEMORY) != 0);
    }
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_bar, decodes_only_what_the_command_register_enables)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;
    uint64_t mem, port;

    fake_card_init(&card, 1);
    fake_card_bar(&card, 0, PCI_BAR_MEM32, 0x1000);
    fake_card_bar(&card, 1, PCI_BAR_IO, 64);
    fake_card_add(pci, &card);
    mem = bar_read(pci, 1, 0);
    port = bar_read(pci, 1, 1) & ~3ULL;
    cr_assert(silent(pci, mem) && !answers(pci, &card, 1, port));
    command_write(pci, 1, PCI_COMMAND_MEMORY);
    cr_assert(answers(pci, &card, 0, mem) && !answers(pci, &card, 1, port));
    command_write(pci, 1, PCI_COMMAND_IO);
    cr_assert(silent(pci, mem) && answers(pci, &card, 1, port));
    command_write(pci, 1, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    cr_assert(answers(pci, &card, 0, mem) && answers(pci, &card, 1, port));
    cr_assert_eq(card.enters[0], 2);
    cr_assert_eq(card.leaves[0], 1);
    cr_assert_eq(card.enters[1], 1);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_bar, moves_in_two_halves)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;
    uint64_t old = FAKE_MEM64_BASE, target = FAKE_MEM64_BASE + 0x212340000ULL;

    fake_card_init(&card, 1);
    fake_card_bar(&card, 2, PCI_BAR_MEM64, 0x10000);
    fake_card_add(pci, &card);
    command_write(pci, 1, PCI_COMMAND_MEMORY);
    cr_assert(answers(pci, &card, 2, old));
    bar_write(pci, 1, 2, (uint32_t)target);
    cr_assert(silent(pci, old));
    cr_assert(answers(pci, &card, 2, old + 0x12340000), "half way");
    bar_write(pci, 1, 3, target >> 32);
    cr_assert(answers(pci, &card, 2, target));
    cr_assert(silent(pci, old + 0x12340000));
    bar_write(pci, 1, 3, 0);
    bar_write(pci, 1, 2, 0xc1230000);
    cr_assert(answers(pci, &card, 2, 0xc1230000), "a 64-bit BAR may lie below 4 GiB");
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_bar, moves_byte_by_byte_through_the_data_port)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    card_add(pci, &card, 1, 0x1000);
    command_write(pci, 1, PCI_COMMAND_MEMORY);
    fake_port_write(pci, 0xcf8, 4, 0x80000800U | PCI_BASE_ADDRESS_0);
    fake_port_write(pci, 0xcff, 1, 0xd1);
    fake_port_write(pci, 0xcfe, 1, 0x23);
    fake_port_write(pci, 0xcfd, 1, 0x45);
    fake_port_write(pci, 0xcfc, 1, 0xff);
    cr_assert_eq(bar_read(pci, 1, 0), 0xd1234000);
    cr_assert(answers(pci, &card, 0, 0xd1234000));
    fake_port_write(pci, 0xcfd, 2, 0x2256); /* bits 8 to 23 */
    cr_assert(answers(pci, &card, 0, 0xd1225000));
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_bar, nothing_is_decoded_outside_the_windows)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;
    static const uint32_t outside[] = {0,          0x1000,     0xbffff000, /* RAM */
                                       0xe0000000,                         /* ECAM */
                                       0xe0100000, 0xfee00000,             /* LAPIC */
                                       0xfffff000};

    fake_card_init(&card, 1);
    fake_card_bar(&card, 0, PCI_BAR_MEM32, 0x1000);
    fake_card_bar(&card, 1, PCI_BAR_IO, 8);
    fake_card_bar(&card, 2, PCI_BAR_MEM64, 0x1000);
    fake_card_add(pci, &card);
    command_write(pci, 1, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    for (unsigned i = 0; i < array_count(outside); i++) {
        bar_write(pci, 1, 0, outside[i]);
        cr_assert_not(card.function.bars[0].decoded, "0x%x", outside[i]);
        cr_assert(!answers(pci, &card, 0, outside[i]));
    }
    bar_write(pci, 1, 0, 0xdffff000);
    cr_assert(answers(pci, &card, 0, 0xdffff000), "the last page of the window");

    bar_write(pci, 1, 1, 0x60); /* the keyboard controller's */
    cr_assert_not(card.function.bars[1].decoded);
    bar_write(pci, 1, 1, 0x12340);
    cr_assert_not(card.function.bars[1].decoded, "ports have 16 bits");
    bar_write(pci, 1, 1, 0xfff8);
    cr_assert(answers(pci, &card, 1, 0xfff8));

    bar_write(pci, 1, 3, ~0U);
    bar_write(pci, 1, 2, ~0U);
    cr_assert_not(card.function.bars[2].decoded, "the top of the address space");
    bar_write(pci, 1, 3, 1); /* RAM above 4 GiB */
    cr_assert_not(card.function.bars[2].decoded);
    cr_assert_eq(fake_config_read(pci, 0, PCI_CLASS_DEVICE, 2), 0x0600, "ECAM is where it was");
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

/* ---- over each other ---- */

Test(pci_bar, lower_slot_wins_whatever_the_order_of_writes)
{
    for (int order = 0; order < 2; order++) {
        struct fake_pci *pci = fake_pci_create(NULL);
        struct fake_card cards[2];

        card_add(pci, &cards[0], 1, 0x1000);
        card_add(pci, &cards[1], 2, 0x4000);
        command_write(pci, 1, PCI_COMMAND_MEMORY);
        command_write(pci, 2, PCI_COMMAND_MEMORY);
        for (unsigned i = 0; i < 2; i++) {
            unsigned slot = order ? 2 - i : 1 + i;

            bar_write(pci, slot, 0, slot == 1 ? 0xd0001000 : 0xd0000000);
        }
        cr_assert(answers(pci, &cards[0], 0, 0xd0001000));
        cr_assert(silent(pci, 0xd0000000), "the other is silent as a whole");
        cr_assert(silent(pci, 0xd0003000));
        command_write(pci, 1, 0);
        cr_assert(answers(pci, &cards[1], 0, 0xd0000000), "until the first is gone");
        command_write(pci, 1, PCI_COMMAND_MEMORY);
        cr_assert(silent(pci, 0xd0000000));
        bar_write(pci, 1, 0, 0xd0004000);
        cr_assert(answers(pci, &cards[0], 0, 0xd0004000));
        cr_assert(answers(pci, &cards[1], 0, 0xd0000000));
        bar_write(pci, 1, 0, 0xd0003000);
        pci_root_remove(pci->root, &cards[0].function);
        cr_assert(answers(pci, &cards[1], 0, 0xd0000000));
        pci_root_remove(pci->root, &cards[1].function);
        fake_pci_destroy(pci);
    }
}

Test(pci_bar, bars_of_one_card_over_each_other)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    fake_card_init(&card, 1);
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        fake_card_bar(&card, i, PCI_BAR_MEM32, 0x1000);
    fake_card_add(pci, &card);
    command_write(pci, 1, PCI_COMMAND_MEMORY);
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        bar_write(pci, 1, i, 0xd0000000);
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
        cr_assert(answers(pci, &card, i, 0xd0000000));
        bar_write(pci, 1, i, 0xd1000000 + 0x1000 * i);
    }
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        cr_assert(answers(pci, &card, i, 0xd1000000 + 0x1000 * i));
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

static enum bus_verdict fixed_access(struct bus_range *range, struct bus_access *access)
{
    (void)range;
    access->value = 0x5a;
    return BUS_DONE;
}

Test(pci_bar, fixed_device_inside_a_window_is_never_displaced)
{
    static const struct bus_range_ops ops = {.access = fixed_access};
    struct bus_range fixed = {.ops = &ops, .name = "fixed", .base = 0xd0000800, .len = 16};
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    cr_assert_eq(bus_add(pci->mmio_bus, &fixed, NULL), 0);
    card_add(pci, &card, 1, 0x1000);
    command_write(pci, 1, PCI_COMMAND_MEMORY);
    bar_write(pci, 1, 0, 0xd0000000);
    cr_assert(silent(pci, 0xd0000000));
    cr_assert_eq(fake_mem_read(pci, 0xd0000800, 1), 0x5a);
    cr_assert_not(card.function.bars[0].decoded);
    bar_write(pci, 1, 0, 0xd0001000);
    cr_assert(answers(pci, &card, 0, 0xd0001000));
    pci_root_remove(pci->root, &card.function);
    bus_remove(pci->mmio_bus, &fixed);
    fake_pci_destroy(pci);
}

static void access_ignore(struct bus_access *access)
{
    (void)access;
}

/* The access belongs to the device until it answers, wherever its BAR went meanwhile. */
Test(pci_bar, may_move_while_an_access_is_deferred)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct bus_access access = {
        .addr = 0xd0000010, .size = 1, .is_write = true, .complete = access_ignore};
    struct fake_card card;

    card_add(pci, &card, 1, 0x1000);
    command_write(pci, 1, PCI_COMMAND_MEMORY);
    bar_write(pci, 1, 0, 0xd0000000);
    card.defers = true;
    cr_assert_eq(bus_dispatch(pci->mmio_bus, &access), BUS_DEFER);
    cr_assert_eq(card.deferred, &access);
    card.defers = false;
    bar_write(pci, 1, 0, 0xd0010000);
    command_write(pci, 1, 0);
    command_write(pci, 1, PCI_COMMAND_MEMORY);
    cr_assert(silent(pci, 0xd0000000));
    cr_assert(answers(pci, &card, 0, 0xd0010000));
    cr_assert_eq(access.offset, 0x10);
    bus_access_complete(card.deferred);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

/* ---- a hostile guest ---- */

/*
 * Random writes to command registers and BARs, against a model that is written down from the rule
 * in pci.h and reads only config space back.
 */
enum { HAMMER_CARDS = 6, HAMMER_ROUNDS = 20000 };

struct claim {
    bool is_port, valid;
    uint64_t base, len;
    unsigned card, bar;
};

static bool in_window(uint64_t base, uint64_t len, uint64_t window, uint64_t window_len)
{
    return base >= window && base + len > base && base + len <= window + window_len;
}

static struct claim model_claim(struct fake_pci *pci, struct fake_card *cards, unsigned card,
                                unsigned bar)
{
    const struct pci_bar *spec = &cards[card].function.bars[bar];
    uint32_t low = bar_read(pci, card + 1, bar);
    uint16_t command = (uint16_t)fake_config_read(pci, card + 1, PCI_COMMAND, 2);
    struct claim claim = {.len = spec->size, .card = card, .bar = bar};

    switch (spec->type) {
    case PCI_BAR_NONE:
        break;
    case PCI_BAR_IO:
        claim.is_port = true;
        claim.base = low & ~3U;
        claim.valid =
            command & PCI_COMMAND_IO && in_window(claim.base, claim.len, FAKE_IO_BASE, FAKE_IO_LEN);
        break;
    case PCI_BAR_MEM64:
        claim.base = (uint64_t)bar_read(pci, card + 1, bar + 1) << 32;
        /* fallthrough */
    case PCI_BAR_MEM32:
        claim.base |= low & ~0xfU;
        claim.valid = command & PCI_COMMAND_MEMORY &&
                      (in_window(claim.base, claim.len, FAKE_MEM32_BASE, FAKE_MEM32_LEN) ||
                       in_window(claim.base, claim.len, FAKE_MEM64_BASE, FAKE_MEM64_LEN));
        break;
    }
    return claim;
}

static bool claims_clash(const struct claim *a, const struct claim *b)
{
    return a->valid && b->valid && a->is_port == b->is_port && a->base < b->base + b->len &&
           b->base < a->base + a->len;
}

static void hammer_check(struct fake_pci *pci, struct fake_card *cards, int round)
{
    struct claim claims[HAMMER_CARDS * PCI_BAR_COUNT];
    unsigned count = 0;

    for (unsigned card = 0; card < HAMMER_CARDS; card++) {
        for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
            struct claim *claim = &claims[count];

            *claim = model_claim(pci, cards, card, bar);
            for (unsigned k = 0; k < count; k++)
                claim->valid = claim->valid && !claims_clash(&claims[k], claim);
            count++;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        const struct claim *claim = &claims[i];
        const struct fake_card *card = &cards[claim->card];

        cr_assert_eq(card->function.bars[claim->bar].decoded, claim->valid,
                     "round %d: card %u, BAR %u", round, claim->card, claim->bar);
        cr_assert_eq((card->present >> claim->bar & 1) != 0, claim->valid);
        if (claim->valid)
            cr_assert(answers(pci, card, claim->bar, claim->base), "round %d: card %u, BAR %u",
                      round, claim->card, claim->bar);
    }
}

static uint32_t hammer_value(unsigned *seed)
{
    static const uint32_t bases[] = {0xd0000000, 0xdffff000, 0xc0000000, 0xe0000000, 0x1000,
                                     0xfff0,     0,          ~0U,        8,          15};

    if (rand_r(seed) % 8 == 0)
        return (uint32_t)rand_r(seed) << 16 ^ (uint32_t)rand_r(seed);
    return bases[(unsigned)rand_r(seed) % array_count(bases)] +
           ((uint32_t)rand_r(seed) % 8 << (rand_r(seed) % 3 * 4 + 4));
}

Test(pci_bar, random_writes_agree_with_the_rule)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    static struct fake_card cards[HAMMER_CARDS];
    const unsigned first_seed = 20261122;
    unsigned seed = first_seed, entered = 0;

    for (unsigned i = 0; i < HAMMER_CARDS; i++) {
        fake_card_init(&cards[i], (uint8_t)(i + 1));
        fake_card_bar(&cards[i], 0, PCI_BAR_MEM32, 0x10 << (i * 2));
        fake_card_bar(&cards[i], 1, PCI_BAR_IO, 4U << i);
        fake_card_bar(&cards[i], 2, PCI_BAR_MEM64, 0x1000 << i);
        fake_card_bar(&cards[i], i % 2 ? 5 : 4, i % 2 ? PCI_BAR_MEM32 : PCI_BAR_MEM64, 0x100);
        fake_card_add(pci, &cards[i]);
    }
    for (int round = 0; round < HAMMER_ROUNDS; round++) {
        unsigned slot = (unsigned)rand_r(&seed) % (HAMMER_CARDS + 1);
        uint8_t size = (uint8_t)(1U << rand_r(&seed) % 4);
        uint32_t value = hammer_value(&seed);

        switch (rand_r(&seed) % 8) {
        case 0:
        case 1:
            command_write(pci, slot, (uint16_t)(value | (value & 0x10 ? 3 : 0)));
            break;
        case 2:
            fake_config_write(pci, slot, (uint32_t)rand_r(&seed) % 4096, size, value);
            break;
        case 3:
            fake_port_write(pci, 0xcf8, 4,
                            0x80000000U | slot << 11 | ((uint32_t)rand_r(&seed) % 64));
            fake_port_write(pci, 0xcfc + rand_r(&seed) % 4, size % 8 ? size : 4, value);
            break;
        default:
            bar_write(pci, slot, (unsigned)rand_r(&seed) % PCI_BAR_COUNT, value);
            break;
        }
        if (slot && rand_r(&seed) % 512 == 0)
            pci_function_reset(&cards[slot - 1].function);
        hammer_check(pci, cards, round);
    }
    for (unsigned i = 0; i < HAMMER_CARDS; i++) {
        cr_assert_eq(fake_config_read(pci, i + 1, PCI_VENDOR_ID, 4), 0x1234U | (i + 1) << 16,
                     "seed %u", first_seed);
        for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++)
            entered += cards[i].enters[bar];
        pci_root_remove(pci->root, &cards[i].function);
        cr_assert_eq(cards[i].present, 0);
    }
    cr_assert_gt(entered, HAMMER_ROUNDS / 20, "the hammer missed: %u", entered);
    fake_pci_destroy(pci);
}
