#include "bus/msix.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "fake_pci.h"

enum { VECTOR_COUNT = 5, CHIP_COUNT = 80, TABLE = 0x100, PBA = 0x800, BAR_ADDR = 0xd0000000 };

struct fake_chip {
    unsigned limit; /* vectors that it has */
    bool used[CHIP_COUNT], routed[CHIP_COUNT];
    struct msi_message routes[CHIP_COUNT];
    unsigned route_count, signals[CHIP_COUNT];
    uint64_t address_refused;
    int eventfd_result;
};

static int chip_alloc(void *arg, uint32_t *vector)
{
    struct fake_chip *chip = arg;

    for (*vector = 0; *vector < chip->limit; ++*vector) {
        if (!chip->used[*vector]) {
            chip->used[*vector] = true;
            return 0;
        }
    }
    return -ENOSPC;
}

static void chip_free(void *arg, uint32_t vector)
{
    struct fake_chip *chip = arg;

    cr_assert(chip->used[vector]);
    chip->used[vector] = false;
}

static int chip_route(void *arg, uint32_t vector, const struct msi_message *message)
{
    struct fake_chip *chip = arg;

    cr_assert(chip->used[vector]);
    chip->route_count++;
    if (chip->address_refused && message->address == chip->address_refused)
        return -EINVAL;
    chip->routes[vector] = *message;
    chip->routed[vector] = true;
    return 0;
}

static void chip_signal(void *arg, uint32_t vector)
{
    struct fake_chip *chip = arg;

    cr_assert(chip->routed[vector], "signalled without a route");
    chip->signals[vector]++;
}

static int chip_eventfd(void *arg, uint32_t vector)
{
    struct fake_chip *chip = arg;

    cr_assert(chip->routed[vector], "asked for without a route");
    return chip->eventfd_result ? chip->eventfd_result : 1000 + (int)vector;
}

static const struct msi_chip_ops chip_ops = {
    .alloc = chip_alloc,
    .free = chip_free,
    .route = chip_route,
    .signal = chip_signal,
    .eventfd = chip_eventfd,
};

/* A card with MSI-X in BAR 0, decoded at BAR_ADDR. */
struct msix_card {
    struct fake_card card;
    struct fake_pci *pci;
    struct fake_chip chip;
    struct msix *msix;
    uint8_t capability;
};

static enum bus_verdict msix_card_access(struct bus_range *range, struct bus_access *access)
{
    struct msix_card *card = container_of(range, struct msix_card, card.function.bars[0].range);

    if (!msix_bar_access(card->msix, access))
        access->value = 0xdead;
    return BUS_DONE;
}

static const struct bus_range_ops msix_card_ops = {.access = msix_card_access};

static bool msix_card_config(struct fake_card *base, uint32_t offset, struct bus_access *access)
{
    return msix_config_access(container_of(base, struct msix_card, card)->msix, offset, access);
}

static struct msix_card *card_create(uint16_t count)
{
    struct msix_card *card = calloc(1, sizeof(*card));
    struct msi_chip chip = {.ops = &chip_ops};
    struct err err = {""};

