#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bus/pci.h"
#include "fake_pci.h"

static uint16_t command(struct fake_pci *pci, unsigned slot)
{
    return (uint16_t)fake_config_read(pci, slot, PCI_COMMAND, 2);
}

Test(pci_function, header_says_who_it_is)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    fake_card_init(&card, 7);
    fake_card_add(pci, &card);
    cr_assert_eq(fake_config_read(pci, 1, PCI_VENDOR_ID, 4), 0x00071234);
    cr_assert_eq(fake_config_read(pci, 1, PCI_CLASS_REVISION, 4), 0x02030405);
    cr_assert_eq(fake_config_read(pci, 1, PCI_HEADER_TYPE, 1), PCI_HEADER_TYPE_NORMAL);
    cr_assert_eq(fake_config_read(pci, 1, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x9abc5678);
    cr_assert_eq(fake_config_read(pci, 1, PCI_ROM_ADDRESS, 4), 0);
    cr_assert_eq(fake_config_read(pci, 1, PCI_CAPABILITY_LIST, 1), 0);
    cr_assert_eq(fake_config_read(pci, 1, PCI_INTERRUPT_PIN, 1), 1);
    cr_assert_eq(command(pci, 1), 0);
    cr_assert_eq(fake_config_read(pci, 1, PCI_STATUS, 2), 0);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

/* Written with all ones and all zeroes in every width, only these bits move. */
Test(pci_function, read_only_bits_do_not_change)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    uint8_t before[256], ones[256], zeroes[256];
    struct fake_card card;

    fake_card_init(&card, 7);
    fake_card_bar(&card, 1, PCI_BAR_IO, 32);
    fake_card_bar(&card, 2, PCI_BAR_MEM64, 0x10000);
    fake_card_add(pci, &card);
    for (unsigned i = 0; i < 256; i++)
        before[i] = (uint8_t)fake_config_read(pci, 1, i, 1);
    for (uint8_t size = 1; size <= 4; size *= 2) {
        for (unsigned i = 0; i < 256; i += size)
            fake_config_write(pci, 1, i, size, ~0U);
        for (unsigned i = 0; i < 256; i++)
            ones[i] = (uint8_t)fake_config_read(pci, 1, i, 1);
        for (unsigned i = 0; i < 256; i += size)
            fake_config_write(pci, 1, i, size, 0);
        for (unsigned i = 0; i < 256; i++)
            zeroes[i] = (uint8_t)fake_config_read(pci, 1, i, 1);
        for (unsigned i = 0; i < 256; i++) {
            uint8_t fixed = (uint8_t) ~(ones[i] ^ zeroes[i]);

            cr_assert_eq(ones[i] & fixed, before[i] & fixed, "register 0x%x", i);
        }
        cr_assert_eq(ones[PCI_COMMAND] ^ zeroes[PCI_COMMAND], 0x47);
        cr_assert_eq(ones[PCI_COMMAND + 1] ^ zeroes[PCI_COMMAND + 1], 0x05);
        cr_assert_eq(ones[PCI_STATUS] ^ zeroes[PCI_STATUS], 0);
        cr_assert_eq(ones[PCI_BASE_ADDRESS_1] ^ zeroes[PCI_BASE_ADDRESS_1], 0xe0);
        cr_assert_eq(ones[PCI_BASE_ADDRESS_3] ^ zeroes[PCI_BASE_ADDRESS_3], 0xff, "upper half");
        for (unsigned i = 0; i < 256; i++) {
            bool writable = (i >= PCI_COMMAND && i < PCI_STATUS) || i == PCI_CACHE_LINE_SIZE ||
                            (i >= PCI_BASE_ADDRESS_1 && i < PCI_BASE_ADDRESS_4) ||
                            i == PCI_INTERRUPT_LINE;

            cr_assert(writable || ones[i] == zeroes[i], "register 0x%x", i);
        }
    }
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_function, bus_master_follows_the_command_register)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    fake_card_init(&card, 7);
    fake_card_add(pci, &card);
    cr_assert_not(pci_function_bus_master(&card.function));
    fake_config_write(pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    cr_assert(pci_function_bus_master(&card.function));
    cr_assert_eq(card.bus_master_changes, 1);
    fake_config_write(pci, 1, PCI_COMMAND + 1, 1, 0xff);
    fake_config_write(pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_SERR);
    cr_assert_eq(card.bus_master_changes, 1, "only when it changes");
    fake_config_write(pci, 1, PCI_COMMAND, 1, 0);
    cr_assert_not(pci_function_bus_master(&card.function));
    cr_assert_eq(card.bus_master_changes, 2);
    fake_config_write(pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    pci_function_reset(&card.function);
    cr_assert_eq(card.bus_master_changes, 4);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

/* ---- capabilities ---- */

Test(pci_function, capabilities_form_a_list)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    uint8_t body[7] = {0xaa, 0xaa, 1, 2, 3, 4, 5}, mask[7] = {0xff, 0xff, 0, 0xf0};
    struct fake_card card;
    uint8_t first, second;

    fake_card_init(&card, 7);
    cr_assert_eq(pci_function_add_capability(&card.function, 9, body, 7, mask, &first), 0);
    cr_assert_eq(pci_function_add_capability(&card.function, 5, body, 4, NULL, &second), 0);
    fake_card_add(pci, &card);
    cr_assert(fake_config_read(pci, 1, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
    cr_assert_eq(fake_config_read(pci, 1, PCI_CAPABILITY_LIST, 1), first);
    cr_assert_eq(first, 0x40);
    cr_assert_eq(second, 0x48, "on a dword");
    cr_assert_eq(fake_config_read(pci, 1, first, 4), 0x02010000U | second << 8 | 9);
    cr_assert_eq(fake_config_read(pci, 1, second, 4), 0x02010005);
    fake_config_write(pci, 1, first, 4, ~0U);
    cr_assert_eq(fake_config_read(pci, 1, first, 4), 0xf2010000U | second << 8 | 9);
    pci_function_reset(&card.function);
    cr_assert_eq(fake_config_read(pci, 1, first + 3, 1), 2);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_function, capabilities_may_fill_config_space_to_the_last_byte)
{
    uint8_t body[PCI_CONFIG_SIZE] = {0};
    struct fake_card card;
    uint8_t at;

    fake_card_init(&card, 7);
    cr_assert_eq(pci_function_add_capability(&card.function, 9, body, 193, NULL, &at), -ENOSPC);
    cr_assert_eq(pci_function_add_capability(&card.function, 9, body, 188, NULL, &at), 0);
    cr_assert_eq(pci_function_add_capability(&card.function, 9, body, 4, NULL, &at), 0);
    cr_assert_eq(at, 0xfc);
    cr_assert_eq(pci_function_add_capability(&card.function, 9, body, 2, NULL, &at), -ENOSPC);
}

static bool window_access(struct fake_card *card, uint32_t offset, struct bus_access *access)
{
    (void)card;
    if (offset < 0x80 || offset >= 0x84)
        return false;
    if (!access->is_write)
        access->value = 0x11223344 >> (8 * (offset - 0x80));
    return true;
}

Test(pci_function, device_answers_for_its_capability)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    fake_card_init(&card, 7);
    card.config_access = window_access;
    fake_card_add(pci, &card);
    cr_assert_eq(fake_config_read(pci, 1, 0x80, 4), 0x11223344);
    cr_assert_eq(fake_config_read(pci, 1, 0x82, 2), 0x1122);
    cr_assert_eq(fake_config_read(pci, 1, 0x81, 1), 0x33);
    cr_assert_eq(fake_config_read(pci, 1, 0x7e, 4), 0x33440000, "crossed: byte by byte");
    cr_assert_eq(fake_config_read(pci, 1, 0x82, 4), 0x00001122);
    cr_assert_eq(fake_config_read(pci, 1, 0, 2), 0x1234, "the rest is plain");
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

/* ---- INTx ---- */

Test(pci_function, intx_follows_level_and_disable_bit)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    fake_card_init(&card, 7);
    fake_card_add(pci, &card);
    pci_function_set_intx(&card.function, true);
    cr_assert(pci->line[1], "slot 1, INTA");
    cr_assert(fake_config_read(pci, 1, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    fake_config_write(pci, 1, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    cr_assert_not(pci->line[1]);
    cr_assert(fake_config_read(pci, 1, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT,
              "the status does not depend on the disable bit (6.2.3)");
    fake_config_write(pci, 1, PCI_COMMAND + 1, 1, 0);
    cr_assert(pci->line[1], "comes back: the level is still wanted");
    fake_config_write(pci, 1, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    pci_function_set_intx(&card.function, false);
    cr_assert_not(fake_config_read(pci, 1, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    fake_config_write(pci, 1, PCI_COMMAND, 2, 0);
    cr_assert_not(pci->line[1]);
    pci_function_set_intx(&card.function, true);
    pci_function_reset(&card.function);
    cr_assert_not(pci->line[1]);
    cr_assert_not(fake_config_read(pci, 1, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_function, functions_share_a_root_pin)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card cards[10]; /* slots 1 to 10: 1, 5 and 9 share */

    for (unsigned i = 0; i < 10; i++) {
        fake_card_init(&cards[i], (uint8_t)i);
        fake_card_add(pci, &cards[i]);
    }
    pci_function_set_intx(&cards[0].function, true);
    pci_function_set_intx(&cards[4].function, true);
    pci_function_set_intx(&cards[4].function, true);
    cr_assert(pci->line[1] && !pci->line[0] && !pci->line[2] && !pci->line[3]);
    cr_assert_eq(pci->line_changes, 1);
    pci_function_set_intx(&cards[0].function, false);
    cr_assert(pci->line[1], "slot 5 still drives it");
    pci_function_set_intx(&cards[8].function, true);
    fake_config_write(pci, 5, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    cr_assert(pci->line[1], "slot 9 still drives it");
    pci_root_remove(pci->root, &cards[8].function);
    cr_assert_not(pci->line[1]);
    cr_assert_eq(pci->line_changes, 2);
    for (unsigned i = 0; i < 10; i++)
        pci_root_remove(pci->root, &cards[i].function);
    fake_pci_destroy(pci);
}

Test(pci_function, reset_restores_every_register)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    uint8_t before[256];
    struct fake_card card;

    fake_card_init(&card, 7);
    fake_card_bar(&card, 0, PCI_BAR_MEM32, 0x1000);
    fake_card_add(pci, &card);
    for (unsigned i = 0; i < 256; i++)
        before[i] = (uint8_t)fake_config_read(pci, 1, i, 1);
    fake_config_write(pci, 1, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    fake_config_write(pci, 1, PCI_BASE_ADDRESS_0, 4, 0xc8000000);
    fake_config_write(pci, 1, PCI_INTERRUPT_LINE, 1, 3);
    pci_function_set_intx(&card.function, true);
    cr_assert_eq(card.enters[0], 2);
    pci_function_reset(&card.function);
    cr_assert_eq(card.leaves[0], 2, "the device is told that its BAR is gone");
    for (unsigned i = 0; i < 256; i++)
        cr_assert_eq(fake_config_read(pci, 1, i, 1), before[i], "register 0x%x", i);
    cr_assert_eq(fake_mem_read(pci, 0xc8000000, 4), 0xffffffff);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}
