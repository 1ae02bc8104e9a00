#include "boot/x86_64/dsdt.h"

#include <stdio.h>

#include "base/check.h"
#include "mem/layout.h"

enum { PCI_PIN_COUNT = 4 };

/*
 * _PRT (ACPI 6.3, 6.2.13): each pin of each slot is wired to an input of the IOAPIC, without link
 * devices. Guests that use the PIC alone have no PCI pins, only messages.
 */
static void append_pci_routing(struct aml *aml)
{
    size_t table;

    aml_name(aml, "_PRT");
    table = aml_package_begin(aml, LAYOUT_PCI_SLOT_COUNT * PCI_PIN_COUNT);
    for (unsigned slot = 0; slot < LAYOUT_PCI_SLOT_COUNT; slot++) {
        for (unsigned pin = 0; pin < PCI_PIN_COUNT; pin++) {
            size_t entry = aml_package_begin(aml, 4);

            aml_integer(aml, slot << 16 | 0xffff);
            aml_integer(aml, pin);
            aml_integer(aml, 0);
            aml_integer(aml, LAYOUT_GSI_PCI_BASE + (slot + pin) % LAYOUT_GSI_PCI_COUNT);
            aml_end(aml, entry);
        }
    }
    aml_end(aml, table);
}

static void append_pci_root(struct aml *aml, uint64_t mem_size)
{
    size_t device = aml_device_begin(aml, "PCI0");
    size_t resources;

    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0A08");
    aml_name(aml, "_CID");
    aml_eisa_id(aml, "PNP0A03");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_name(aml, "_SEG");
    aml_integer(aml, 0);
    aml_name(aml, "_BBN");
    aml_integer(aml, 0);

    aml_name(aml, "_CRS");
    resources = aml_template_begin(aml);
    aml_window_bus(aml, 0, LAYOUT_PCI_BUS_COUNT);
    aml_io(aml, LAYOUT_PORT_PCI_CONFIG, LAYOUT_PORT_PCI_CONFIG_LEN);
    aml_window_io(aml, LAYOUT_PORT_PCI_BASE, LAYOUT_PORT_PCI_LEN);
    aml_window_memory32(aml, LAYOUT_PCI_MEM32_BASE, LAYOUT_PCI_MEM32_LEN);
    aml_window_memory64(aml, layout_pci_mem64_base(mem_size), LAYOUT_PCI_MEM64_LEN);
    aml_template_end(aml, resources);

    append_pci_routing(aml);
    aml_end(aml, device);
}

/* What belongs to no driver, but must not be given to any: PCI firmware specification 3.2, 4.1.2,
 * wants the ECAM here. */
static void append_board(struct aml *aml)
{
    size_t device = aml_device_begin(aml, "MBRD");
    size_t resources;

    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0C02");
    aml_name(aml, "_CRS");
    resources = aml_template_begin(aml);
    aml_memory32_fixed(aml, LAYOUT_ECAM_BASE, LAYOUT_ECAM_LEN);
    aml_io(aml, LAYOUT_PORT_PM_BASE, LAYOUT_PORT_PM_LEN);
    aml_template_end(aml, resources);
    aml_end(aml, device);
}

static void append_serial_ports(struct aml *aml, uint8_t mask)
{
    static const struct {
        const char *name;
        uint16_t port;
        uint8_t irq;
    } coms[] = {
        {"COM1", LAYOUT_PORT_COM1, LAYOUT_IRQ_COM1_COM3},
        {"COM2", LAYOUT_PORT_COM2, LAYOUT_IRQ_COM2_COM4},
        {"COM3", LAYOUT_PORT_COM3, LAYOUT_IRQ_COM1_COM3},
        {"COM4", LAYOUT_PORT_COM4, LAYOUT_IRQ_COM2_COM4},
    };

    for (size_t i = 0; i < array_count(coms); i++) {
        size_t device, resources;

        if (!(mask & 1U << i))
            continue;
        device = aml_device_begin(aml, coms[i].name);
        aml_name(aml, "_HID");
        aml_eisa_id(aml, "PNP0501");
        aml_name(aml, "_UID");
        aml_integer(aml, i + 1);
        aml_name(aml, "_CRS");
        resources = aml_template_begin(aml);
        aml_io(aml, coms[i].port, LAYOUT_PORT_COM_LEN);
        aml_irq(aml, coms[i].irq, true);
        aml_template_end(aml, resources);
        aml_end(aml, device);
    }
}

