/* Whether this KVM runs stock kernels: on aarch64 each does, if it has an interrupt controller. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/host.h"
#include "kvm/kvm.h"

static bool device_is_there(int vm_fd, uint32_t type)
{
    struct kvm_create_device device = {.type = type, .flags = KVM_CREATE_DEVICE_TEST};

    return !ioctl(vm_fd, KVM_CREATE_DEVICE, &device);
}

int kvm_can_run_linux(const struct kvm *kvm, struct err *err)
{
    int bits = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);
    int fd = ioctl(kvm->fd, KVM_CREATE_VM, bits > 0 ? KVM_VM_TYPE_ARM_IPA_SIZE(bits) : 0UL);
    bool has_gic;

    if (fd < 0)
        return err_set(err, -errno, "trial of this KVM: KVM_CREATE_VM: %s", strerror(errno));
    has_gic = device_is_there(fd, KVM_DEV_TYPE_ARM_VGIC_V3) ||
              device_is_there(fd, KVM_DEV_TYPE_ARM_VGIC_V2);
    close(fd);
    if (has_gic)
        return 1;
    err_set(err, 0, "this KVM has neither GICv3 nor GICv2: use a machine with one of them");
    return 0;
}