    cr_assert_not_null(card);
    card->chip.limit = CHIP_COUNT;
    chip.chip = &card->chip;
    card->pci = fake_pci_create(NULL);
    fake_card_init(&card->card, 1);
    fake_card_bar(&card->card, 0, PCI_BAR_MEM32, 0x1000);
    card->card.function.bars[0].range.ops = &msix_card_ops;
    card->card.config_access = msix_card_config;
    cr_assert_eq(msix_create(&card->msix, &card->card.function, chip, count, 0, TABLE, PBA, &err),
                 0, "%s", err.text);
    fake_card_add(card->pci, &card->card);
    fake_config_write(card->pci, 1, PCI_BASE_ADDRESS_0, 4, BAR_ADDR);
    fake_config_write(card->pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    card->capability = (uint8_t)fake_config_read(card->pci, 1, PCI_CAPABILITY_LIST, 1);
    return card;
}

static void card_destroy(struct msix_card *card)
{
    pci_root_remove(card->pci->root, &card->card.function);
    msix_destroy(card->msix);
    for (unsigned i = 0; i < CHIP_COUNT; i++)
        cr_assert_not(card->chip.used[i], "a vector was not given back");
    fake_pci_destroy(card->pci);
    free(card);
}

static uint16_t control_read(struct msix_card *card)
{
    return (uint16_t)fake_config_read(card->pci, 1, card->capability + PCI_MSIX_FLAGS, 2);
}

static void control_write(struct msix_card *card, uint16_t value)
{
    fake_config_write(card->pci, 1, card->capability + PCI_MSIX_FLAGS, 2, value);
}

static uint64_t entry_addr(unsigned index, unsigned field)
{
    return BAR_ADDR + TABLE + index * PCI_MSIX_ENTRY_SIZE + field;
}

static void entry_write(struct msix_card *card, unsigned index, unsigned field, uint32_t value)
{
    fake_mem_write(card->pci, entry_addr(index, field), 4, value);
}

static uint32_t entry_read(struct msix_card *card, unsigned index, unsigned field)
{
    return (uint32_t)fake_mem_read(card->pci, entry_addr(index, field), 4);
}

/* As Linux does it: message first, then the mask bit off. */
static void entry_open(struct msix_card *card, unsigned index)
{
    entry_write(card, index, PCI_MSIX_ENTRY_LOWER_ADDR, 0xfee00000 + (index << 12));
    entry_write(card, index, PCI_MSIX_ENTRY_UPPER_ADDR, 0);
    entry_write(card, index, PCI_MSIX_ENTRY_DATA, 0x40 + index);
    entry_write(card, index, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

static uint64_t pending(struct msix_card *card)
{
    return fake_mem_read(card->pci, BAR_ADDR + PBA, 8);
}

Test(msix, capability_says_where_everything_is)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    cr_assert_eq(fake_config_read(card->pci, 1, card->capability, 1), PCI_CAP_ID_MSIX);
    cr_assert_eq(control_read(card), VECTOR_COUNT - 1);
    cr_assert_eq(fake_config_read(card->pci, 1, card->capability + PCI_MSIX_TABLE, 4), TABLE);
    cr_assert_eq(fake_config_read(card->pci, 1, card->capability + PCI_MSIX_PBA, 4), PBA);
    cr_assert_eq(msix_count(card->msix), VECTOR_COUNT);
    fake_config_write(card->pci, 1, card->capability, 4, ~0U);
    fake_config_write(card->pci, 1, card->capability + PCI_MSIX_TABLE, 4, ~0U);
    cr_assert_eq(fake_config_read(card->pci, 1, card->capability, 4),
                 PCI_CAP_ID_MSIX | (0xc000U | (VECTOR_COUNT - 1)) << 16,
                 "only enable and function mask can be written");
    cr_assert_eq(fake_config_read(card->pci, 1, card->capability + PCI_MSIX_TABLE, 4), TABLE);
    card_destroy(card);
}

Test(msix, control_is_written_in_any_width)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    cr_assert(msix_is_enabled(card->msix));
    fake_config_write(card->pci, 1, card->capability + 3, 1, 0);
    cr_assert_not(msix_is_enabled(card->msix));
    fake_config_write(card->pci, 1, card->capability, 4, (uint32_t)PCI_MSIX_FLAGS_ENABLE << 16);
    cr_assert(msix_is_enabled(card->msix));
    fake_config_write(card->pci, 1, card->capability + 2, 1, 0);
    cr_assert(msix_is_enabled(card->msix), "that byte has no writable bit");
    fake_config_write(card->pci, 1, card->capability + 1, 4, 0);
    cr_assert_not(msix_is_enabled(card->msix), "a write that crosses a dword");
    card_destroy(card);
}

Test(msix, table_starts_masked_and_takes_dwords_and_qwords)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        cr_assert_eq(entry_read(card, i, PCI_MSIX_ENTRY_VECTOR_CTRL), 1);
        cr_assert_eq(entry_read(card, i, PCI_MSIX_ENTRY_DATA), 0);
    }
    fake_mem_write(card->pci, entry_addr(2, 0), 8, 0x1122334455667788);
    fake_mem_write(card->pci, entry_addr(2, 8), 8, 0xffffffff99aabbcc);
    cr_assert_eq(entry_read(card, 2, 0), 0x55667788);
    cr_assert_eq(entry_read(card, 2, 4), 0x11223344);
    cr_assert_eq(fake_mem_read(card->pci, entry_addr(2, 8), 8), 0x0000000199aabbcc,
                 "reserved bits of the control word stay 0");
    cr_assert_eq(entry_read(card, 1, 12), 1);
    cr_assert_eq(entry_read(card, 3, 0), 0);
    card_destroy(card);
}

