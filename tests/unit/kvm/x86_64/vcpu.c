/* vCPUs: start-up IPIs, pause and kick, stops of every kind, reset in place, doorbells. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cpu.h"
#include "exec/op.h"
#include "guest.h"
#include "kvm/vm_private.h"

static struct guest guest;

#define DONE "mov dx, 0x1f0\n out dx, al\n 9: hlt\n jmp 9b\n"

enum { PORT_HELLO = 0x110 };

/* clang-format off */

/* vCPU 0 sends INIT and the start-up IPI with vector 8 to all others. */
PAYLOAD(bsp_payload, "64",
    "mov ebx, 0xfee00000\n"
    "mov dword ptr [rbx + 0xf0], 0x1ff\n"
    "mov dword ptr [rbx + 0x300], 0xc4500\n"
    "mov dword ptr [rbx + 0x300], 0xc4608\n"
    "1: hlt\n jmp 1b\n");
/* Its own APIC id from CPUID leaf 1. */
PAYLOAD(ap_payload, "16",
    "mov eax, 1\n cpuid\n shr ebx, 24\n mov al, bl\n"
    "mov dx, 0x110\n out dx, al\n"
    "1: hlt\n jmp 1b\n");
PAYLOAD(spin_payload, "64", "1: inc rax\n jmp 1b\n");
PAYLOAD(port_loop_payload, "64", "mov edx, 0x300\n 1: out dx, al\n in al, dx\n jmp 1b\n");
PAYLOAD(halt_payload, "64", "cli\n 1: hlt\n jmp 1b\n");
PAYLOAD(done_payload, "16", DONE);
/* An unmapped address and an empty table: the page fault cannot be delivered, nor can what follows. */
PAYLOAD(triple_fault_payload, "64",
    "movabs rax, 0x200000000\n mov rax, [rax]\n");
/* Code from device memory cannot be fetched. */
PAYLOAD(lost_payload, "64", "mov eax, 0xd0000000\n mov ecx, 0x1234\n jmp rax\n");
/* What a kernel leaves behind: local APIC on, a masked PIC, an IOAPIC pin, a time stamp counter and
 * debug registers of its own, kvm-clock writing to DATA_ADDR, the local APIC in x2APIC mode. */
PAYLOAD(dirty_payload, "64",
    "mov ebx, 0xfee00000\n mov dword ptr [rbx + 0xf0], 0x1ff\n"
    "mov al, 0xaa\n out 0x21, al\n"
    "mov ebx, 0xfec00000\n mov dword ptr [rbx], 0x10 + 2 * 5\n mov dword ptr [rbx + 0x10], 0x55\n"
    "mov rax, 0x123\n mov dr0, rax\n"
    "mov ecx, 0x4b564d01\n mov eax, 0x30001\n xor edx, edx\n wrmsr\n"
    "mov ecx, 0x2ff\n xor eax, eax\n wrmsr\n"
    "mov ecx, 0x1b\n rdmsr\n or eax, 0x400\n wrmsr\n rdmsr\n mov [rsi + 0x200], eax\n"
    "mov ecx, 0x277\n rdmsr\n xor eax, 6\n wrmsr\n"
    DONE);
PAYLOAD(clean_payload, "64",
    "mov ebx, 0xfee00000\n mov eax, [rbx + 0xf0]\n mov [rsi + 0x100], eax\n"
    "in al, 0x21\n mov [rsi + 0x104], al\n"
    "mov ebx, 0xfec00000\n mov dword ptr [rbx], 0x10 + 2 * 5\n mov eax, [rbx + 0x10]\n"
    "mov [rsi + 0x108], eax\n"
    "mov rax, dr0\n mov [rsi + 0x10c], eax\n"
    "mov ecx, 0x4b564d01\n rdmsr\n mov [rsi + 0x110], eax\n"
    "mov ecx, 0x2ff\n rdmsr\n mov [rsi + 0x114], eax\n"
    "mov ecx, 0x1b\n rdmsr\n mov [rsi + 0x118], eax\n"
    "mov ecx, 0x277\n rdmsr\n mov [rsi + 0x11c], eax\n"
    DONE);
