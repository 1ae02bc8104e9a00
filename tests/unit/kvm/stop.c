/* Every exit that is nobody's work has its own reason and says what it was. */
#include "kvm/stop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

static struct vcpu_stop stop_of(const struct kvm_run *run)
{
    struct vcpu_stop stop;

    memset(&stop, 0xff, sizeof(stop));
    vcpu_stop_from_exit(&stop, run);
    return stop;
}

static void check(const struct kvm_run *run, enum vm_stop_reason reason, bool is_crash,
                  const char *detail)
{
    struct vcpu_stop stop = stop_of(run);

    cr_assert_eq(stop.reason, reason, "%s: %s", detail, vm_stop_reason_name(stop.reason));
    cr_assert_eq(vm_stop_reason_is_crash(stop.reason), is_crash, "%s", detail);
    cr_assert_str_eq(stop.detail, detail);
}

Test(stop, each_exit_reason_is_told_apart)
{
    struct kvm_run run = {.exit_reason = KVM_EXIT_SHUTDOWN};

    check(&run, VM_STOP_TRIPLE_FAULT, false, "the guest faulted while handling a double fault");
    run.exit_reason = KVM_EXIT_SYSTEM_EVENT;
    run.system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
    check(&run, VM_STOP_SYSTEM_OFF, false, "system event 1");
    run.system_event.type = KVM_SYSTEM_EVENT_RESET;
    check(&run, VM_STOP_SYSTEM_RESET, false, "system event 2");
    run.system_event.type = KVM_SYSTEM_EVENT_CRASH;
    check(&run, VM_STOP_SYSTEM_CRASH, false, "system event 3");
    run.system_event.type = 99;
    check(&run, VM_STOP_UNEXPECTED_EXIT, true, "system event 99");
    run.exit_reason = KVM_EXIT_FAIL_ENTRY;
    run.fail_entry.hardware_entry_failure_reason = 0x80000021;
    run.fail_entry.cpu = 3;
    check(&run, VM_STOP_FAIL_ENTRY, true, "hardware reason 0x80000021 on cpu 3");
    run.exit_reason = KVM_EXIT_UNKNOWN;
    run.hw.hardware_exit_reason = 0x77;
    check(&run, VM_STOP_UNEXPECTED_EXIT, true, "unknown hardware exit reason 0x77");
    run.exit_reason = KVM_EXIT_HYPERV;
    check(&run, VM_STOP_UNEXPECTED_EXIT, true, "KVM_RUN exit reason 27");
}

Test(stop, internal_errors_tell_their_data)
{
    struct kvm_run run = {.exit_reason = KVM_EXIT_INTERNAL_ERROR};

    run.internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
    run.internal.ndata = 2;
    run.internal.data[0] = 0x80000b0e;
    run.internal.data[1] = 0x31;
    check(&run, VM_STOP_INTERNAL_ERROR, true,
          "suberror 3 (an exit while delivering an event), data 0x80000b0e 0x31");
    cr_assert_not(stop_of(&run).is_emulation);
    run.internal.suberror = 1234;
    run.internal.ndata = UINT32_MAX;
    cr_assert(strstr(stop_of(&run).detail, "suberror 1234 (unknown)"));
}

Test(stop, instruction_that_cannot_be_emulated_is_shown)
{
    static const uint8_t cmpxchg16b[] = {0xf0, 0x48, 0x0f, 0xc7, 0x0f};
    struct kvm_run run = {.exit_reason = KVM_EXIT_INTERNAL_ERROR};

    run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
    check(&run, VM_STOP_INTERNAL_ERROR, true, "an instruction that this KVM cannot emulate");
    cr_assert(stop_of(&run).is_emulation);
    run.emulation_failure.ndata = 3;
    run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    run.emulation_failure.insn_size = sizeof(cmpxchg16b);
    memcpy(run.emulation_failure.insn_bytes, cmpxchg16b, sizeof(cmpxchg16b));
    check(&run, VM_STOP_INTERNAL_ERROR, true,
          "an instruction that this KVM cannot emulate: f0 48 0f c7 0f");
}

Test(stop, failed_system_call_says_why)
{
    const struct kvm_run run = {.exit_reason = 39};
    struct vcpu_stop stop;

    vcpu_stop_from_error(&stop, &run, EFAULT);
    cr_assert_eq(stop.reason, VM_STOP_RUN_FAILED);
    cr_assert(vm_stop_reason_is_crash(stop.reason));
    cr_assert_str_eq(stop.detail, "KVM_RUN: Bad address (exit reason 39)");
}
