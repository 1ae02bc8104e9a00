/*
 * The exit task of a vCPU: carries the accesses of one exit to the bus and answers, and reports
 * what else the thread has to say. It lives as long as the thread.
 */
#include "base/check.h"
#include "base/log.h"
#include "kvm/arch.h"
#include "kvm/vm_private.h"

/* Accesses of one string instruction between two looks at other tasks. */
enum { ACCESS_BURST = 128 };

static uint64_t load_le(const uint8_t *data, uint32_t size)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < size; i++)
        value |= (uint64_t)data[i] << (8 * i);
    return value;
}

static void store_le(uint8_t *data, uint64_t value, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        data[i] = (uint8_t)(value >> (8 * i));
}

static void access_completed(struct bus_access *access)
{
    struct vcpu_transfer *transfer = container_of(access, struct vcpu_transfer, access);
    struct vcpu *vcpu = container_of(transfer, struct vcpu, transfer);

    transfer->answered = true;
    task_wake(&vcpu->task);
}

/* The largest size that a device knows and that is left of the exit: 7 bytes go as 4, 2 and 1. */
static uint8_t access_size(const struct vcpu_exit *exit, uint32_t done)
{
    uint8_t size = exit->unit;

    while (size > exit->total - done)
        size /= 2;
    return size;
}

static void access_begin(struct vcpu *vcpu)
{
    const struct vcpu_exit *exit = &vcpu->exit;
    struct vcpu_transfer *transfer = &vcpu->transfer;
    uint8_t size = access_size(exit, transfer->done);

    transfer->access = (struct bus_access){
        .addr = exit->addr + (exit->addr_is_fixed ? 0 : transfer->done),
        .value = exit->is_write ? load_le(exit->data + transfer->done, size) : UINT64_MAX,
        .size = size,
        .is_write = exit->is_write,
        .complete = access_completed,
    };
    transfer->in_access = true;
    transfer->answered = false;
    if (!exit->bus || bus_dispatch(exit->bus, &transfer->access) == BUS_DONE)
        transfer->answered = true;
    if (transfer->answered)
        return;
    vcpu_count(&vcpu->deferred_count);
    atomic_fetch_or_explicit(&vcpu->word, VCPU_DEFERRED, memory_order_relaxed);
}

static void access_end(struct vcpu *vcpu)
{
    const struct vcpu_exit *exit = &vcpu->exit;
    struct vcpu_transfer *transfer = &vcpu->transfer;
    const struct bus_access *access = &transfer->access;

    if (!exit->is_write)
        store_le(exit->data + transfer->done, access->value, access->size);
    transfer->done += access->size;
    transfer->in_access = false;
}

static void exit_advance(struct vcpu *vcpu)
{
    struct vcpu_transfer *transfer = &vcpu->transfer;

    for (int i = 0; i < ACCESS_BURST; i++) {
        if (!transfer->in_access)
            access_begin(vcpu);
        if (!transfer->answered)
            return;
        access_end(vcpu);
        if (transfer->done == vcpu->exit.total) {
            transfer->active = false;
            vcpu_reply(vcpu);
            return;
        }
    }
    task_wake(&vcpu->task);
}

static void halt_report(struct vcpu *vcpu)
{
    const struct vm_config *config = &vcpu->vm->config;
    const struct vcpu_stop *stop = &vcpu->stop;

    if (vm_stop_reason_is_crash(stop->reason)) {
        log_error("vCPU %u stopped: %s: %s", vcpu->index, vm_stop_reason_name(stop->reason),
                  stop->detail);
        vcpu_arch_report(vcpu);
        if (stop->is_emulation && config->kvm->is_software)
            log_error("this KVM has neither VMX nor SVM: it emulates kernel code and cannot run "
                      "stock kernels; use a machine with hardware virtualization, or "
                      "tests/host/run");
    }
    config->events->stopped(config->arg, vcpu->index, stop->reason, stop->detail);
}

static enum task_verdict vcpu_exit_poll(struct task *task)
{
    struct vcpu *vcpu = container_of(task, struct vcpu, task);
    unsigned word = atomic_load_explicit(&vcpu->word, memory_order_acquire);

    if ((word & VCPU_EXIT) && !vcpu->transfer.active)
        vcpu->transfer = (struct vcpu_transfer){.active = true};
    if (vcpu->transfer.active)
        exit_advance(vcpu);
    if ((word & VCPU_HALTED) && !vcpu->halt_reported) {
        vcpu->halt_reported = true;
        halt_report(vcpu);
    }
    if (vcpu->vm->pausing)
        task_wake(&vcpu->vm->control);
    if (!(word & VCPU_ENDED) || vcpu->transfer.active)
        return TASK_PENDING;
    if (vcpu->has_thread) {
        /* It has nothing left to do but return from its last task_wake. */
        CHECK_CMP(pthread_join(vcpu->thread, NULL), ==, 0);
        vcpu->has_thread = false;
    }
    return TASK_DONE;
}

static void vcpu_exit_done(struct task *task)
{
    vm_vcpu_ended(container_of(task, struct vcpu, task)->vm);
}

const struct task_type vcpu_exit_type = {
    .name = "vcpu exit",
    .poll = vcpu_exit_poll,
    .done = vcpu_exit_done,
};
