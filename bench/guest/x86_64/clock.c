/* How fast the time stamp counter runs: what the processor says, else measured. */
#include "../arch.h"
#include "tables.h"

enum {
    LEAF_TSC = 0x15,
    PIT_HZ = 1193182,
    PIT_COUNT = PIT_HZ / 20, /* 50 ms */
    PIT_TRIALS = 3,
    PIT_CHANNEL_2 = 0x42,
    PIT_COMMAND = 0x43,
    PIT_COMMAND_CHANNEL_2_ONCE = 0xb0, /* mode 0, both bytes */
    PIT_GATE = 0x61,
    PIT_GATE_ON = 0x01,
    PIT_GATE_SPEAKER = 0x02,
    PIT_GATE_OUTPUT = 0x20,
};
#define LEAF_HYPERVISOR        0x40000000U
#define LEAF_HYPERVISOR_TIMING 0x40000010U

static uint64_t khz_told;

static uint64_t khz_from_cpuid(void)
{
    uint32_t regs[4];

    cpuid(LEAF_HYPERVISOR, regs);
    if (regs[0] >= LEAF_HYPERVISOR_TIMING && regs[0] < LEAF_HYPERVISOR + 0x10000) {
        cpuid(LEAF_HYPERVISOR_TIMING, regs);
        if (regs[0])
            return regs[0];
    }
    cpuid(0, regs);
    if (regs[0] < LEAF_TSC)
        return 0;
    cpuid(LEAF_TSC, regs);
    return regs[0] ? (uint64_t)regs[2] * regs[1] / regs[0] / 1000 : 0;
}

/* What happens meanwhile, on a busy host, makes it longer. */
static uint64_t pit_cycles(void)
{
    uint8_t gate = in8(PIT_GATE) & (uint8_t)~PIT_GATE_SPEAKER;
    uint64_t begin, looks = 0;

    out8(PIT_GATE, gate & (uint8_t)~PIT_GATE_ON);
    out8(PIT_COMMAND, PIT_COMMAND_CHANNEL_2_ONCE);
    out8(PIT_CHANNEL_2, PIT_COUNT & 0xff);
    out8(PIT_CHANNEL_2, PIT_COUNT >> 8);
    out8(PIT_GATE, gate | PIT_GATE_ON);
    begin = cycles();
    while (!(in8(PIT_GATE) & PIT_GATE_OUTPUT))
        looks++;
    /* Where there is no timer, the port reads as ones. */
    return looks ? cycles() - begin : 0;
}

static uint64_t khz_from_pit(void)
{
    uint64_t shortest = UINT64_MAX;

    for (unsigned i = 0; i < PIT_TRIALS; i++) {
        uint64_t taken = pit_cycles();

        if (taken < shortest)
            shortest = taken;
    }
    return shortest * PIT_HZ / PIT_COUNT / 1000;
}

/* In ring 0: a software KVM that runs ring 3 natively shows it the host's leaves. */
void clock_khz_learn(void)
{
    khz_told = khz_from_cpuid();
}

uint64_t cycles_per_ms(void)
{
    return khz_told ? khz_told : khz_from_pit();
}
