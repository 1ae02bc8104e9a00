/* Private to src/kvm/ and its tests: why a vCPU stopped by itself, read from its run page. */
#pragma once
#include <stdbool.h>

#include "kvm/vm.h"

struct kvm_run;

struct vcpu_stop {
    enum vm_stop_reason reason;
    bool is_emulation; /* KVM had to emulate an instruction and could not */
    char detail[256];  /* one line */
};

/* After KVM_RUN returned 0 with an exit that is nobody's work. vCPU thread. */
void vcpu_stop_from_exit(struct vcpu_stop *stop, const struct kvm_run *run);
/* After KVM_RUN failed with `error`. vCPU thread. */
void vcpu_stop_from_error(struct vcpu_stop *stop, const struct kvm_run *run, int error);
