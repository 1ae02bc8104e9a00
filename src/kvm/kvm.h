/*
 * The host's KVM: opening /dev/kvm, what it must offer, and whether it can run a stock Linux
 * kernel. Base: Linux 6.1. Any thread, unless stated otherwise.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

#define KVM_PATH_DEFAULT "/dev/kvm"

struct kvm;

/*
 * Opens `path` and checks API version and capabilities. One line in *err for each way to fail:
 * -ENOENT and -ENODEV (no module or no hardware), -EACCES (group kvm), -EINVAL (not a KVM device,
 * wrong API version), -ENOSYS (missing capabilities, by name), or what open(2) said. The caller
 * owns *out and closes it after every vm made from it.
 */
must_check int kvm_open(struct kvm **out, const char *path, struct err *err);
/* NULL is allowed. */
void kvm_close(struct kvm *kvm);

/* vCPUs that one vm can have. */
uint32_t kvm_vcpu_count_max(const struct kvm *kvm);

/*
 * 1 when this KVM runs stock Linux kernels, 0 when not, negative errno when it could not be tried;
 * `err` says why in the last two cases and what to do. It creates a throw-away vm and really runs
 * the instructions that tell a software KVM from one on VMX or SVM: about a millisecond. Blocks:
 * before the executor runs.
 */
must_check int kvm_can_run_linux(const struct kvm *kvm, struct err *err);
