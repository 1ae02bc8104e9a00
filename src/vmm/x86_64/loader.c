/* Start of an x86_64 guest. */
#include "boot/x86_64/boot.h"
#include "kvm/x86_64/entry.h"
#include "vmm/guest_private.h"

int loader_load(struct guest *guest, struct err *err)
{
    const struct boot_config config = {
        .kernel = guest->kernel,
        .initrd = guest->initrd,
        .cmdline = guest->cmdline,
        .acpi = {.vcpu_count = guest->host.config->vcpu_count,
                 .com_mask = (1 << CONFIG_COM_COUNT) - 1,
                 .virtio_mmio_count = (uint8_t)guest->virtio_mmio_count},
    };
    struct boot_regs regs;
    int ret = boot_load(guest->mem, &config, &regs, err);

    if (ret)
        return ret;
    const struct vm_entry entry = {
        .mode = regs.mode == BOOT_MODE_LONG ? VM_ENTRY_LONG : VM_ENTRY_PROTECTED,
        .rip = regs.rip,
        .rsp = regs.rsp,
        .rbx = regs.rbx,
        .rsi = regs.rsi,
        .cr3 = regs.cr3,
        .gdt = regs.gdt,
        .gdt_limit = regs.gdt_limit,
        .code_selector = regs.code_selector,
        .data_selector = regs.data_selector,
        .task_selector = regs.task_selector,
    };
    return vm_set_entry(guest->vm, &entry, err);
}