/* Section 6.8.2 leaves them undefined. */
Test(msix, other_widths_read_all_ones_and_change_nothing)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    fake_mem_write(card->pci, entry_addr(0, 0), 8, 0x1122334455667788);
    fake_mem_write(card->pci, entry_addr(0, 0), 1, 0);
    fake_mem_write(card->pci, entry_addr(0, 2), 2, 0);
    fake_mem_write(card->pci, entry_addr(0, 2), 4, 0);
    fake_mem_write(card->pci, entry_addr(0, 4), 8, 0);
    cr_assert_eq(fake_mem_read(card->pci, entry_addr(0, 0), 8), 0x1122334455667788);
    cr_assert_eq(fake_mem_read(card->pci, entry_addr(0, 0), 1), 0xff);
    cr_assert_eq(fake_mem_read(card->pci, entry_addr(0, 4), 2), 0xffff);
    cr_assert_eq(fake_mem_read(card->pci, entry_addr(0, 1), 4), 0xffffffff);
    cr_assert_eq(fake_mem_read(card->pci, entry_addr(0, 4), 8), UINT64_MAX);
    cr_assert_eq(fake_mem_read(card->pci, BAR_ADDR + PBA, 1), 0xff);
    card_destroy(card);
}

Test(msix, rest_of_the_bar_is_the_owners)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    cr_assert_eq(fake_mem_read(card->pci, BAR_ADDR + TABLE - 4, 4), 0xdead);
    cr_assert_eq(fake_mem_read(card->pci, entry_addr(VECTOR_COUNT, 0), 4), 0xdead);
    cr_assert_eq(fake_mem_read(card->pci, BAR_ADDR + PBA - 4, 4), 0xdead);
    cr_assert_eq(fake_mem_read(card->pci, BAR_ADDR + PBA + 8, 4), 0xdead);
    cr_assert_eq(fake_mem_read(card->pci, BAR_ADDR + 0xffc, 4), 0xdead);
    card_destroy(card);
}

Test(msix, open_vector_sends_its_message)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    entry_open(card, 3);
    msix_signal(card->msix, 3);
    cr_assert_eq(card->chip.signals[3], 1);
    cr_assert_eq(card->chip.routes[3].address, 0xfee03000);
    cr_assert_eq(card->chip.routes[3].data, 0x43);
    cr_assert_eq(card->chip.routes[3].device_id, 1 << 3, "slot 1, function 0");
    cr_assert_eq(pending(card), 0);
    card_destroy(card);
}

Test(msix, nothing_is_sent_while_disabled)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    entry_open(card, 0);
    msix_signal(card->msix, 0);
    cr_assert_eq(card->chip.route_count, 0, "no route for nothing");
    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    cr_assert_eq(card->chip.signals[0], 0);
    cr_assert_eq(card->chip.route_count, 1);
    msix_signal(card->msix, 0);
    cr_assert_eq(card->chip.signals[0], 1);
    card_destroy(card);
}

