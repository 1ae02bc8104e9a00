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
    LAPIC_TIMER = 0x320,
    LAPIC_TIMER_PERIODIC = 1 << 17,
    LAPIC_TIMER_COUNT = 0x380,
    LAPIC_TIMER_DIVISOR = 0x3e0,
    LAPIC_TIMER_BY_1 = 0xb,
    TICK_NS = 5000000,
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

/* The timer counts the bus clock, which is 1 GHz in KVM. */
void tick_set(bool on)
{
    *lapic(LAPIC_TIMER_DIVISOR) = LAPIC_TIMER_BY_1;
    *lapic(LAPIC_TIMER) = LAPIC_TIMER_PERIODIC | TICK_VECTOR;
    *lapic(LAPIC_TIMER_COUNT) = on ? TICK_NS : 0;
}

void interrupt_wait(const struct sleep_watch watches[SLEEP_WATCH_COUNT])
{
    __asm__ volatile("int3" : : "D"(watches) : "rax", "rcx", "memory");
}
