#include "kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/limits.h"
#include "kvm/arch.h"
#include "kvm/host.h"

enum { KVM_API_VERSION_SUPPORTED = 12 };

/* What src/kvm/ itself relies on; the architecture adds its own. All are in Linux 6.1. */
static const struct kvm_capability capabilities[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
};

static int open_failed(const char *path, int error, struct err *err)
{
    switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        return err_set(err, -error,
                       "%s: no such device: load the module (modprobe " KVM_ARCH_MODULES
                       "); if that fails, this machine has no hardware virtualization or its "
                       "firmware has it turned off",
                       path);
    case EACCES:
    case EPERM:
        return err_set(err, -error,
                       "%s: permission denied: add yourself to group kvm (usermod -aG kvm USER) "
                       "and log in again",
                       path);
    default:
        return err_set(err, -error, "%s: cannot open: %s", path, strerror(error));
    }
}

static int capability_table_check(const struct kvm_capability *table, size_t count,
                                  kvm_extension_fn extension, void *arg, struct err *missing)
{
    int ret = 0;

    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(missing->text);

        if (extension(arg, table[i].number) > 0)
            continue;
        snprintf(missing->text + len, sizeof(missing->text) - len, " %s", table[i].name);
        ret = -ENOSYS;
    }
    return ret;
}

int kvm_capabilities_check(kvm_extension_fn extension, void *arg, struct err *err)
{
    struct err missing = {""};
    size_t arch_count;
    const struct kvm_capability *arch = kvm_arch_capabilities(&arch_count);
    int ret =
        capability_table_check(capabilities, array_count(capabilities), extension, arg, &missing);
    int arch_ret = capability_table_check(arch, arch_count, extension, arg, &missing);

    if (!ret && !arch_ret)
        return 0;
    return err_set(err, -ENOSYS, "this KVM lacks%.350s: ringvm needs the KVM of Linux 6.1 or later",
                   missing.text);
}

static int extension_of_fd(void *arg, int number)
{
    return ioctl(*(const int *)arg, KVM_CHECK_EXTENSION, (unsigned long)number);
}

static int kvm_check(struct kvm *kvm, const char *path, struct err *err)
{
    int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
    int size, count, ret;

    if (version < 0)
        return err_set(err, -EINVAL, "%s: not a KVM device", path);
    if (version != KVM_API_VERSION_SUPPORTED)
        return err_set(err, -EINVAL, "%s: KVM API version %d, need %d", path, version,
                       KVM_API_VERSION_SUPPORTED);
    ret = kvm_capabilities_check(extension_of_fd, &kvm->fd, err);
    if (ret)
        return ret;
    size = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run))
        return err_set(err, -EINVAL, "%s: KVM_GET_VCPU_MMAP_SIZE says %d bytes", path, size);
    kvm->run_size = (uint32_t)size;
    count = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    kvm->vcpu_count_max = (uint32_t)u64_min(count > 0 ? (uint64_t)count : 1, VCPU_COUNT_MAX);
    return 0;
}

int kvm_open(struct kvm **out, const char *path, struct err *err)
{
    struct kvm *kvm = calloc(1, sizeof(*kvm));
    int ret;

    if (!kvm)
        return err_set(err, -ENOMEM, "%s: out of memory", path);
    kvm->fd = open(path, O_RDWR | O_CLOEXEC);
    if (kvm->fd < 0) {
        ret = open_failed(path, errno, err);
        goto fail_open;
    }
    ret = kvm_check(kvm, path, err);
    if (ret)
        goto fail_check;
    kvm->is_software = kvm_arch_is_software();
    *out = kvm;
    return 0;
fail_check:
    close(kvm->fd);
fail_open:
    free(kvm);
    return ret;
}

void kvm_close(struct kvm *kvm)
{
    if (!kvm)
        return;
    close(kvm->fd);
    free(kvm);
}

uint32_t kvm_vcpu_count_max(const struct kvm *kvm)
{
    return kvm->vcpu_count_max;
}
