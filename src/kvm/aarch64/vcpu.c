#include "kvm/aarch64/vcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "kvm/aarch64/entry.h"
#include "kvm/arch.h"
#include "kvm/vm_private.h"
#include "mem/layout.h"

#define MPIDR_EL1 VCPU_SYSTEM_REGISTER(3, 0, 0, 0, 5)
/* Arm ARM, D19.2.101: Aff3, Aff2 to Aff0 */
#define MPIDR_AFFINITY 0xff00ffffffULL

struct vcpu_arch {
    struct kvm_vcpu_init init;
};

/* Features that vCPUs get wherever this KVM has them. */
static const struct {
    int capability;
    uint32_t bit;
} features[] = {
    {KVM_CAP_ARM_PMU_V3, KVM_ARM_VCPU_PMU_V3},
    {KVM_CAP_ARM_SVE, KVM_ARM_VCPU_SVE},
    /* KVM takes both or none. */
    {KVM_CAP_ARM_PTRAUTH_ADDRESS, KVM_ARM_VCPU_PTRAUTH_ADDRESS},
    {KVM_CAP_ARM_PTRAUTH_GENERIC, KVM_ARM_VCPU_PTRAUTH_GENERIC},
};

static bool has_feature(const struct vcpu *vcpu, uint32_t bit)
{
    return vcpu->arch->init.features[0] >> bit & 1;
}

static int features_choose(struct vcpu *vcpu, struct err *err)
{
    const int vm_fd = vcpu->vm->fd;
    struct kvm_vcpu_init *init = &vcpu->arch->init;

    if (ioctl(vm_fd, KVM_ARM_PREFERRED_TARGET, init))
        return err_set(err, -errno, "vCPU %u: KVM_ARM_PREFERRED_TARGET: %s", vcpu->index,
                       strerror(errno));
    init->features[0] |= 1U << KVM_ARM_VCPU_PSCI_0_2;
    /* The guest starts the others, by PSCI's CPU_ON. */
    if (vcpu->index)
        init->features[0] |= 1U << KVM_ARM_VCPU_POWER_OFF;
    for (size_t i = 0; i < array_count(features); i++)
        if (ioctl(vm_fd, KVM_CHECK_EXTENSION, features[i].capability) > 0)
            init->features[0] |= 1U << features[i].bit;
    return 0;
}

int vcpu_arch_reset(struct vcpu *vcpu, struct err *err)
{
    if (ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &vcpu->arch->init))
        return err_set(err, -errno, "vCPU %u: KVM_ARM_VCPU_INIT with features 0x%x: %s",
                       vcpu->index, vcpu->arch->init.features[0], strerror(errno));
    return 0;
}

int vcpu_arch_init(struct vcpu *vcpu, struct err *err)
{
    int sve = KVM_ARM_VCPU_SVE;
    int ret;

    vcpu->arch = calloc(1, sizeof(*vcpu->arch));
    if (!vcpu->arch)
        return err_set(err, -ENOMEM, "vCPU %u: out of memory", vcpu->index);
    ret = features_choose(vcpu, err);
    if (!ret)
        ret = vcpu_arch_reset(vcpu, err);
    /* All vector lengths that the host has. */
    if (!ret && has_feature(vcpu, KVM_ARM_VCPU_SVE) && ioctl(vcpu->fd, KVM_ARM_VCPU_FINALIZE, &sve))
        ret = err_set(err, -errno, "vCPU %u: KVM_ARM_VCPU_FINALIZE: %s", vcpu->index,
                      strerror(errno));
    if (ret)
        vcpu_arch_destroy(vcpu);
    return ret;
}

void vcpu_arch_destroy(struct vcpu *vcpu)
{
    free(vcpu->arch);
    vcpu->arch = NULL;
}

bool vcpu_has_pmu(const struct vcpu *vcpu)
{
    return has_feature(vcpu, KVM_ARM_VCPU_PMU_V3);
}

int vcpu_pmu_init(const struct vcpu *vcpu, struct err *err)
{
    enum { PPI_FIRST = 16 };
    int irq = PPI_FIRST + LAYOUT_PPI_PMU;
    struct kvm_device_attr irq_attr = {.group = KVM_ARM_VCPU_PMU_V3_CTRL,
                                       .attr = KVM_ARM_VCPU_PMU_V3_IRQ,
                                       .addr = (uintptr_t)&irq};
    struct kvm_device_attr init_attr = {.group = KVM_ARM_VCPU_PMU_V3_CTRL,
                                        .attr = KVM_ARM_VCPU_PMU_V3_INIT};

    if (!vcpu_has_pmu(vcpu))
        return 0;
    if (ioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &irq_attr) ||
        ioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &init_attr))
        return err_set(err, -errno, "vCPU %u: its performance monitor: %s", vcpu->index,
                       strerror(errno));
    return 0;
}

int vcpu_register_get(const struct vcpu *vcpu, uint64_t id, uint64_t *value)
{
    struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)value};

    return ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg) ? -errno : 0;
}

int vcpu_register_set(const struct vcpu *vcpu, uint64_t id, uint64_t value)
{
    struct kvm_one_reg reg = {.id = id, .addr = (uintptr_t)&value};

    return ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) ? -errno : 0;
}

int vm_vcpu_affinity(const struct vm *vm, uint32_t vcpu_index, uint64_t *affinity, struct err *err)
{
    uint64_t value;
    int ret = vcpu_register_get(&vm->vcpus[vcpu_index], MPIDR_EL1, &value);

    if (ret)
        return err_set(err, ret, "vCPU %u: MPIDR_EL1: %s", vcpu_index, strerror(-ret));
    *affinity = value & MPIDR_AFFINITY;
    return 0;
}

int vm_set_entry(struct vm *vm, const struct vm_entry *entry, struct err *err)
{
    const struct vcpu *vcpu = &vm->vcpus[0];
    int ret;

    CHECK(!vm->running);
    ret = vcpu_register_set(vcpu, VCPU_CORE_REGISTER(regs.pc), entry->pc);
    if (!ret)
        ret = vcpu_register_set(vcpu, VCPU_CORE_REGISTER(regs.regs[0]), entry->device_tree.addr);
    return ret ? err_set(err, ret, "vCPU 0: KVM_SET_ONE_REG: %s", strerror(-ret)) : 0;
}