PAYLOAD(kick_payload, "64",
    "mov ebx, 0xd0000100\n mov word ptr [rbx], 7\n mov word ptr [rbx], 8\n" DONE);

/* clang-format on */

static bool has_three_hellos(void *arg)
{
    (void)arg;
    return guest.record_count >= 3;
}

Test(vcpu, others_wait_for_the_start_up_ipi_and_know_their_ids)
{
    guest_open(&guest, 4);
    cr_assert_eq(gmem_write(guest.mem, gpa(PAYLOAD_AP_ADDR), ap_payload,
                            (size_t)(ap_payload_end - ap_payload)),
                 0);
    /* The second time after a reset, which makes the others wait again. */
    for (int round = 0; round < 2; round++) {
        uint32_t seen = 0;
        struct err err;

        guest.record_count = 0;
        guest_load(&guest, VM_ENTRY_REAL, done_payload, done_payload_end);
        guest_run(&guest);
        cr_assert_eq(guest.record_count, 0);
        guest_pause(&guest);
        cr_assert_eq(vm_reset(guest.vm, &err), 0, "%s", err.text);
        guest_load(&guest, VM_ENTRY_LONG, bsp_payload, bsp_payload_end);
        vm_resume(guest.vm);
        guest_run_until(&guest, has_three_hellos);
        for (int i = 0; i < 3; i++)
            seen |= 1u << guest.records[i].value;
        cr_assert_eq(seen, 0xe, "ids 1, 2 and 3");
        guest_pause(&guest);
        cr_assert_eq(vm_reset(guest.vm, &err), 0, "%s", err.text);
    }
    guest_close(&guest);
}

/* Every pause must end, whatever the vCPUs are at. */
static void pause_often(const uint8_t *start, const uint8_t *end)
{
    enum { ROUND_COUNT = 500 };

    guest_open(&guest, 3);
    guest_load(&guest, VM_ENTRY_LONG, start, end);
    for (uint32_t i = 0; i < ROUND_COUNT; i++) {
        vm_resume(guest.vm);
        /* So that the kick meets every moment from the wake-up to the middle of the guest. */
        for (uint32_t delay = i * 37 % 1000; delay; delay--)
            cpu_relax();
        guest_pause(&guest);
    }
    cr_assert_eq(guest.parked_count, ROUND_COUNT);
    guest_close(&guest);
}

Test(kick, no_kick_is_lost)
{
    pause_often(spin_payload, spin_payload_end);
}

Test(kick, no_kick_is_lost_between_exits)
{
    pause_often(port_loop_payload, port_loop_payload_end);
}

Test(kick, halted_vcpus_are_kicked)
{
    pause_often(halt_payload, halt_payload_end);
}

Test(kick, pause_again_while_parked_is_answered)
{
    guest_open(&guest, 2);
    guest_pause(&guest);
    guest_pause(&guest);
    cr_assert_eq(guest.parked_count, 2);
    guest_close(&guest);
}

Test(kick, pause_while_pausing_is_answered_once)
{
    guest_open(&guest, 2);
    guest_load(&guest, VM_ENTRY_LONG, spin_payload, spin_payload_end);
    vm_resume(guest.vm);
    vm_pause(guest.vm);
    vm_pause(guest.vm);
    guest_pause(&guest);
    cr_assert_eq(guest.parked_count, 1);
    guest_close(&guest);
}

Test(kick, stop_ends_vcpus_that_run_or_were_never_resumed)
{
    guest_open(&guest, 3);
    guest_close(&guest);
    guest_open(&guest, 3);
    guest_load(&guest, VM_ENTRY_LONG, port_loop_payload, port_loop_payload_end);
    vm_resume(guest.vm);
    guest_close(&guest);
}

static bool has_stopped(void *arg)
{
    return ((struct guest *)arg)->stop_count;
}

/* Where a stop is what the test waits for. */
static void run_to_stop(void)
{
    vm_resume(guest.vm);
    cr_assert_eq(executor_run_until(guest.executor, has_stopped, &guest), 0);
}

