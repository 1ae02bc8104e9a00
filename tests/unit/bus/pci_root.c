#include "bus/pci.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "fake_pci.h"

#define ADDRESS(slot, offset) (0x80000000U | (slot) << 11 | (offset))

static void address_write(struct fake_pci *pci, uint32_t address)
{
    fake_port_write(pci, 0xcf8, 4, address);
}

Test(pci_root, host_bridge_is_in_slot_0)
{
    struct fake_pci *pci = fake_pci_create(NULL);

    cr_assert_eq(fake_config_read(pci, 0, PCI_CLASS_REVISION, 4) >> 8, 0x060000);
    cr_assert_neq(fake_config_read(pci, 0, PCI_VENDOR_ID, 2), 0xffff);
    cr_assert_eq(fake_config_read(pci, 0, PCI_INTERRUPT_PIN, 1), 0);
    fake_config_write(pci, 0, PCI_BASE_ADDRESS_0, 4, ~0U);
    cr_assert_eq(fake_config_read(pci, 0, PCI_BASE_ADDRESS_0, 4), 0, "no BAR");
    fake_pci_destroy(pci);
}

Test(pci_root, both_mechanisms_reach_the_same_registers)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    fake_card_init(&card, 7);
    fake_card_add(pci, &card);
    for (unsigned offset = 0; offset < 64; offset += 4) {
        address_write(pci, ADDRESS(1U, offset));
        cr_assert_eq(fake_port_read(pci, 0xcfc, 4), fake_config_read(pci, 1, offset, 4));
    }
    address_write(pci, ADDRESS(1U, PCI_INTERRUPT_LINE));
    fake_port_write(pci, 0xcfc, 1, 0x55);
    cr_assert_eq(fake_config_read(pci, 1, PCI_INTERRUPT_LINE, 1), 0x55);
    fake_config_write(pci, 1, PCI_INTERRUPT_LINE, 1, 0x66);
    cr_assert_eq(fake_port_read(pci, 0xcfc, 1), 0x66);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_root, data_port_takes_every_width_and_offset)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;

    fake_card_init(&card, 7);
    fake_card_add(pci, &card);
    address_write(pci, ADDRESS(1U, PCI_CLASS_REVISION)); /* 02 03 04 05 from the top */
    cr_assert_eq(fake_port_read(pci, 0xcfc, 4), 0x02030405);
    cr_assert_eq(fake_port_read(pci, 0xcfc, 2), 0x0405);
    cr_assert_eq(fake_port_read(pci, 0xcfd, 2), 0x0304);
    cr_assert_eq(fake_port_read(pci, 0xcfe, 2), 0x0203);
    cr_assert_eq(fake_port_read(pci, 0xcfc, 1), 0x05);
    cr_assert_eq(fake_port_read(pci, 0xcfd, 1), 0x04);
    cr_assert_eq(fake_port_read(pci, 0xcfe, 1), 0x03);
    cr_assert_eq(fake_port_read(pci, 0xcff, 1), 0x02);
    cr_assert_eq(fake_port_read(pci, 0xcff, 2), 0xffff, "leaves the port");
    cr_assert_eq(fake_port_read(pci, 0xcfd, 4), 0xffffffff);
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

Test(pci_root, address_port_is_a_dword)
{
    struct fake_pci *pci = fake_pci_create(NULL);

    address_write(pci, 0x80001234);
    fake_port_write(pci, 0xcf8, 1, 0xff);
    fake_port_write(pci, 0xcfb, 1, 0x01); /* Linux looks whether this is left alone */
    fake_port_write(pci, 0xcf8, 2, 0xffff);
    fake_port_write(pci, 0xcfa, 2, 0xffff);
    cr_assert_eq(fake_port_read(pci, 0xcf8, 4), 0x80001234);
    cr_assert_eq(fake_port_read(pci, 0xcf8, 1), 0xff);
    cr_assert_eq(fake_port_read(pci, 0xcfa, 2), 0xffff);
    address_write(pci, 0x80001237);
    cr_assert_eq(fake_port_read(pci, 0xcf8, 4) & 3, 0, "the low bits are hardwired");
    pci_root_reset(pci->root);
    cr_assert_eq(fake_port_read(pci, 0xcf8, 4), 0);
    fake_pci_destroy(pci);
}

