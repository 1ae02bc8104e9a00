/* Address space, interrupt controller and performance monitors of an aarch64 vm. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/aarch64/gic.h"
#include "kvm/aarch64/vcpu.h"
#include "kvm/arch.h"
#include "kvm/vm_private.h"
#include "mem/layout.h"

static const struct kvm_capability capabilities[] = {
    {KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG"},
    {KVM_CAP_DEVICE_CTRL, "KVM_CAP_DEVICE_CTRL"},
    {KVM_CAP_ARM_PSCI_0_2, "KVM_CAP_ARM_PSCI_0_2"},
};

_Static_assert((int)VM_PIN_COUNT == (int)LAYOUT_GSI_COUNT, "a pin for each input");
_Static_assert((int)VM_MSI_FLAGS == (int)KVM_MSI_VALID_DEVID, "an ITS needs the device's id");

struct vm_arch {
    struct gic gic;
};

const struct kvm_capability *kvm_arch_capabilities(size_t *count)
{
    *count = array_count(capabilities);
    return capabilities;
}

/* There is none. */
bool kvm_arch_is_software(void)
{
    return false;
}

uint32_t irqchip_arch_line(uint32_t gsi)
{
    return KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (LAYOUT_SPI_BASE + gsi);
}

/* Only an irqfd of a pin would need its route. */
size_t irqchip_arch_pin_routes(struct kvm_irq_routing_entry *entries)
{
    (void)entries;
    return 0;
}

bool irqchip_arch_msi_is_valid(const struct msi_message *message)
{
    uint32_t gsi;

    return message->address == LAYOUT_GIC_ITS_TRANSLATER || irqchip_arch_msi_is_edge(message, &gsi);
}

bool irqchip_arch_msi_is_edge(const struct msi_message *message, uint32_t *gsi)
{
    *gsi = message->data - LAYOUT_SPI_BASE;
    return message->address == LAYOUT_GIC_V2M_SETSPI && *gsi >= LAYOUT_GSI_V2M_BASE &&
           *gsi < LAYOUT_GSI_V2M_BASE + LAYOUT_GSI_V2M_COUNT;
}

int vm_arch_type(const struct vm_config *config, unsigned long *type, struct err *err)
{
    enum { BITS_DEFAULT = 40, BITS_MIN = 32 };
    uint64_t end = layout_pci_mem64_base(gmem_size(config->mem)) + LAYOUT_PCI_MEM64_LEN;
    int bits = 64 - __builtin_clzll(end - 1);
    int bits_max = ioctl(config->kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);

    if (bits < BITS_MIN)
        bits = BITS_MIN;
    if (bits > (bits_max > 0 ? bits_max : BITS_DEFAULT))
        return err_set(err, -EINVAL,
                       "--mem: a guest with so much memory needs %d address bits, and this KVM has "
                       "%d; choose less",
                       bits, bits_max > 0 ? bits_max : BITS_DEFAULT);
    *type = bits_max > 0 ? KVM_VM_TYPE_ARM_IPA_SIZE((unsigned long)bits) : 0;
    return 0;
}

int vm_arch_init(struct vm *vm, struct err *err)
{
    int ret;

    vm->arch = calloc(1, sizeof(*vm->arch));
    if (!vm->arch)
        return err_set(err, -ENOMEM, "vm: out of memory");
    ret = gic_create(&vm->arch->gic, vm->fd, vm->config.vcpu_count, err);
    if (ret)
        free(vm->arch);
    return ret;
}

void vm_arch_destroy(struct vm *vm)
{
    gic_destroy(&vm->arch->gic);
    free(vm->arch);
}

int vm_arch_save(struct vm *vm, struct err *err)
{
    int ret = gic_init(&vm->arch->gic, err);

    /* A monitor's interrupt wants a controller that is complete. */
    for (uint32_t i = 0; !ret && i < vm->config.vcpu_count; i++)
        ret = vcpu_pmu_init(&vm->vcpus[i], err);
    return ret;
}

/* An irqfd raises the input that its message is, and never lowers it: of one that the guest left
 * level triggered, that is pending for ever. */
static int v2m_reset(const struct vm *vm, struct err *err)
{
    for (uint32_t i = 0; i < LAYOUT_GSI_V2M_COUNT; i++) {
        struct kvm_irq_level irq = {.irq = irqchip_arch_line(LAYOUT_GSI_V2M_BASE + i)};

        if (ioctl(vm->fd, KVM_IRQ_LINE, &irq))
            return err_set(err, -errno, "vm: KVM_IRQ_LINE: %s", strerror(errno));
    }
    return 0;
}

int vm_arch_reset(struct vm *vm, struct err *err)
{
    const struct gic *gic = &vm->arch->gic;
    int ret = gic->version == VM_GIC_V2 ? v2m_reset(vm, err) : 0;

    if (!ret)
        ret = gic_reset(gic, err);
    for (uint32_t i = 0; !ret && i < vm->config.vcpu_count; i++) {
        uint64_t affinity;

        ret = vm_vcpu_affinity(vm, i, &affinity, err);
        if (!ret)
            ret = gic_vcpu_reset(gic, i, affinity, err);
    }
    return ret;
}

enum vm_gic vm_gic(const struct vm *vm)
{
    return vm->arch->gic.version;
}

bool vm_has_pmu(const struct vm *vm)
{
    return vcpu_has_pmu(&vm->vcpus[0]);
}
