#include "kvm/vm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "kvm/arch.h"
#include "kvm/ioeventfd.h"
#include "kvm/vm_private.h"

static const char *const stop_reason_names[] = {
    [VM_STOP_TRIPLE_FAULT] = "triple fault",         [VM_STOP_SYSTEM_OFF] = "system off",
    [VM_STOP_SYSTEM_RESET] = "system reset",         [VM_STOP_SYSTEM_CRASH] = "system crash",
    [VM_STOP_INTERNAL_ERROR] = "KVM internal error", [VM_STOP_FAIL_ENTRY] = "failed guest entry",
    [VM_STOP_UNEXPECTED_EXIT] = "unexpected exit",   [VM_STOP_RUN_FAILED] = "failed KVM_RUN",
};

_Static_assert(array_count(stop_reason_names) == VM_STOP_REASON_COUNT, "a name for each reason");

const char *vm_stop_reason_name(enum vm_stop_reason reason)
{
    return stop_reason_names[reason];
}

bool vm_stop_reason_is_crash(enum vm_stop_reason reason)
{
    return reason >= VM_STOP_INTERNAL_ERROR;
}

void vm_resume(struct vm *vm)
{
    CHECK(vm->started && !vm->pausing);
    vm->running = true;
    for (uint32_t i = 0; i < vm->config.vcpu_count; i++)
        vcpu_release(&vm->vcpus[i], VCPU_PAUSE);
}

void vm_pause(struct vm *vm)
{
    CHECK(vm->started);
    if (vm->pausing || vm->stopping)
        return;
    vm->pausing = true;
    vm->epoch = (vm->epoch + 1) & VCPU_EPOCH_MASK;
    for (uint32_t i = 0; i < vm->config.vcpu_count; i++)
        vcpu_pause(&vm->vcpus[i]);
    task_wake(&vm->control);
}

void vm_stop(struct vm *vm)
{
    CHECK(vm->started);
    if (vm->stopping)
        return;
    vm->stopping = true;
    for (uint32_t i = 0; i < vm->config.vcpu_count; i++)
        vcpu_request(&vm->vcpus[i], VCPU_STOP);
}

/* Every vCPU is parked for the newest pause. */
static bool vm_is_parked(const struct vm *vm)
{
    for (uint32_t i = 0; i < vm->config.vcpu_count; i++) {
        if (atomic_load_explicit(&vm->vcpus[i].parked_epoch, memory_order_acquire) != vm->epoch)
            return false;
    }
    return true;
}

void vm_vcpu_ended(struct vm *vm)
{
    vm->ended_count++;
    task_wake(&vm->control);
}

static enum task_verdict control_poll(struct task *task)
{
    struct vm *vm = container_of(task, struct vm, control);

    if (vm->ended_count == vm->config.vcpu_count)
        return TASK_DONE;
    if (vm->pausing && !vm->stopping && vm_is_parked(vm)) {
        vm->pausing = false;
        vm->running = false;
        vm->config.events->parked(vm->config.arg);
    }
    return TASK_PENDING;
}

static void control_done(struct task *task)
{
    struct vm *vm = container_of(task, struct vm, control);

    vm->started = false;
    vm->config.events->ended(vm->config.arg);
}

static const struct task_type control_type = {
    .name = "vm control",
    .poll = control_poll,
    .done = control_done,
};

int vm_start(struct vm *vm, struct err *err)
{
    uint32_t count = vm->config.vcpu_count;
    int ret = vcpu_kick_init(err);

    CHECK(!vm->started);
    for (uint32_t i = 0; !ret && i < count; i++)
        ret = vcpu_thread_start(&vm->vcpus[i], err);
    if (ret) {
        for (uint32_t i = 0; i < count; i++)
            vcpu_thread_abandon(&vm->vcpus[i]);
        return ret;
    }
    vm->started = true;
    task_spawn(&vm->control, vm->config.executor, &control_type);
    for (uint32_t i = 0; i < count; i++)
        task_spawn(&vm->vcpus[i].task, vm->config.executor, &vcpu_exit_type);
    return 0;
}

int vm_reset(struct vm *vm, struct err *err)
{
    int ret;

    CHECK(!vm->running);
    irqchip_reset(&vm->irqchip);
    ret = vm_arch_reset(vm, err);
    for (uint32_t i = 0; !ret && i < vm->config.vcpu_count; i++) {
        ret = vcpu_arch_reset(&vm->vcpus[i], err);
        vm->vcpus[i].halt_reported = false;
        vcpu_release(&vm->vcpus[i], VCPU_HALTED);
    }
    return ret;
}

struct irq_line vm_irq_line(struct vm *vm, uint32_t gsi)
{
    CHECK(gsi < VM_PIN_COUNT);
    return (struct irq_line){.ops = &irqchip_line_ops, .chip = &vm->irqchip, .gsi = gsi};
}

struct msi_chip vm_msi_chip(struct vm *vm)
{
    return (struct msi_chip){.ops = &irqchip_msi_ops, .chip = &vm->irqchip};
}

struct doorbell_chip vm_doorbell_chip(struct vm *vm)
{
    return (struct doorbell_chip){.ops = &ioeventfd_ops, .chip = vm};
}