Test(msix, masked_vector_is_sent_once_when_unmasked)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    entry_open(card, 0);
    entry_open(card, 1);
    entry_write(card, 1, PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
    msix_signal(card->msix, 1);
    msix_signal(card->msix, 1);
    cr_assert_eq(pending(card), 1 << 1);
    cr_assert_eq(fake_mem_read(card->pci, BAR_ADDR + PBA, 4), 1 << 1);
    cr_assert_eq(fake_mem_read(card->pci, BAR_ADDR + PBA + 4, 4), 0);
    cr_assert_eq(card->chip.signals[1], 0);
    fake_mem_write(card->pci, BAR_ADDR + PBA, 8, 0);
    cr_assert_eq(pending(card), 1 << 1, "read-only");
    entry_write(card, 1, PCI_MSIX_ENTRY_DATA, 0x77);
    entry_write(card, 1, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    cr_assert_eq(card->chip.signals[1], 1);
    cr_assert_eq(card->chip.routes[1].data, 0x77, "with what the entry says now");
    cr_assert_eq(pending(card), 0);
    entry_write(card, 1, PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
    entry_write(card, 1, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    cr_assert_eq(card->chip.signals[1], 1);
    card_destroy(card);
}

Test(msix, function_mask_holds_back_every_vector)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    control_write(card, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    entry_open(card, 0);
    entry_open(card, 4);
    for (uint16_t i = 0; i < VECTOR_COUNT; i++)
        msix_signal(card->msix, i);
    cr_assert_eq(pending(card), 0x1f);
    cr_assert_eq(card->chip.route_count, 0);
    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    cr_assert_eq(card->chip.signals[0], 1);
    cr_assert_eq(card->chip.signals[4], 1);
    cr_assert_eq(pending(card), 0x0e, "those with a mask of their own wait on");
    card_destroy(card);
}

Test(msix, pending_is_forgotten_when_disabled)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    msix_signal(card->msix, 2);
    cr_assert_eq(pending(card), 1 << 2);
    control_write(card, 0);
    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    entry_open(card, 2);
    cr_assert_eq(card->chip.signals[2], 0, "the next driver asked for nothing yet");
    card_destroy(card);
}

Test(msix, routes_change_only_with_the_message)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    entry_open(card, 0);
    cr_assert_eq(card->chip.route_count, 1);
    for (int i = 0; i < 3; i++) {
        entry_write(card, 0, PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
        entry_write(card, 0, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
        control_write(card, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
        control_write(card, PCI_MSIX_FLAGS_ENABLE);
    }
    cr_assert_eq(card->chip.route_count, 1);
    entry_write(card, 0, PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
    entry_write(card, 0, PCI_MSIX_ENTRY_UPPER_ADDR, 1);
    entry_write(card, 0, PCI_MSIX_ENTRY_DATA, 0x99);
    cr_assert_eq(card->chip.route_count, 1, "not while it is masked");
    entry_write(card, 0, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    cr_assert_eq(card->chip.route_count, 2);
    cr_assert_eq(card->chip.routes[0].address, 0x1fee00000);
    card_destroy(card);
}

Test(msix, refused_message_is_never_signalled)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    card->chip.address_refused = 0xfee01000;
    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    entry_open(card, 1);
    msix_signal(card->msix, 1);
    cr_assert_eq(card->chip.signals[1], 0);
    entry_write(card, 1, PCI_MSIX_ENTRY_LOWER_ADDR, 0xfee00000);
    msix_signal(card->msix, 1);
    cr_assert_eq(card->chip.signals[1], 1, "works again with a valid one");
    card_destroy(card);
}

Test(msix, reset_brings_everything_back)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    entry_open(card, 0);
    msix_signal(card->msix, 2);
    msix_reset(card->msix);
    pci_function_reset(&card->card.function);
    fake_config_write(card->pci, 1, PCI_BASE_ADDRESS_0, 4, BAR_ADDR);
    fake_config_write(card->pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    cr_assert_not(msix_is_enabled(card->msix));
    cr_assert_eq(control_read(card), VECTOR_COUNT - 1);
    cr_assert_eq(pending(card), 0);
    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        cr_assert_eq(fake_mem_read(card->pci, entry_addr(i, 0), 8), 0);
        cr_assert_eq(fake_mem_read(card->pci, entry_addr(i, 8), 8), 1ULL << 32);
    }
    msix_signal(card->msix, 0);
    cr_assert_eq(card->chip.signals[0], 0);
    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    msix_signal(card->msix, 0);
    cr_assert_eq(pending(card), 1);
    entry_open(card, 0);
    cr_assert_eq(card->chip.signals[0], 1);
    card_destroy(card);
}

Test(msix, exhausted_chip_is_reported_and_given_back)
{
    struct fake_chip chip = {.limit = 3};
    struct fake_card card;
    struct msix *msix;
    struct err err;

    fake_card_init(&card, 1);
    fake_card_bar(&card, 0, PCI_BAR_MEM32, 0x1000);
    cr_assert_eq(msix_create(&msix, &card.function, (struct msi_chip){&chip_ops, &chip}, 4, 0,
                             TABLE, PBA, &err),
                 -ENOSPC);
    cr_assert(strstr(err.text, "card") && strstr(err.text, "vector"), "%s", err.text);
    for (unsigned i = 0; i < CHIP_COUNT; i++)
        cr_assert_not(chip.used[i]);
}

Test(msix, largest_table)
{
    struct msix_card *card = card_create(MSIX_VECTOR_COUNT_MAX);

    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    msix_signal(card->msix, MSIX_VECTOR_COUNT_MAX - 1);
    cr_assert_eq(pending(card), 1ULL << 63);
    cr_assert_eq(fake_mem_read(card->pci, BAR_ADDR + PBA + 4, 4), 1U << 31);
    entry_open(card, MSIX_VECTOR_COUNT_MAX - 1);
    cr_assert_eq(card->chip.signals[MSIX_VECTOR_COUNT_MAX - 1], 1);
    card_destroy(card);
}

/*
 * Whatever the guest does to table and control, every signal is either sent, or pending, or was
 * dropped while MSI-X was off; and nothing is sent that was not signalled.
 */
Test(msix, random_masking_loses_no_signal)
{
    struct msix_card *card = card_create(VECTOR_COUNT);
    bool owed[VECTOR_COUNT] = {false};
    const unsigned first_seed = 20261123;
    unsigned seed = first_seed;

    for (int round = 0; round < 20000; round++) {
        unsigned i = (unsigned)rand_r(&seed) % VECTOR_COUNT, sent = card->chip.signals[i];
        unsigned before[VECTOR_COUNT];

        memcpy(before, card->chip.signals, sizeof(before));
        switch (rand_r(&seed) % 8) {
        case 0:
            control_write(card, (uint16_t)(rand_r(&seed) % 8 ? rand_r(&seed) | 0x8000
                                                             : rand_r(&seed) & 0x4000));
            break;
        case 1:
            entry_open(card, i);
            break;
        case 2:
            fake_mem_write(card->pci, entry_addr(0, 0) + (unsigned)rand_r(&seed) % 0x60,
                           (uint8_t)(1U << rand_r(&seed) % 4),
                           0xfee00000 + (unsigned)rand_r(&seed) % 2);
            break;
        case 3:
        case 4:
            entry_write(card, i, PCI_MSIX_ENTRY_VECTOR_CTRL, (uint32_t)rand_r(&seed));
            break;
        default:
            msix_signal(card->msix, (uint16_t)i);
            owed[i] = msix_is_enabled(card->msix) && card->chip.signals[i] == sent;
            before[i] = card->chip.signals[i];
            break;
        }
        for (unsigned k = 0; k < VECTOR_COUNT; k++) {
            unsigned new = card->chip.signals[k] - before[k];

            cr_assert(new <= owed[k], "seed %u, round %d: sent without a cause", first_seed, round);
            owed[k] = owed[k] && !new &&msix_is_enabled(card->msix);
            cr_assert_eq((pending(card) >> k & 1) != 0, owed[k], "seed %u, round %d: vector %u",
                         first_seed, round, k);
            cr_assert(!owed[k] || control_read(card) & PCI_MSIX_FLAGS_MASKALL ||
                          entry_read(card, k, PCI_MSIX_ENTRY_VECTOR_CTRL) & 1,
                      "seed %u, round %d: pending, but open", first_seed, round);
        }
    }
    card_destroy(card);
}

/* For who signals a vector without us: it has to ask again after each change. */
Test(msix, eventfd_is_that_of_an_open_vector)
{
    struct msix_card *card = card_create(VECTOR_COUNT);

    cr_assert_eq(msix_eventfd(card->msix, 1), -1);
    entry_open(card, 1);
    cr_assert_eq(msix_eventfd(card->msix, 1), -1, "MSI-X is off");
    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    cr_assert_eq(msix_eventfd(card->msix, 1), 1001);
    cr_assert_eq(msix_eventfd(card->msix, 2), -1, "masked since ever");
    entry_write(card, 1, PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
    cr_assert_eq(msix_eventfd(card->msix, 1), -1);
    entry_write(card, 1, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    cr_assert_eq(msix_eventfd(card->msix, 1), 1001);
    control_write(card, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    cr_assert_eq(msix_eventfd(card->msix, 1), -1);
    control_write(card, PCI_MSIX_FLAGS_ENABLE);
    card->chip.address_refused = 0xbad00000;
    entry_write(card, 1, PCI_MSIX_ENTRY_LOWER_ADDR, 0xbad00000);
    cr_assert_eq(msix_eventfd(card->msix, 1), -1, "a message that cannot be sent");
    entry_write(card, 1, PCI_MSIX_ENTRY_LOWER_ADDR, 0xfee00000);
    card->chip.eventfd_result = -EMFILE;
    cr_assert_eq(msix_eventfd(card->msix, 1), -1);
    card_destroy(card);
}
