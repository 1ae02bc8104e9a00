/*
 * The aarch64 machine as the guest sees it: what lies where in guest-physical memory and behind
 * which interrupt. Whoever places, announces (device tree) or decodes something takes its number
 * from here, so that they cannot disagree.
 *
 *     0x0800_0000  interrupt controller (GIC) with what takes its messages: ITS, or GICv2m
 *     0x0900_0000  serial ports, clock, panic
 *     0x0a00_0000  virtio-mmio
 *     0x1000_0000  32-bit PCI window
 *     0x3f00_0000  ECAM
 *     0x4000_0000  RAM: kernel, initrd, device tree; behind it the 64-bit PCI window
 */
#pragma once

/* Where KVM puts its GIC: version 3 and the ITS, or version 2. */
#define LAYOUT_GIC_DIST_BASE      0x08000000ULL
#define LAYOUT_GIC_DIST_LEN       0x10000ULL
#define LAYOUT_GIC_V2_DIST_LEN    0x1000ULL
#define LAYOUT_GIC_V2_CPU_BASE    0x08010000ULL
#define LAYOUT_GIC_V2_CPU_LEN     0x2000ULL
#define LAYOUT_GIC_V2M_BASE       0x08020000ULL /* ours, beside a version 2 */
#define LAYOUT_GIC_V2M_LEN        0x1000ULL
#define LAYOUT_GIC_V2M_SETSPI     (LAYOUT_GIC_V2M_BASE + 0x40) /* where messages are written */
#define LAYOUT_GIC_ITS_BASE       0x08080000ULL
#define LAYOUT_GIC_ITS_LEN        0x20000ULL
#define LAYOUT_GIC_ITS_TRANSLATER (LAYOUT_GIC_ITS_BASE + 0x10040) /* where messages are written */
#define LAYOUT_GIC_REDIST_BASE    0x080a0000ULL
#define LAYOUT_GIC_REDIST_LEN     0x20000ULL /* of each vCPU */

#define LAYOUT_SERIAL_BASE      0x09000000ULL
#define LAYOUT_SERIAL_LEN       8ULL
#define LAYOUT_SERIAL_STRIDE    0x1000ULL
#define LAYOUT_RTC_BASE         0x09010000ULL
#define LAYOUT_RTC_LEN          0x1000ULL
#define LAYOUT_PVPANIC_BASE     0x09020000ULL
#define LAYOUT_PVPANIC_LEN      2ULL
#define LAYOUT_VIRTIO_MMIO_BASE 0x0a000000ULL /* LAYOUT_VIRTIO_MMIO_LEN each */

#define LAYOUT_PCI_MEM32_BASE 0x10000000ULL
#define LAYOUT_PCI_MEM32_LEN  0x20000000ULL
#define LAYOUT_ECAM_BASE      0x3f000000ULL
#define LAYOUT_ECAM_LEN       ((uint64_t)LAYOUT_PCI_BUS_COUNT << 20)

/* No gap: RAM is in one piece. */
#define LAYOUT_RAM_BASE 0x40000000ULL
#define LAYOUT_GAP_BASE (LAYOUT_RAM_BASE + LAYOUT_MEM_SIZE_MAX)
#define LAYOUT_GAP_END  LAYOUT_GAP_BASE

/* Behind the RAM. The end of both stays below 2^40, what every KVM offers that has no say in it;
 * with up to 31 GiB of RAM below 2^36, the least that there is. */
#define LAYOUT_PCI_MEM64_LEN 0x800000000ULL
#define LAYOUT_MEM_SIZE_MAX  0xe000000000ULL

enum {
    LAYOUT_HAS_PORTS = 0,
    LAYOUT_PCI_BUS_COUNT = 1, /* no bridges */
    LAYOUT_SERIAL_COUNT = 4,
    LAYOUT_VIRTIO_MMIO_LEN = 0x1000,
    LAYOUT_VIRTIO_MMIO_COUNT_MAX = 24,

    /* Shared peripheral interrupts: input n is what the GIC calls 32 + n. All level triggered. */
    LAYOUT_GSI_SERIAL = 0,
    LAYOUT_GSI_RTC = 4,
    /* The root bus's INTA to INTD: pin p of slot s is input (s + p) % 4. */
    LAYOUT_GSI_PCI_BASE = 8,
    LAYOUT_GSI_PCI_COUNT = 4,
    /* One for each virtio device that is not on the PCI bus. */
    LAYOUT_GSI_VIRTIO_BASE = 16,
    LAYOUT_GSI_VIRTIO_COUNT = 24,
    LAYOUT_GSI_COUNT = 64,
    /* Those that messages become where GICv2m takes them; edge triggered. */
    LAYOUT_GSI_V2M_BASE = LAYOUT_GSI_COUNT,
    LAYOUT_GSI_V2M_COUNT = 256,
    /* The GIC's number of input 0. */
    LAYOUT_SPI_BASE = 32,

    /* Private peripheral interrupts, by the GIC's numbers less 16 (Base System Architecture). */
    LAYOUT_PPI_PMU = 7,
    LAYOUT_PPI_TIMER_HYPERVISOR = 10,
    LAYOUT_PPI_TIMER_VIRTUAL = 11,
    LAYOUT_PPI_TIMER_SECURE = 13,
    LAYOUT_PPI_TIMER_PHYSICAL = 14,
};

/* No window for I/O BARs. */
#define LAYOUT_PORT_PCI_BASE 0ULL
#define LAYOUT_PORT_PCI_LEN  0ULL

_Static_assert(LAYOUT_RAM_BASE + LAYOUT_MEM_SIZE_MAX + 2 * LAYOUT_PCI_MEM64_LEN <= 1ULL << 40,
               "the 64-bit window ends within 40 address bits");
_Static_assert(LAYOUT_ECAM_BASE + LAYOUT_ECAM_LEN <= LAYOUT_RAM_BASE, "ECAM and RAM overlap");
_Static_assert(LAYOUT_GSI_VIRTIO_BASE + LAYOUT_GSI_VIRTIO_COUNT <= LAYOUT_GSI_COUNT,
               "an input for each virtio-mmio device");
