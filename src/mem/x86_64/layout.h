/*
 * The x86_64 machine as the guest sees it: what lies where in guest-physical memory, on which port
 * and behind which interrupt. Whoever places, announces (ACPI, e820) or decodes something takes its
 * number from here, so that they cannot disagree.
 *
 *     0x0000_0000  RAM: tables for the start of the guest below 0x9_fc00, BIOS area (reserved,
 *                  holds the ACPI tables) to 1 MiB, then kernel and initrd
 *     0xc000_0000  end of low RAM; 32-bit PCI window
 *     0xe000_0000  ECAM
 *     0xfeb0_0000  virtio devices that are not on the PCI bus
 *     0xfec0_0000  IOAPIC, LAPIC, pages of KVM
 *  0x1_0000_0000   the rest of RAM, then the 64-bit PCI window
 */
#pragma once

/* Below 1 MiB. */
#define LAYOUT_LOW_RAM_END 0x9fc00ULL /* from here to BIOS_END reserved in the guest's map */
#define LAYOUT_ACPI_BASE   0xe0000ULL /* where a BIOS has its RSDP, so that it is found by a scan */
#define LAYOUT_BIOS_END    0x100000ULL

#define LAYOUT_RAM_BASE 0ULL

/* The gap for devices below 4 GiB. */
#define LAYOUT_GAP_BASE          0xc0000000ULL
#define LAYOUT_GAP_END           0x100000000ULL
#define LAYOUT_PCI_MEM32_BASE    0xc0000000ULL
#define LAYOUT_PCI_MEM32_LEN     0x20000000ULL
#define LAYOUT_ECAM_BASE         0xe0000000ULL
#define LAYOUT_ECAM_LEN          ((uint64_t)LAYOUT_PCI_BUS_COUNT << 20)
#define LAYOUT_VIRTIO_MMIO_BASE  0xfeb00000ULL /* LAYOUT_VIRTIO_MMIO_LEN each */
#define LAYOUT_IOAPIC_BASE       0xfec00000ULL
#define LAYOUT_LAPIC_BASE        0xfee00000ULL
#define LAYOUT_KVM_IDENTITY_BASE 0xfffbc000ULL /* one page; KVM_SET_IDENTITY_MAP_ADDR */
#define LAYOUT_KVM_TSS_BASE      0xfffbd000ULL /* three pages; KVM_SET_TSS_ADDR */
#define LAYOUT_KVM_END           0xfffc0000ULL

/* Above the RAM. The end of both stays below 2^39, the least physical address width in use today
 * apart from a few old Atoms. */
#define LAYOUT_PCI_MEM64_LEN 0x800000000ULL
#define LAYOUT_MEM_SIZE_MAX  0x6000000000ULL

enum {
    LAYOUT_HAS_PORTS = 1,
    LAYOUT_PCI_BUS_COUNT = 1, /* no bridges */
    LAYOUT_PCI_SLOT_COUNT = 32,
    LAYOUT_VIRTIO_MMIO_LEN = 0x1000,
    LAYOUT_VIRTIO_MMIO_COUNT_MAX = 24,

    /* Ports. */
    LAYOUT_PORT_I8042_DATA = 0x60,
    LAYOUT_PORT_I8042_COMMAND = 0x64,
    LAYOUT_PORT_RTC = 0x70, /* index, then data */
    LAYOUT_PORT_COM1 = 0x3f8,
    LAYOUT_PORT_COM2 = 0x2f8,
    LAYOUT_PORT_COM3 = 0x3e8,
    LAYOUT_PORT_COM4 = 0x2e8,
    LAYOUT_PORT_COM_LEN = 8,
    LAYOUT_PORT_DEBUGCON = 0x402,
    LAYOUT_PORT_PVPANIC = 0x505,
    LAYOUT_PORT_PM1_EVENT = 0x600, /* status and enable, 2 bytes each */
    LAYOUT_PORT_PM1_CONTROL = 0x604,
    LAYOUT_PORT_PM_TIMER = 0x608, /* 4 bytes */
    LAYOUT_PORT_PM_BASE = LAYOUT_PORT_PM1_EVENT,
    LAYOUT_PORT_PM_RESET = 0x60c, /* ACPI reset register, 1 byte */
    LAYOUT_PORT_PM_LEN = 16,
    LAYOUT_PORT_PCI_CONFIG = 0xcf8, /* address, data, and the reset control register at 0xcf9 */
    LAYOUT_PORT_PCI_CONFIG_LEN = 8,
    LAYOUT_PORT_PCI_BASE = 0x1000, /* window for I/O BARs */
    LAYOUT_PORT_PCI_LEN = 0xf000,

    LAYOUT_PM_RESET_VALUE = 1,
    LAYOUT_SLEEP_TYPE_S5 = 5, /* SLP_TYP in PM1 control */
    LAYOUT_RTC_CENTURY = 50,  /* index of the byte that holds it */
    LAYOUT_IOAPIC_PIN_COUNT = 24,

    /* Inputs of the interrupt chips. ISA interrupts are active high and edge triggered. COM1 and
     * COM3 share a line, so do COM2 and COM4: their levels are to be ORed. */
    LAYOUT_IRQ_PIT = 0, /* at pin 0 of the PIC, but at GSI_PIT of the IOAPIC, as on a PC */
    LAYOUT_GSI_PIT = 2,
    LAYOUT_IRQ_KEYBOARD = 1,
    LAYOUT_IRQ_COM2_COM4 = 3,
    LAYOUT_IRQ_COM1_COM3 = 4,
    LAYOUT_IRQ_RTC = 8,
    LAYOUT_IRQ_SCI = 9, /* ACPI fixed events: level triggered */
    /* The root bus's INTA to INTD: level triggered; pin p of slot s is input (s + p) % 4. */
    LAYOUT_GSI_PCI_BASE = 16,
    LAYOUT_GSI_PCI_COUNT = 4,
    /* Level triggered, active high; virtio device n that is not on the PCI bus is at input n % 4.
     */
    LAYOUT_GSI_VIRTIO_BASE = 20,
    LAYOUT_GSI_VIRTIO_COUNT = 4,
};

_Static_assert(LAYOUT_ECAM_BASE + LAYOUT_ECAM_LEN <= LAYOUT_IOAPIC_BASE, "ECAM and IOAPIC overlap");
_Static_assert(LAYOUT_GAP_END + LAYOUT_MEM_SIZE_MAX + 2 * LAYOUT_PCI_MEM64_LEN <= 1ULL << 39,
               "the 64-bit window ends within 39 address bits");
_Static_assert(LAYOUT_GSI_PCI_BASE + LAYOUT_GSI_PCI_COUNT <= LAYOUT_IOAPIC_PIN_COUNT,
               "PCI interrupts are pins of the IOAPIC");
