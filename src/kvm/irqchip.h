/*
 * Private to src/kvm/: interrupt pins and messages of a vm whose chips are in the kernel.
 *
 * A message is sent with KVM_SIGNAL_MSI (KVM_IRQ_LINE where it is an edge on an input), straight
 * from what the guest wrote into its MSI-X table: no routing table, so a guest that rewrites its
 * vectors costs nothing until one is signalled. Only a vector whose eventfd was asked for has an
 * irqfd and a route, and pays for their changes.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "bus/irq.h"
#include "kvm/arch.h"

/* 32 PCI functions with MSIX_VECTOR_COUNT_MAX each. */
enum { MSI_VECTOR_COUNT_MAX = 2048 };

struct msi_vector;

struct irqchip {
    int vm_fd;
    struct msi_vector *vectors;     /* MSI_VECTOR_COUNT_MAX */
    struct kvm_irq_routing *routes; /* room for all; NULL until the first eventfd */
    bool levels[VM_PIN_COUNT];      /* as last set */
};

must_check int irqchip_init(struct irqchip *irqchip, int vm_fd, struct err *err);
void irqchip_destroy(struct irqchip *irqchip);
/* Every pin low. */
void irqchip_reset(struct irqchip *irqchip);

extern const struct irq_line_ops irqchip_line_ops;
extern const struct msi_chip_ops irqchip_msi_ops;
