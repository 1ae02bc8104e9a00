/* CPU features, registers and model-specific registers of an x86_64 vCPU, and back to reset. */
#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "kvm/arch.h"
#include "kvm/vm_private.h"
#include "kvm/x86_64/cpuid.h"
#include "kvm/x86_64/msr.h"

/* Everything that a guest can change, as it was after vcpu_arch_init. */
struct vcpu_arch {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_debugregs debugregs;
    struct kvm_xcrs xcrs;
    struct kvm_xsave xsave;
    struct kvm_lapic_state lapic;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp_state;
    bool has_tsc_offset;
    uint64_t tsc_offset;
    struct msr_set *msrs;
};

#define STATE_IOCTL(vcpu, request, arg, err)                                                 \
    (ioctl((vcpu)->fd, request, arg)                                                         \
         ? err_set(err, -errno, "vCPU %u: " #request ": %s", (vcpu)->index, strerror(errno)) \
         : 0)

/*
 * The time stamp counter's distance to the host's: the guest may change it, and after a reset all
 * vCPUs agree again.
 */
static int tsc_offset_access(const struct vcpu *vcpu, unsigned long request, uint64_t *offset)
{
    struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL,
        .attr = KVM_VCPU_TSC_OFFSET,
        .addr = (uintptr_t)offset,
    };

    return ioctl(vcpu->fd, request, &attr) ? -errno : 0;
}

static int state_save(struct vcpu *vcpu, struct err *err)
{
    struct vcpu_arch *arch = vcpu->arch;
    int ret = STATE_IOCTL(vcpu, KVM_GET_REGS, &arch->regs, err);

    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_GET_SREGS, &arch->sregs, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_GET_DEBUGREGS, &arch->debugregs, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_GET_XCRS, &arch->xcrs, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_GET_XSAVE, &arch->xsave, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_GET_LAPIC, &arch->lapic, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_GET_VCPU_EVENTS, &arch->events, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_GET_MP_STATE, &arch->mp_state, err);
    if (ret)
        return ret;
    arch->has_tsc_offset = !tsc_offset_access(vcpu, KVM_GET_DEVICE_ATTR, &arch->tsc_offset);
    return msr_set_save(&arch->msrs, vcpu->vm->config.kvm->fd, vcpu->fd, err);
}

int vcpu_arch_reset(struct vcpu *vcpu, struct err *err)
{
    struct vcpu_arch *arch = vcpu->arch;
    int ret;

    /* Model-specific registers first: they include those through which the old guest let KVM write
     * its memory. The local APIC's mode, in sregs, decides how lapic is read. */
    ret = msr_set_restore(arch->msrs, vcpu->fd, err);
    if (!ret && arch->has_tsc_offset &&
        tsc_offset_access(vcpu, KVM_SET_DEVICE_ATTR, &arch->tsc_offset))
        ret =
            err_set(err, -errno, "vCPU %u: KVM_VCPU_TSC_OFFSET: %s", vcpu->index, strerror(errno));
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_SET_SREGS, &arch->sregs, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_SET_REGS, &arch->regs, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_SET_XSAVE, &arch->xsave, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_SET_XCRS, &arch->xcrs, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_SET_DEBUGREGS, &arch->debugregs, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_SET_LAPIC, &arch->lapic, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_SET_VCPU_EVENTS, &arch->events, err);
    if (!ret)
        ret = STATE_IOCTL(vcpu, KVM_SET_MP_STATE, &arch->mp_state, err);
    return ret;
}

static int features_set(const struct vcpu *vcpu, struct err *err)
{
    const struct vm *vm = vcpu->vm;
    int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
    struct cpuid_config config = {
        .vcpu_count = vm->config.vcpu_count,
        .tsc_khz = khz > 0 ? (uint32_t)khz : 0,
        .has_tsc_deadline = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
    };
    struct kvm_cpuid2 *supported = cpuid_alloc(), *table = cpuid_alloc();
    int ret;

    if (!supported || !table) {
        ret = err_set(err, -ENOMEM, "vCPU %u: out of memory", vcpu->index);
        goto out;
    }
    if (ioctl(vm->config.kvm->fd, KVM_GET_SUPPORTED_CPUID, supported)) {
        ret = err_set(err, -errno, "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
        goto out;
    }
    for (uint32_t i = 0; i < CPUID_BRAND_COUNT; i++) {
        uint32_t *part = config.brand[i];

        /* Zeros from a processor without a name. */
        (void)__get_cpuid(CPUID_BRAND_FIRST + i, &part[0], &part[1], &part[2], &part[3]);
    }
    ret = cpuid_build(table, supported, &config);
    if (ret) {
        err_set(err, ret, "this KVM supports more CPUID leaves than it takes");
        goto out;
    }
    cpuid_set_apic_id(table, vcpu->index);
    ret = STATE_IOCTL(vcpu, KVM_SET_CPUID2, table, err);
out:
    free(table);
    free(supported);
    return ret;
}

/* As firmware leaves it: the interrupt controller of old on vCPU 0's LINT0, NMI on every LINT1. */
static int lapic_wire(const struct vcpu *vcpu, struct err *err)
{
    enum { LVT_LINT0 = 0x350, LVT_LINT1 = 0x360, MODE_NMI = 4 << 8, MODE_EXTINT = 7 << 8 };
    const uint32_t nmi = MODE_NMI, extint = MODE_EXTINT;
    struct kvm_lapic_state lapic;
    int ret = STATE_IOCTL(vcpu, KVM_GET_LAPIC, &lapic, err);

    if (ret)
        return ret;
    if (!vcpu->index)
        memcpy(&lapic.regs[LVT_LINT0], &extint, sizeof(extint));
    memcpy(&lapic.regs[LVT_LINT1], &nmi, sizeof(nmi));
    return STATE_IOCTL(vcpu, KVM_SET_LAPIC, &lapic, err);
}

int vcpu_arch_init(struct vcpu *vcpu, struct err *err)
{
    int ret;

    vcpu->arch = calloc(1, sizeof(*vcpu->arch));
    if (!vcpu->arch)
        return err_set(err, -ENOMEM, "vCPU %u: out of memory", vcpu->index);
    ret = features_set(vcpu, err);
    if (!ret)
        ret = msr_boot_set(vcpu->fd, err);
    if (!ret)
        ret = lapic_wire(vcpu, err);
    if (!ret)
        ret = state_save(vcpu, err);
    if (ret)
        vcpu_arch_destroy(vcpu);
    return ret;
}

void vcpu_arch_destroy(struct vcpu *vcpu)
{
    msr_set_free(vcpu->arch->msrs);
    free(vcpu->arch);
    vcpu->arch = NULL;
}
