/*
 * Private to src/kvm/: what each architecture provides in src/kvm/ARCH/, for the same callers.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bus/irq.h"
#include "kvm/host.h"

struct kvm_irq_routing_entry;
struct vcpu;
struct vm;
struct vm_config;

/* VM_MSI_FLAGS: of struct kvm_msi and of a message's route. */
#if defined(__x86_64__)
#define KVM_ARCH_MODULES "kvm_amd or kvm_intel"
enum { VM_PIN_COUNT = 24, VM_PIN_ROUTE_COUNT_MAX = 16 + 24, VM_MSI_FLAGS = 0 };
#elif defined(__aarch64__)
#define KVM_ARCH_MODULES "kvm"
enum { VM_PIN_COUNT = 64, VM_PIN_ROUTE_COUNT_MAX = 0, VM_MSI_FLAGS = 1 /* a valid devid */ };
#endif

const struct kvm_capability *kvm_arch_capabilities(size_t *count);
/* A guess from what is loaded, without a vm; kvm_can_run_linux knows. */
bool kvm_arch_is_software(void);

/* The argument of KVM_CREATE_VM. -EINVAL when this KVM has too few address bits for the machine. */
must_check int vm_arch_type(const struct vm_config *config, unsigned long *type, struct err *err);
/* After KVM_CREATE_VM, before the first vCPU: interrupt chips, timers, fixed addresses. */
must_check int vm_arch_init(struct vm *vm, struct err *err);
/* After the last vCPU: the chips are complete, and vm_arch_reset can go back to this state. */
must_check int vm_arch_save(struct vm *vm, struct err *err);
must_check int vm_arch_reset(struct vm *vm, struct err *err);
void vm_arch_destroy(struct vm *vm);

/* Identity, CPU features and state of a new vCPU, kept for vcpu_arch_reset. */
must_check int vcpu_arch_init(struct vcpu *vcpu, struct err *err);
must_check int vcpu_arch_reset(struct vcpu *vcpu, struct err *err);
void vcpu_arch_destroy(struct vcpu *vcpu);
/* Registers and code bytes into the log, for a vCPU that stopped; outside of KVM_RUN. */
void vcpu_arch_report(const struct vcpu *vcpu);

/* How KVM_IRQ_LINE numbers a pin. */
uint32_t irqchip_arch_line(uint32_t gsi);
/* The routes of the pins 0 to VM_PIN_COUNT - 1, where KVM_IRQ_LINE needs them; returns how many
 * were written. */
size_t irqchip_arch_pin_routes(struct kvm_irq_routing_entry *entries);
/* False when no interrupt controller would take such a message. */
bool irqchip_arch_msi_is_valid(const struct msi_message *message);
/* True when the (valid) message is an edge on an input of the interrupt controller, *gsi. */
bool irqchip_arch_msi_is_edge(const struct msi_message *message, uint32_t *gsi);