Test(vcpu, triple_fault_is_told_and_a_reset_starts_anew)
{
    guest_open(&guest, 2);
    guest_load(&guest, VM_ENTRY_LONG, triple_fault_payload, triple_fault_payload_end);
    run_to_stop();
    cr_assert_eq(guest.stop_reason, VM_STOP_TRIPLE_FAULT);
    cr_assert_not(vm_stop_reason_is_crash(guest.stop_reason));
    cr_assert_eq(guest.stop_vcpu, 0);
    for (int i = 0; i < 3; i++) {
        struct err err;

        guest_pause(&guest);
        cr_assert_eq(vm_reset(guest.vm, &err), 0, "%s", err.text);
        guest_load(&guest, VM_ENTRY_REAL, done_payload, done_payload_end);
        guest_run(&guest);
    }
    cr_assert_eq(guest.stop_count, 1);
    guest_close(&guest);
}

Test(vcpu, one_that_stopped_by_itself_does_not_resume)
{
    guest_open(&guest, 1);
    guest_load(&guest, VM_ENTRY_LONG, triple_fault_payload, triple_fault_payload_end);
    run_to_stop();
    guest_pause(&guest);
    vm_resume(guest.vm);
    guest_pause(&guest);
    cr_assert_eq(guest.stop_count, 1);
    guest_close(&guest);
}

struct clean_state {
    uint32_t apic_spurious, pic_mask, ioapic_pin, dr0, kvm_clock, mtrr_default, apic_base, pat;
};

static struct clean_state read_clean_state(void)
{
    struct clean_state state;

    guest_load(&guest, VM_ENTRY_LONG, clean_payload, clean_payload_end);
    guest_run(&guest);
    cr_assert_eq(gmem_read(guest.mem, gpa(DATA_ADDR + 0x100), &state, sizeof(state)), 0);
    guest_pause(&guest);
    return state;
}

Test(vcpu, reset_undoes_everything_that_a_guest_did)
{
    struct clean_state before, after;
    uint32_t dirty_apic_base;
    struct err err;

    guest_open(&guest, 1);
    before = read_clean_state();
    cr_assert_eq(before.mtrr_default, 0x806, "enabled, write-back");
    cr_assert_eq(vm_reset(guest.vm, &err), 0, "%s", err.text);
    guest_load(&guest, VM_ENTRY_LONG, dirty_payload, dirty_payload_end);
    guest_run(&guest);
    cr_assert_eq(
        gmem_read(guest.mem, gpa(DATA_ADDR + 0x200), &dirty_apic_base, sizeof(dirty_apic_base)), 0);
    cr_assert_neq(dirty_apic_base, before.apic_base);
    guest_pause(&guest);
    cr_assert_eq(vm_reset(guest.vm, &err), 0, "%s", err.text);
    after = read_clean_state();
    cr_assert_eq(after.apic_spurious, before.apic_spurious);
    cr_assert_eq(after.pic_mask, before.pic_mask);
    cr_assert_eq(after.ioapic_pin, before.ioapic_pin);
    cr_assert_eq(after.dr0, before.dr0);
    cr_assert_eq(after.kvm_clock, before.kvm_clock);
    cr_assert_eq(after.mtrr_default, before.mtrr_default);
    cr_assert_eq(after.apic_base, before.apic_base);
    cr_assert_eq(after.pat, before.pat);
    guest_close(&guest);
}

Test(vcpu, code_that_cannot_be_fetched_is_a_crash_with_its_reason)
{
    guest_open(&guest, 1);
    guest_load(&guest, VM_ENTRY_LONG, lost_payload, lost_payload_end);
    run_to_stop();
    cr_assert(vm_stop_reason_is_crash(guest.stop_reason), "%s",
              vm_stop_reason_name(guest.stop_reason));
    cr_assert_neq(strlen(guest.stop_detail), 0);
    guest_close(&guest);
}

struct kick_counter {
    struct task task;
    struct op op;
    int fd;
    uint64_t kicks;
};

enum { KICK = 1 };

static enum task_verdict kick_counter_poll(struct task *task)
{
    struct kick_counter *const counter = container_of(task, struct kick_counter, task);

