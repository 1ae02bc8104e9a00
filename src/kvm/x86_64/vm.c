/* Interrupt chips, interval timer and fixed addresses of an x86_64 vm. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/arch.h"
#include "kvm/vm_private.h"
#include "mem/layout.h"

static const struct kvm_capability capabilities[] = {
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_PIT2, "KVM_CAP_PIT2"},
    {KVM_CAP_PIT_STATE2, "KVM_CAP_PIT_STATE2"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
};

enum { CHIP_COUNT = 3 };

static const uint32_t chip_ids[CHIP_COUNT] = {
    KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE,
    KVM_IRQCHIP_IOAPIC,
};

/* What vm_reset goes back to. */
struct vm_arch {
    struct kvm_irqchip chips[CHIP_COUNT];
    struct kvm_pit_state2 pit;
};

const struct kvm_capability *kvm_arch_capabilities(size_t *count)
{
    *count = array_count(capabilities);
    return capabilities;
}

bool kvm_arch_is_software(void)
{
    return !access("/sys/module/kvm", F_OK) && access("/sys/module/kvm_intel", F_OK) &&
           access("/sys/module/kvm_amd", F_OK);
}

uint32_t irqchip_arch_line(uint32_t gsi)
{
    return gsi;
}

size_t irqchip_arch_pin_routes(struct kvm_irq_routing_entry *entries)
{
    enum { PIC_PIN_COUNT = 8, PIC_COUNT = 2, CASCADE_PIN = LAYOUT_GSI_PIT };
    size_t count = 0;

    /* The second PIC hangs on pin 2 of the first, so that pin of the IOAPIC is free for the timer,
     * whose GSI 0 KVM raises. */
    for (uint32_t gsi = 0; gsi < PIC_COUNT * PIC_PIN_COUNT; gsi++) {
        if (gsi == CASCADE_PIN)
            continue;
        entries[count++] = (struct kvm_irq_routing_entry){
            .gsi = gsi,
            .type = KVM_IRQ_ROUTING_IRQCHIP,
            .u.irqchip = {.irqchip =
                              gsi < PIC_PIN_COUNT ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                          .pin = gsi % PIC_PIN_COUNT},
        };
    }
    for (uint32_t gsi = 0; gsi < VM_PIN_COUNT; gsi++) {
        if (gsi == CASCADE_PIN)
            continue;
        entries[count++] = (struct kvm_irq_routing_entry){
            .gsi = gsi,
            .type = KVM_IRQ_ROUTING_IRQCHIP,
            .u.irqchip = {.irqchip = KVM_IRQCHIP_IOAPIC,
                          .pin = gsi == LAYOUT_IRQ_PIT ? LAYOUT_GSI_PIT : gsi},
        };
    }
    return count;
}

bool irqchip_arch_msi_is_valid(const struct msi_message *message)
{
    /* Intel SDM volume 3, 11.11.1: anything else would be an ordinary memory write. */
    return (message->address & ~0xfffffULL) == 0xfee00000;
}

bool irqchip_arch_msi_is_edge(const struct msi_message *message, uint32_t *gsi)
{
    (void)message;
    (void)gsi;
    return false;
}

static int pin_routes_set(struct vm *vm, struct err *err)
{
    struct kvm_irq_routing *routes =
        calloc(1, sizeof(*routes) + VM_PIN_ROUTE_COUNT_MAX * sizeof(routes->entries[0]));
    int ret = 0;

    if (!routes)
        return err_set(err, -ENOMEM, "interrupt routes: out of memory");
    routes->nr = (uint32_t)irqchip_arch_pin_routes(routes->entries);
    if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, routes))
        ret = err_set(err, -errno, "vm: KVM_SET_GSI_ROUTING: %s", strerror(errno));
    free(routes);
    return ret;
}

int vm_arch_type(const struct vm_config *config, unsigned long *type, struct err *err)
{
    (void)config;
    (void)err;
    *type = 0;
    return 0;
}

int vm_arch_init(struct vm *vm, struct err *err)
{
    /* Intel's KVM keeps an identity map and a task state segment in guest-physical space. */
    uint64_t identity_map_addr = LAYOUT_KVM_IDENTITY_BASE;
    /* Port 0x61, which starts and reads the timer's second channel, stays in the kernel. */
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    int ret;

    if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map_addr))
        return err_set(err, -errno, "vm: KVM_SET_IDENTITY_MAP_ADDR: %s", strerror(errno));
    if (ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_KVM_TSS_BASE))
        return err_set(err, -errno, "vm: KVM_SET_TSS_ADDR: %s", strerror(errno));
    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
        return err_set(err, -errno, "vm: KVM_CREATE_IRQCHIP: %s", strerror(errno));
    if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit))
        return err_set(err, -errno, "vm: KVM_CREATE_PIT2: %s", strerror(errno));
    ret = pin_routes_set(vm, err);
    if (ret)
        return ret;
    vm->arch = calloc(1, sizeof(*vm->arch));
    return vm->arch ? 0 : err_set(err, -ENOMEM, "vm: out of memory");
}

void vm_arch_destroy(struct vm *vm)
{
    free(vm->arch);
}

int vm_arch_save(struct vm *vm, struct err *err)
{
    struct vm_arch *arch = vm->arch;

    for (int i = 0; i < CHIP_COUNT; i++) {
        arch->chips[i].chip_id = chip_ids[i];
        if (ioctl(vm->fd, KVM_GET_IRQCHIP, &arch->chips[i]))
            return err_set(err, -errno, "vm: KVM_GET_IRQCHIP: %s", strerror(errno));
    }
    if (ioctl(vm->fd, KVM_GET_PIT2, &arch->pit))
        return err_set(err, -errno, "vm: KVM_GET_PIT2: %s", strerror(errno));
    return 0;
}

int vm_arch_reset(struct vm *vm, struct err *err)
{
    struct vm_arch *arch = vm->arch;

    for (int i = 0; i < CHIP_COUNT; i++) {
        if (ioctl(vm->fd, KVM_SET_IRQCHIP, &arch->chips[i]))
            return err_set(err, -errno, "vm: KVM_SET_IRQCHIP: %s", strerror(errno));
    }
    if (ioctl(vm->fd, KVM_SET_PIT2, &arch->pit))
        return err_set(err, -errno, "vm: KVM_SET_PIT2: %s", strerror(errno));
    return 0;
}
