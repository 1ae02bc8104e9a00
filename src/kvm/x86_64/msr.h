/* Model-specific registers of a vCPU: what firmware sets, and all of them back to where they were.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"

struct msr_set;

/* What Linux expects of firmware: write-back memory, fast string instructions. */
must_check int msr_boot_set(int vcpu_fd, struct err *err);

/* Reads every register that KVM knows and that a guest can change. msr_set_free frees *out. */
must_check int msr_set_save(struct msr_set **out, int kvm_fd, int vcpu_fd, struct err *err);
/* Writes back those that differ. */
must_check int msr_set_restore(const struct msr_set *set, int vcpu_fd, struct err *err);
/* NULL is allowed. */
void msr_set_free(struct msr_set *set);
