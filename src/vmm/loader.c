/* Kernel and initrd: open for as long as the guest lives, loaded at each of its starts. */
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