/* No mouse: a guest that is told of none does not wait for one. */
static void append_keyboard(struct aml *aml)
{
    size_t device = aml_device_begin(aml, "KBD");
    size_t resources;

    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0303");
    aml_name(aml, "_CRS");
    resources = aml_template_begin(aml);
    aml_io(aml, LAYOUT_PORT_I8042_DATA, 1);
    aml_io(aml, LAYOUT_PORT_I8042_COMMAND, 1);
    aml_irq(aml, LAYOUT_IRQ_KEYBOARD, false);
    aml_template_end(aml, resources);
    aml_end(aml, device);
}

static void append_rtc(struct aml *aml)
{
    size_t device = aml_device_begin(aml, "RTC");
    size_t resources;

    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0B00");
    aml_name(aml, "_CRS");
    resources = aml_template_begin(aml);
    aml_io(aml, LAYOUT_PORT_RTC, 2);
    aml_irq(aml, LAYOUT_IRQ_RTC, false);
    aml_template_end(aml, resources);
    aml_end(aml, device);
}

static void append_pvpanic(struct aml *aml)
{
    size_t device = aml_device_begin(aml, "PEVT");
    size_t resources;

    aml_name(aml, "_HID");
    aml_string(aml, "QEMU0001");
    aml_name(aml, "_CRS");
    resources = aml_template_begin(aml);
    aml_io(aml, LAYOUT_PORT_PVPANIC, 1);
    aml_template_end(aml, resources);
    aml_end(aml, device);
}

/* "LNRO0005" is how Linux and others know virtio devices behind plain memory. */
static void append_virtio(struct aml *aml, uint8_t count)
{
    CHECK_CMP(count, <=, LAYOUT_VIRTIO_MMIO_COUNT_MAX);
    for (uint32_t i = 0; i < count; i++) {
        size_t device, resources;
        char name[5];

        snprintf(name, sizeof(name), "VR%02X", i & 0xff);
        device = aml_device_begin(aml, name);
        aml_name(aml, "_HID");
        aml_string(aml, "LNRO0005");
        aml_name(aml, "_UID");
        aml_integer(aml, i);
        aml_name(aml, "_CRS");
        resources = aml_template_begin(aml);
        aml_memory32_fixed(aml, LAYOUT_VIRTIO_MMIO_BASE + i * LAYOUT_VIRTIO_MMIO_LEN,
                           LAYOUT_VIRTIO_MMIO_LEN);
        aml_interrupt_shared(aml, LAYOUT_GSI_VIRTIO_BASE + i % LAYOUT_GSI_VIRTIO_COUNT);
        aml_template_end(aml, resources);
        aml_end(aml, device);
    }
}

/* ACPI 6.3, 8.4: _UID is what names the processor in the MADT. */
static void append_processors(struct aml *aml, uint32_t vcpu_count)
{
    for (uint32_t i = 0; i < vcpu_count; i++) {
        size_t device;
        char name[5];

        CHECK_CMP(i, <, 0x1000U);
        snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        device = aml_device_begin(aml, name);
        aml_name(aml, "_HID");
        aml_string(aml, "ACPI0007");
        aml_name(aml, "_UID");
        aml_integer(aml, i);
        aml_end(aml, device);
    }
}

/* ACPI 6.3, 7.4.2: the sleep types of PM1a and PM1b. */
static void append_s5(struct aml *aml)
{
    size_t package;

    aml_name(aml, "_S5");
    package = aml_package_begin(aml, 4);
    aml_integer(aml, LAYOUT_SLEEP_TYPE_S5);
    aml_integer(aml, LAYOUT_SLEEP_TYPE_S5);
    aml_integer(aml, 0);
    aml_integer(aml, 0);
    aml_end(aml, package);
}

void dsdt_append(struct aml *aml, const struct acpi_config *config, uint64_t mem_size)
{
    size_t scope = aml_scope_begin(aml, "_SB");

    append_pci_root(aml, mem_size);
    append_board(aml);
    append_serial_ports(aml, config->com_mask);
    append_keyboard(aml);
    append_rtc(aml);
    append_pvpanic(aml);
    append_virtio(aml, config->virtio_mmio_count);
    append_processors(aml, config->vcpu_count);
    aml_end(aml, scope);
    append_s5(aml);
}