Test(pci_root, disabled_address_reaches_nobody)
{
    struct fake_pci *pci = fake_pci_create(NULL);

    address_write(pci, ADDRESS(0U, 0U) & ~0x80000000U);
    cr_assert_eq(fake_port_read(pci, 0xcfc, 4), 0xffffffff);
    fake_pci_destroy(pci);
}

Test(pci_root, absent_functions_read_all_ones)
{
    struct fake_pci *pci = fake_pci_create(NULL);

    for (unsigned slot = 1; slot < PCI_SLOT_COUNT; slot++) {
        cr_assert_eq(fake_config_read(pci, slot, PCI_VENDOR_ID, 4), 0xffffffff);
        address_write(pci, ADDRESS(slot, 0U));
        cr_assert_eq(fake_port_read(pci, 0xcfc, 2), 0xffff);
        fake_port_write(pci, 0xcfc, 4, 0);
    }
    for (uint32_t function = 1; function < 8; function++) {
        cr_assert_eq(fake_mem_read(pci, FAKE_ECAM_BASE + (function << 12), 4), 0xffffffff);
        address_write(pci, ADDRESS(0U, function << 8));
        cr_assert_eq(fake_port_read(pci, 0xcfc, 4), 0xffffffff);
    }
    cr_assert_eq(fake_mem_read(pci, FAKE_ECAM_BASE + (1 << 20), 4), 0xffffffff, "bus 1");
    address_write(pci, ADDRESS(0U, 1U << 16));
    cr_assert_eq(fake_port_read(pci, 0xcfc, 4), 0xffffffff, "bus 1");
    fake_pci_destroy(pci);
}

Test(pci_root, extended_registers_are_empty_by_both_mechanisms)
{
    struct fake_pci *pci = fake_pci_create(NULL);

    cr_assert_eq(fake_config_read(pci, 0, 0x100, 4), 0, "no extended capability");
    cr_assert_eq(fake_config_read(pci, 0, 0xffc, 4), 0);
    fake_config_write(pci, 0, 0x100, 4, ~0U);
    cr_assert_eq(fake_config_read(pci, 0, 0x100, 4), 0);
    address_write(pci, ADDRESS(0U, 1U << 24));
    cr_assert_eq(fake_port_read(pci, 0xcfc, 4), 0, "not an alias of register 0");
    fake_pci_destroy(pci);
}

Test(pci_root, ecam_takes_every_width)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct fake_card card;
    uint64_t at = FAKE_ECAM_BASE + (1 << 15);

    fake_card_init(&card, 7);
    fake_card_add(pci, &card);
    cr_assert_eq(fake_mem_read(pci, at + PCI_CLASS_REVISION, 8) & 0xffffffff, 0x02030405);
    cr_assert_eq(fake_mem_read(pci, at, 8) & 0xffffffff, 0x00071234);
    cr_assert_eq(fake_mem_read(pci, at + 1, 4) & 0xffffff, 0x000712, "crosses a dword");
    cr_assert_eq(fake_mem_read(pci, at + 0x2d, 2), 0xbc56);
    fake_mem_write(pci, at + PCI_INTERRUPT_LINE - 2, 4, 0x00770000);
    cr_assert_eq(fake_config_read(pci, 1, PCI_INTERRUPT_LINE, 1), 0x77);
    cr_assert_eq(fake_mem_read(pci, at + 0xffe, 4), 0xffffffff, "leaves the function");
    cr_assert_eq(fake_mem_read(pci, at + 3, 3), 0xffffff, "a part of a crossing of pages");
    pci_root_remove(pci->root, &card.function);
    fake_pci_destroy(pci);
}

