/* Private to src/kvm/: features and registers of an aarch64 vCPU. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/kvm.h>

#include "base/compiler.h"
#include "base/err.h"

struct vcpu;

/* Ids of registers for vcpu_register_get: a field of struct kvm_regs, or a system register. */
#define VCPU_CORE_REGISTER(field) \
    (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(field))
#define VCPU_SYSTEM_REGISTER(op0, op1, crn, crm, op2) ARM64_SYS_REG(op0, op1, crn, crm, op2)

/* 0 or a negative errno. Outside of KVM_RUN. */
must_check int vcpu_register_get(const struct vcpu *vcpu, uint64_t id, uint64_t *value);
must_check int vcpu_register_set(const struct vcpu *vcpu, uint64_t id, uint64_t value);

bool vcpu_has_pmu(const struct vcpu *vcpu);
/* Nothing where there is none. Once, after the interrupt controller's start. */
must_check int vcpu_pmu_init(const struct vcpu *vcpu, struct err *err);
