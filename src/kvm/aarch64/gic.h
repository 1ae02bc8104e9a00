/* Private to src/kvm/: the interrupt controller of an aarch64 vm (Arm IHI 0069, GICv3 with ITS; IHI
 * 0048, GICv2). All in KVM; any one thread, while no vCPU runs. */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "kvm/aarch64/entry.h"

struct gic {
    enum vm_gic version;
    int fd;
    int its_fd; /* -1: none */
};

/* The best that this KVM has, at its place in the memory map. Before the first vCPU. */
must_check int gic_create(struct gic *gic, int vm_fd, uint32_t vcpu_count, struct err *err);
void gic_destroy(struct gic *gic);
/* After the last vCPU. */
must_check int gic_init(const struct gic *gic, struct err *err);
/* What is common to all vCPUs back to its state after gic_init. */
must_check int gic_reset(const struct gic *gic, struct err *err);
/* The same for what each vCPU has of its own. */
must_check int gic_vcpu_reset(const struct gic *gic, uint32_t vcpu_index, uint64_t affinity,
                              struct err *err);
