/* A stopped vCPU's registers, for the log. */
#include "base/log.h"
#include "kvm/aarch64/vcpu.h"
#include "kvm/arch.h"
#include "kvm/vm_private.h"

static const struct {
    const char *name;
    uint64_t id;
} registers[] = {
    {"pc", VCPU_CORE_REGISTER(regs.pc)},
    {"pstate", VCPU_CORE_REGISTER(regs.pstate)},
    {"sp_el0", VCPU_CORE_REGISTER(regs.sp)},
    {"sp_el1", VCPU_CORE_REGISTER(sp_el1)},
    {"elr_el1", VCPU_CORE_REGISTER(elr_el1)},
    {"esr_el1", VCPU_SYSTEM_REGISTER(3, 0, 5, 2, 0)},
    {"far_el1", VCPU_SYSTEM_REGISTER(3, 0, 6, 0, 0)},
    {"vbar_el1", VCPU_SYSTEM_REGISTER(3, 0, 12, 0, 0)},
    {"sctlr_el1", VCPU_SYSTEM_REGISTER(3, 0, 1, 0, 0)},
    {"tcr_el1", VCPU_SYSTEM_REGISTER(3, 0, 2, 0, 2)},
    {"ttbr0_el1", VCPU_SYSTEM_REGISTER(3, 0, 2, 0, 0)},
    {"ttbr1_el1", VCPU_SYSTEM_REGISTER(3, 0, 2, 0, 1)},
};

enum { GENERAL_COUNT = 31 };

/* Id of x0 to x30: two words each. */
static uint64_t general_id(unsigned index)
{
    return VCPU_CORE_REGISTER(regs.regs[0]) + 2 * index;
}

void vcpu_arch_report(const struct vcpu *vcpu)
{
    uint64_t value;

    for (size_t i = 0; i < array_count(registers); i++)
        if (!vcpu_register_get(vcpu, registers[i].id, &value))
            log_error("  %-9s %016llx", registers[i].name, (unsigned long long)value);
    for (unsigned i = 0; i < GENERAL_COUNT; i++)
        if (!vcpu_register_get(vcpu, general_id(i), &value))
            log_error("  x%-8u %016llx", i, (unsigned long long)value);
}
