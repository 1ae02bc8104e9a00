/*
 * What each architecture brings: its entry calls guest_main in a mode that runs at native speed
 * (ring 3 on x86_64), with all memory mapped where it is and device interrupts on.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include "x86_64/cpu.h"
#else
#error "no such architecture yet"
#endif

/* What the loader said. */
struct boot_info {
    const char *cmdline;
    uint64_t ram_end; /* of the RAM that the payload is in */
    uint64_t rsdp;    /* 0: unknown */
};

/* The entry's structure, taken apart. */
void boot_info_read(struct boot_info *info, uint64_t structure, bool is_linux);

/* How often cycles() counts in a millisecond; 0: cannot be learnt. */
uint64_t cycles_per_ms(void);

void console_put(char c);

/* Exits that do nothing: one that KVM serves itself, and of a port (or what there is instead). */
void exit_to_kernel(void);
void exit_port_read(void);
void exit_port_write(void);

/* The message that makes a device interrupt. */
struct message {
    uint64_t address;
    uint32_t data;
};
extern volatile uint64_t interrupt_count;

struct message interrupt_message(void);
/* An interrupt to this processor itself. */
void interrupt_self(void);
/* A word that a device changes. */
enum { SLEEP_WATCH_COUNT = 2 };
struct sleep_watch {
    const volatile uint16_t *word;
    uint64_t value; /* what it is now */
};

/* Sleeps until there is one, unless a word is not what it was: that is looked at last. */
void interrupt_wait(const struct sleep_watch watches[SLEEP_WATCH_COUNT]);
/* From now on something interrupts every few milliseconds, which does not count, or not any more:
 * for those who sleep and wait for what may not come. */
void tick_set(bool on);

/* Ends the machine: a power-off if ACPI says how, else a reset. */
__attribute__((noreturn)) void power_off(const struct boot_info *info);

uint32_t pci_config_read(uint32_t function, uint32_t offset);
void pci_config_write(uint32_t function, uint32_t offset, uint32_t value);
/* Whether there is a configuration space at all. */
bool pci_config_exists(void);
/* 32-bit addresses that are free for devices. */
#define PCI_WINDOW_BASE 0xd0000000ULL
