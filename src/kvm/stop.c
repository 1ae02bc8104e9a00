#include "kvm/stop.h"

#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"

enum { INTERNAL_DATA_COUNT = 6 };

printf_like(3, 4) static void stop_set(struct vcpu_stop *stop, enum vm_stop_reason reason,
                                       const char *format, ...)
{
    va_list args;

    *stop = (struct vcpu_stop){.reason = reason};
    va_start(args, format);
    vsnprintf(stop->detail, sizeof(stop->detail), format, args);
    va_end(args);
}

printf_like(2, 3) static void detail_append(struct vcpu_stop *stop, const char *format, ...)
{
    size_t len = strlen(stop->detail);
    va_list args;

    va_start(args, format);
    vsnprintf(stop->detail + len, sizeof(stop->detail) - len, format, args);
    va_end(args);
}

static void system_event(struct vcpu_stop *stop, const struct kvm_run *run)
{
    static const struct {
        uint32_t type;
        enum vm_stop_reason reason;
    } events[] = {
        {KVM_SYSTEM_EVENT_SHUTDOWN, VM_STOP_SYSTEM_OFF},
        {KVM_SYSTEM_EVENT_RESET, VM_STOP_SYSTEM_RESET},
        {KVM_SYSTEM_EVENT_CRASH, VM_STOP_SYSTEM_CRASH},
    };
    enum vm_stop_reason reason = VM_STOP_UNEXPECTED_EXIT;

    for (size_t i = 0; i < array_count(events); i++) {
        if (events[i].type == run->system_event.type)
            reason = events[i].reason;
    }
    stop_set(stop, reason, "system event %u", run->system_event.type);
}

static void emulation_failure(struct vcpu_stop *stop, const struct kvm_run *run)
{
    uint32_t count = 0;

    stop_set(stop, VM_STOP_INTERNAL_ERROR, "an instruction that this KVM cannot emulate");
    stop->is_emulation = true;
    if (run->emulation_failure.ndata &&
        (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
        count = (uint32_t)u64_min(run->emulation_failure.insn_size,
                                  sizeof(run->emulation_failure.insn_bytes));
    for (uint32_t i = 0; i < count; i++)
        detail_append(stop, "%s%02x", i ? " " : ": ", run->emulation_failure.insn_bytes[i]);
}

static void internal_error(struct vcpu_stop *stop, const struct kvm_run *run)
{
    static const char *const names[] = {
        [KVM_INTERNAL_ERROR_SIMUL_EX] = "simultaneous exceptions",
        [KVM_INTERNAL_ERROR_DELIVERY_EV] = "an exit while delivering an event",
        [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "an unknown hardware exit reason",
    };
    uint32_t suberror = run->internal.suberror;
    const char *name = suberror < array_count(names) ? names[suberror] : NULL;

    if (suberror == KVM_INTERNAL_ERROR_EMULATION) {
        emulation_failure(stop, run);
        return;
    }
    stop_set(stop, VM_STOP_INTERNAL_ERROR, "suberror %u (%s), data", suberror,
             name ? name : "unknown");
    for (uint32_t i = 0; i < run->internal.ndata && i < INTERNAL_DATA_COUNT; i++)
        detail_append(stop, " 0x%llx", (unsigned long long)run->internal.data[i]);
}

void vcpu_stop_from_exit(struct vcpu_stop *stop, const struct kvm_run *run)
{
    switch (run->exit_reason) {
    case KVM_EXIT_SHUTDOWN:
        stop_set(stop, VM_STOP_TRIPLE_FAULT, "the guest faulted while handling a double fault");
        return;
    case KVM_EXIT_SYSTEM_EVENT:
        system_event(stop, run);
        return;
    case KVM_EXIT_INTERNAL_ERROR:
        internal_error(stop, run);
        return;
    case KVM_EXIT_FAIL_ENTRY:
        stop_set(stop, VM_STOP_FAIL_ENTRY, "hardware reason 0x%llx on cpu %u",
                 (unsigned long long)run->fail_entry.hardware_entry_failure_reason,
                 run->fail_entry.cpu);
        return;
    case KVM_EXIT_UNKNOWN:
        stop_set(stop, VM_STOP_UNEXPECTED_EXIT, "unknown hardware exit reason 0x%llx",
                 (unsigned long long)run->hw.hardware_exit_reason);
        return;
    default:
        stop_set(stop, VM_STOP_UNEXPECTED_EXIT, "KVM_RUN exit reason %u", run->exit_reason);
    }
}

void vcpu_stop_from_error(struct vcpu_stop *stop, const struct kvm_run *run, int error)
{
    stop_set(stop, VM_STOP_RUN_FAILED, "KVM_RUN: %s (exit reason %u)", strerror(error),
             run->exit_reason);
}
