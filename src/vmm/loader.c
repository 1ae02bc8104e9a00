/* Kernel and initrd: open for as long as the guest lives, loaded at each of its starts. */
#include "boot/x86_64/boot.h"
#include "kvm/x86_64/entry.h"
#include "vmm/guest_private.h"

int loader_create(struct guest *guest, struct err *err)
{
    const struct run_config *config = guest->host.config;
    int ret;

    guest->kernel.fd = guest->initrd.fd = -1;
    ret = boot_file_open(&guest->kernel, "kernel", config->kernel_path, err);
    if (!ret && config->initrd_path)
        ret = boot_file_open(&guest->initrd, "initrd", config->initrd_path, err);
    return ret;
}

void loader_destroy(struct guest *guest)
{
    boot_file_close(&guest->initrd);
    boot_file_close(&guest->kernel);
}

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
