/* Messages to the local APIC; the old interrupt controllers stay silent. */
#include "../arch.h"
#include "selectors.h"
#include "tables.h"

#define LAPIC_BASE 0xfee00000UL

enum {
    LAPIC_ID = 0x20,
    LAPIC_SPURIOUS = 0xf0,
    LAPIC_COMMAND = 0x300,
    LAPIC_ENABLE = 0x1ff, /* the vector of spurious interrupts is 0xff */
    LAPIC_SELF = 1 << 18,
};

volatile uint64_t interrupt_count;

static volatile uint32_t *lapic(uint32_t offset)
{
    return (volatile uint32_t *)(LAPIC_BASE + offset);
}

void interrupts_init(void)
{
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    *lapic(LAPIC_SPURIOUS) = LAPIC_ENABLE;
}

struct message interrupt_message(void)
{
    return (struct message){.address = LAPIC_BASE, .data = INTERRUPT_VECTOR};
}

void interrupt_self(void)
{
    *lapic(LAPIC_COMMAND) = LAPIC_SELF | INTERRUPT_VECTOR;
}

void exit_to_kernel(void)
{
    (void)*lapic(LAPIC_ID);
}

void interrupt_wait(const volatile uint16_t *word, uint16_t value)
{
    __asm__ volatile("int3" : : "D"(word), "S"(value) : "memory");
}
