/* Start of an aarch64 guest. */
#include "boot/aarch64/boot.h"
#include "kvm/aarch64/entry.h"
#include "vmm/guest_private.h"

static enum boot_gic gic_of(const struct vm *vm)
{
    switch (vm_gic(vm)) {
    case VM_GIC_V2:
        return BOOT_GIC_V2;
    case VM_GIC_V3:
        return BOOT_GIC_V3;
    case VM_GIC_V3_ITS:
        break;
    }
    return BOOT_GIC_V3_ITS;
}

int loader_load(struct guest *guest, struct err *err)
{
    struct boot_config config = {
        .kernel = guest->kernel,
        .initrd = guest->initrd,
        .cmdline = guest->cmdline,
        .machine = {.vcpu_count = guest->host.config->vcpu_count,
                    .gic = gic_of(guest->vm),
                    .has_pmu = vm_has_pmu(guest->vm),
                    .virtio_mmio_count = guest->virtio_mmio_count},
    };
    struct boot_regs regs;
    int ret = 0;

    for (uint32_t i = 0; !ret && i < config.machine.vcpu_count; i++)
        ret = vm_vcpu_affinity(guest->vm, i, &config.machine.affinities[i], err);
    if (!ret)
        ret = boot_load(guest->mem, &config, &regs, err);
    if (ret)
        return ret;
    const struct vm_entry entry = {.pc = regs.pc, .device_tree = regs.device_tree};

    return vm_set_entry(guest->vm, &entry, err);
}