static uint64_t counter(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

void vm_stats_read(const struct vm *vm, uint32_t vcpu_index, struct vcpu_stats *stats)
{
    const struct vcpu *vcpu = &vm->vcpus[vcpu_index];
    const struct vcpu_counters *counters = &vcpu->counters;

    CHECK_CMP(vcpu_index, <, vm->config.vcpu_count);
    *stats = (struct vcpu_stats){
        .exits = counter(&counters->exits),
        .port_exits = counter(&counters->port_exits),
        .mmio_exits = counter(&counters->mmio_exits),
        .signal_exits = counter(&counters->signal_exits),
        .other_exits = counter(&counters->other_exits),
        .spin_hits = counter(&counters->spin_hits),
        .spin_misses = counter(&counters->spin_misses),
        .sleeps = counter(&counters->sleeps),
        .deferred = counter(&vcpu->deferred_count),
    };
}

static const char *activity_name(unsigned word)
{
    if (word & VCPU_ENDED)
        return "ended";
    if (word & VCPU_HALTED)
        return "stopped by itself";
    if (word & VCPU_DEFERRED)
        return "waits for a deferred access";
    if (word & VCPU_EXIT)
        return "waits for its exit";
    return word & VCPU_PAUSE ? "parked" : "runs";
}

void vm_dump(const struct vm *vm, FILE *out)
{
    for (uint32_t i = 0; i < vm->config.vcpu_count; i++) {
        unsigned word = atomic_load_explicit(&vm->vcpus[i].word, memory_order_relaxed);
        struct vcpu_stats stats;

        vm_stats_read(vm, i, &stats);
        fprintf(out,
                "vcpu %u: %s; %llu exits (%llu port, %llu memory, %llu signal, %llu other), "
                "%llu spins won, %llu lost, %llu sleeps, %llu deferred\n",
                i, activity_name(word), (unsigned long long)stats.exits,
                (unsigned long long)stats.port_exits, (unsigned long long)stats.mmio_exits,
                (unsigned long long)stats.signal_exits, (unsigned long long)stats.other_exits,
                (unsigned long long)stats.spin_hits, (unsigned long long)stats.spin_misses,
                (unsigned long long)stats.sleeps, (unsigned long long)stats.deferred);
    }
}

static int memory_slots_set(struct vm *vm, struct err *err)
{
    const struct gmem *mem = vm->config.mem;

    for (size_t i = 0; i < gmem_region_count(mem); i++) {
        const struct gmem_region *region = gmem_region(mem, i);
        struct kvm_userspace_memory_region slot = {
            .slot = (uint32_t)i,
            .guest_phys_addr = region->range.base.addr,
            .memory_size = region->range.size,
            .userspace_addr = (uintptr_t)region->host,
        };

        if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot))
            return err_set(err, -errno, "vm: cannot give it %llu MiB of memory at 0x%llx: %s",
                           (unsigned long long)(slot.memory_size >> 20),
                           (unsigned long long)slot.guest_phys_addr, strerror(errno));
    }
    return 0;
}

static int vcpus_create(struct vm *vm, struct err *err)
{
    uint32_t count = vm->config.vcpu_count;
    int ret;

    vm->vcpus = aligned_alloc(_Alignof(struct vcpu), count * sizeof(*vm->vcpus));
    if (!vm->vcpus)
        return err_set(err, -ENOMEM, "vm: out of memory for %u vCPUs", count);
    for (uint32_t i = 0; i < count; i++) {
        ret = vcpu_create(&vm->vcpus[i], vm, i, err);
        if (ret) {
            while (i--)
                vcpu_destroy(&vm->vcpus[i]);
            free(vm->vcpus);
            return ret;
        }
    }
    return 0;
}

static void vcpus_destroy(struct vm *vm)
{
    for (uint32_t i = 0; i < vm->config.vcpu_count; i++)
        vcpu_destroy(&vm->vcpus[i]);
    free(vm->vcpus);
}

/* KVM_CREATE_VM is interrupted by signals when the host is short of memory. */
static int create_fd(struct vm *vm, struct err *err)
{
    unsigned long type;
    int ret = vm_arch_type(&vm->config, &type, err);

    if (ret)
        return ret;
    do {
        vm->fd = ioctl(vm->config.kvm->fd, KVM_CREATE_VM, type);
    } while (vm->fd < 0 && errno == EINTR);
    return vm->fd < 0 ? err_set(err, -errno, "vm: KVM_CREATE_VM: %s", strerror(errno)) : 0;
}

int vm_create(struct vm **out, const struct vm_config *config, struct err *err)
{
    struct vm *vm;
    int ret;

    if (!config->vcpu_count || config->vcpu_count > config->kvm->vcpu_count_max)
        return err_set(err, -EINVAL, "--cpus: %u vCPUs, but this KVM runs at most %u; choose fewer",
                       config->vcpu_count, config->kvm->vcpu_count_max);
    vm = calloc(1, sizeof(*vm));
    if (!vm)
        return err_set(err, -ENOMEM, "vm: out of memory");
    vm->config = *config;
    vm->epoch = VCPU_EPOCH_FIRST;
    ret = create_fd(vm, err);
    if (ret)
        goto fail_vm;
    ret = memory_slots_set(vm, err);
    if (ret)
        goto fail_fd;
    ret = irqchip_init(&vm->irqchip, vm->fd, err);
    if (ret)
        goto fail_fd;
    ret = vm_arch_init(vm, err);
    if (ret)
        goto fail_irqchip;
    ret = vcpus_create(vm, err);
    if (ret)
        goto fail_arch;
    ret = vm_arch_save(vm, err);
    if (ret)
        goto fail_vcpus;
    *out = vm;
    return 0;
fail_vcpus:
    vcpus_destroy(vm);
fail_arch:
    vm_arch_destroy(vm);
fail_irqchip:
    irqchip_destroy(&vm->irqchip);
fail_fd:
    close(vm->fd);
fail_vm:
    free(vm);
    return ret;
}

void vm_destroy(struct vm *vm)
{
    if (!vm)
        return;
    CHECK(!vm->started);
    vcpus_destroy(vm);
    vm_arch_destroy(vm);
    irqchip_destroy(&vm->irqchip);
    close(vm->fd);
    free(vm);
}