static unsigned reset_writes;

static enum bus_verdict reset_access(struct bus_range *range, struct bus_access *access)
{
    (void)range;
    cr_assert_eq(access->size, 1);
    cr_assert_eq(access->offset, 0);
    if (access->is_write)
        reset_writes++;
    else
        access->value = 0x06;
    return BUS_DONE;
}

Test(pci_root, reset_control_lives_inside_the_address_port)
{
    static const struct bus_range_ops ops = {.access = reset_access};
    struct bus_range range = {.ops = &ops, .name = "reset", .base = 0xcf9, .len = 1};
    struct fake_pci *pci = fake_pci_create(&range);

    address_write(pci, 0x80000600);
    cr_assert_eq(fake_port_read(pci, 0xcf9, 1), 0x06);
    cr_assert_eq(reset_writes, 0, "a dword is an address");
    fake_port_write(pci, 0xcf9, 1, 0x0e);
    cr_assert_eq(reset_writes, 1);
    fake_port_write(pci, 0xcf9, 2, 0x0e);
    fake_port_write(pci, 0xcf8, 1, 0x0e);
    fake_port_write(pci, 0xcfa, 1, 0x0e);
    cr_assert_eq(reset_writes, 1);
    cr_assert_eq(fake_port_read(pci, 0xcf8, 4), 0x80000600);
    fake_pci_destroy(pci);
}

Test(pci_root, slots_are_given_out_lowest_first_until_none_is_left)
{
    static struct fake_card cards[PCI_SLOT_COUNT];
    struct fake_pci *pci = fake_pci_create(NULL);
    struct err err;

    for (unsigned i = 1; i < PCI_SLOT_COUNT; i++) {
        fake_card_init(&cards[i], (uint8_t)i);
        fake_card_add(pci, &cards[i]);
        cr_assert_eq(cards[i].function.slot, i);
        cr_assert_eq(fake_config_read(pci, i, PCI_DEVICE_ID, 2), i);
    }
    fake_card_init(&cards[0], 99);
    cr_assert_eq(pci_root_add(pci->root, &cards[0].function, &err), -ENOSPC);
    cr_assert(strstr(err.text, "card"), "%s", err.text);
    pci_root_remove(pci->root, &cards[5].function);
    cr_assert_eq(fake_config_read(pci, 5, PCI_DEVICE_ID, 2), 0xffff);
    fake_card_add(pci, &cards[0]);
    cr_assert_eq(fake_config_read(pci, 5, PCI_DEVICE_ID, 2), 99);
    pci_root_remove(pci->root, &cards[0].function);
    for (unsigned i = 1; i < PCI_SLOT_COUNT; i++)
        pci_root_remove(pci->root, &cards[i].function);
    fake_pci_destroy(pci);
}

Test(pci_root, machine_without_ports_or_ecam)
{
    struct bus *bus;
    struct pci_root *root;
    struct pci_root_config config = {.mem32_base = FAKE_MEM32_BASE, .mem32_len = FAKE_MEM32_LEN};

    cr_assert_eq(bus_create(&bus, "memory", NULL), 0);
    config.mmio_bus = bus;
    cr_assert_eq(pci_root_create(&root, &config, NULL), 0);
    pci_root_destroy(root);
    bus_destroy(bus);
}

Test(pci_root, taken_ports_are_reported)
{
    struct fake_pci *pci = fake_pci_create(NULL);
    struct pci_root_config config = {.port_bus = pci->port_bus, .mmio_bus = pci->mmio_bus};
    struct pci_root *root;
    struct err err;

    cr_assert_eq(pci_root_create(&root, &config, &err), -EEXIST);
    cr_assert(strstr(err.text, "PCI"), "%s", err.text);
    cr_assert_eq(fake_port_read(pci, 0xcf8, 4), 0, "the first still answers");
    fake_pci_destroy(pci);
}
