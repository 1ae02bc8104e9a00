/* Opening KVM: one clear line for each way to fail; and whether this KVM runs Linux. */
#include "kvm/kvm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kvm/host.h"

static void check_open_fails(const char *path, int code, const char *text)
{
    struct kvm *kvm;
    struct err err;

    cr_assert_eq(kvm_open(&kvm, path, &err), code);
    cr_assert(!strncmp(err.text, path, strlen(path)), "%s", err.text);
    cr_assert(strstr(err.text, text), "%s", err.text);
    cr_assert_null(strchr(err.text, '\n'));
}

Test(kvm, missing_device_names_the_modules)
{
    check_open_fails("/nonexistent/kvm", -ENOENT, "load the module");
}

Test(kvm, device_without_driver_names_the_modules)
{
    char path[] = "/tmp/kvm-test-XXXXXX";

    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(chdir(path), 0);
    /* A number that no driver has: what /dev/kvm of an unloaded module looks like. */
    if (mknod("kvm", S_IFCHR | 0600, makedev(10, 254)) || open("kvm", O_RDWR) >= 0 ||
        (errno != ENODEV && errno != ENXIO)) {
        unlink("kvm");
        rmdir(path);
        cr_skip_test("this user cannot make device nodes here");
    }
    check_open_fails("kvm", -errno, "load the module");
    unlink("kvm");
    rmdir(path);
}

Test(kvm, missing_permission_names_the_group)
{
    char path[] = "/tmp/kvm-test-XXXXXX";
    int fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fchmod(fd, 0), 0);
    /* Root may open everything. */
    if (!geteuid())
        cr_assert_eq(seteuid(65534), 0);
    check_open_fails(path, -EACCES, "group kvm");
    if (!getuid())
        cr_assert_eq(seteuid(0), 0);
    unlink(path);
}

Test(kvm, other_files_are_no_kvm)
{
    check_open_fails("/dev/null", -EINVAL, "not a KVM device");
    check_open_fails("/tmp", -EISDIR, "cannot open");
}

static int extension_without(void *arg, int number)
{
    const int *missing = arg;

    for (; *missing >= 0; missing++) {
        if (*missing == number)
            return 0;
    }
    return 1;
}

Test(kvm, missing_capabilities_are_named)
{
    int missing[] = {KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_SIGNAL_MSI, -1};
    int none[] = {-1};
    struct err err;

    cr_assert_eq(kvm_capabilities_check(extension_without, none, &err), 0);
    cr_assert_eq(kvm_capabilities_check(extension_without, missing, &err), -ENOSYS);
    cr_assert(strstr(err.text, "KVM_CAP_IMMEDIATE_EXIT"), "%s", err.text);
    cr_assert(strstr(err.text, "KVM_CAP_SIGNAL_MSI"), "%s", err.text);
    cr_assert_null(strstr(err.text, "KVM_CAP_IRQFD"));
    cr_assert(strstr(err.text, "Linux 6.1"), "%s", err.text);
}

static int extension_of_nothing(void *arg, int number)
{
    (void)arg;
    (void)number;
    return 0;
}

Test(kvm, message_about_many_missing_capabilities_is_cut_short)
{
    struct err err;

    cr_assert_eq(kvm_capabilities_check(extension_of_nothing, NULL, &err), -ENOSYS);
    cr_assert_lt(strlen(err.text), sizeof(err.text));
    cr_assert(strstr(err.text, "Linux 6.1"), "%s", err.text);
}

Test(kvm, trial_agrees_with_the_kind_of_kvm)
{
    struct kvm *kvm;
    struct err err = {""};
    int ret = kvm_open(&kvm, KVM_PATH_DEFAULT, &err);

    if (ret)
        cr_skip_test("%s", err.text);
    cr_assert_gt(kvm_vcpu_count_max(kvm), 0);
    ret = kvm_can_run_linux(kvm, &err);
    cr_assert_geq(ret, 0, "%s", err.text);
    cr_assert_eq(ret, !kvm->is_software, "%s", err.text);
    cr_assert_eq(ret, !strlen(err.text));
    cr_assert_eq(kvm_can_run_linux(kvm, &err), ret, "again");
    kvm_close(kvm);
}