    ASYNC_BEGIN(task)
        ;
        op_poll(&counter->op, task, io_file_plain(counter->fd), POLLIN);
        AWAIT(task, KICK, op_is_done(&counter->op));
        ASYNC_END(task);
}

static const struct task_type kick_counter_type = {.name = "kicks", .poll = kick_counter_poll};

Test(vcpu, doorbell_wakes_a_task_without_an_exit)
{
    static struct kick_counter counter;
    struct doorbell doorbell = {.addr = MMIO_BASE + 0x100, .len = 2, .match = true, .value = 7};
    struct doorbell_chip chip;
    struct vcpu_stats stats;
    struct err err;

    guest_open(&guest, 1);
    chip = vm_doorbell_chip(guest.vm);
    counter.fd = doorbell.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cr_assert_geq(counter.fd, 0);
    cr_assert_eq(chip.ops->add(chip.chip, &doorbell), 0);
    task_spawn(&counter.task, guest.executor, &kick_counter_type);
    guest_load(&guest, VM_ENTRY_LONG, kick_payload, kick_payload_end);
    guest_run(&guest);
    cr_assert_eq(eventfd_read(counter.fd, &counter.kicks), 0);
    cr_assert_eq(counter.kicks, 1);
    cr_assert_eq(guest.record_count, 1, "only the value that does not match exits");
    guest_check_record(&guest, 0, true, MMIO_BASE + 0x100, 2, 8);
    vm_stats_read(guest.vm, 0, &stats);
    cr_assert_eq(stats.mmio_exits, 1);
    chip.ops->remove(chip.chip, &doorbell);

    /* Without the doorbell both arrive as accesses. */
    guest_pause(&guest);
    cr_assert_eq(vm_reset(guest.vm, &err), 0, "%s", err.text);
    guest_load(&guest, VM_ENTRY_LONG, kick_payload, kick_payload_end);
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 3);
    guest_close(&guest);
    close(counter.fd);
}

Test(vm, takes_as_many_vcpus_as_kvm_runs_and_no_more)
{
    struct vm_config config;
    struct vm *vm = NULL;
    uint32_t count;
    struct err err;

    guest_open(&guest, 1);
    count = kvm_vcpu_count_max(guest.kvm);
    config = guest.vm->config;
    config.vcpu_count = 0;
    cr_assert_eq(vm_create(&vm, &config, &err), -EINVAL);
    config.vcpu_count = count + 1;
    cr_assert_eq(vm_create(&vm, &config, &err), -EINVAL);
    cr_assert(strstr(err.text, "vCPUs"), "%s", err.text);
    config.vcpu_count = count;
    cr_assert_eq(vm_create(&vm, &config, &err), 0, "%s", err.text);
    vm_destroy(vm);
    guest_close(&guest);
}

static int thread_started(void *arg, uint32_t vcpu_index)
{
    (void)arg;
    __atomic_fetch_or(&guest.read_value, 1ULL << vcpu_index, __ATOMIC_RELAXED);
    return 0;
}

static void parked_is_ignored(void *arg)
{
    (void)arg;
}

static bool second_ended;

static void note_end(void *arg)
{
    (void)arg;
    second_ended = true;
}

static bool has_second_ended(void *arg)
{
    (void)arg;
    return second_ended;
}

static bool both_threads_started(void *arg)
{
    (void)arg;
    return __atomic_load_n(&guest.read_value, __ATOMIC_RELAXED) == 3;
}

Test(vm, tells_on_each_thread_that_it_started)
{
    const struct vm_events events = {
        .parked = parked_is_ignored, .ended = note_end, .thread_started = thread_started};
    struct vm_config config;
    struct vm *vm;
    struct err err;

    guest_open(&guest, 1);
    config = guest.vm->config;
    config.vcpu_count = 2;
    config.events = &events;
    cr_assert_eq(vm_create(&vm, &config, &err), 0, "%s", err.text);
    cr_assert_eq(vm_start(vm, &err), 0, "%s", err.text);
    vm_pause(vm);
    guest_run_until(&guest, both_threads_started);
    vm_stop(vm);
    guest_run_until(&guest, has_second_ended);
    vm_destroy(vm);
    guest_close(&guest);
}
