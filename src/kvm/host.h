/* Private to src/kvm/ and its tests: what kvm_open found. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"

struct kvm {
    int fd;
    uint32_t run_size; /* bytes of struct kvm_run's mapping */
    uint32_t vcpu_count_max;
    bool is_software; /* no module for hardware virtualization is loaded: for messages only */
};

struct kvm_capability {
    int number;
    const char *name;
};

/* KVM_CHECK_EXTENSION: positive when there. */
typedef int (*kvm_extension_fn)(void *arg, int number);

/* 0, or -ENOSYS and one line that names every capability that is missing. */
must_check int kvm_capabilities_check(kvm_extension_fn extension, void *arg, struct err *err);
