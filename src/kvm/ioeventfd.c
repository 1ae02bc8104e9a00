#include "kvm/ioeventfd.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "kvm/vm_private.h"

static int ioeventfd_set(const struct vm *vm, const struct doorbell *doorbell, uint32_t flags)
{
    struct kvm_ioeventfd ioeventfd = {
        .addr = doorbell->addr,
        .len = doorbell->len,
        .fd = doorbell->eventfd,
        .datamatch = doorbell->value,
        .flags = flags | (doorbell->is_port ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (doorbell->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
    };

    return ioctl(vm->fd, KVM_IOEVENTFD, &ioeventfd) ? -errno : 0;
}

static int doorbell_add(void *chip, const struct doorbell *doorbell)
{
    return ioeventfd_set(chip, doorbell, 0);
}

static void doorbell_remove(void *chip, const struct doorbell *doorbell)
{
    CHECK_CMP(ioeventfd_set(chip, doorbell, KVM_IOEVENTFD_FLAG_DEASSIGN), ==, 0);
}

const struct doorbell_chip_ops ioeventfd_ops = {.add = doorbell_add, .remove = doorbell_remove};
