/* Private to src/kvm/: the fields of a vm. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "exec/task.h"
#include "kvm/host.h"
#include "kvm/irqchip.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

struct vm_arch;

struct vm {
    int fd;
    struct vm_config config;
    struct vm_arch *arch;
    struct irqchip irqchip;
    struct vcpu *vcpus; /* config.vcpu_count */
    uint32_t epoch;     /* of the newest pause */
    bool started;       /* threads and tasks exist */
    bool running;       /* resumed, and not known to be parked */
    bool pausing;       /* events.parked is owed */
    bool stopping;      /* events.ended is owed */
    uint32_t ended_count;
    struct task control; /* sees to events.parked and events.ended */
};

/* A vCPU's exit task is done. Executor thread. */
void vm_vcpu_ended(struct vm *vm);
