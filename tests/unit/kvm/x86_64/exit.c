/* Exits: port and memory accesses of every width, string instructions, deferred answers. */
#include <criterion/criterion.h>
#include <string.h>

#include "guest.h"
#include "kvm/vm_private.h"

/* Too large for a stack frame that analysers like; each test runs in its own process. */
static struct guest guest;

#define DONE "mov dx, 0x1f0\n out dx, al\n 9: hlt\n jmp 9b\n"

PAYLOAD(port_widths, "16",
        "mov dx, 0x110\n"
        "mov eax, 0x44332211\n"
        "out dx, al\n"
        "out dx, ax\n"
        "out dx, eax\n"
        "xor eax, eax\n in al, dx\n mov bx, 0x2000\n mov [bx], eax\n"
        "xor eax, eax\n in ax, dx\n mov [bx + 4], eax\n"
        "xor eax, eax\n in eax, dx\n mov [bx + 8], eax\n" DONE);

Test(exit, port_access_of_every_width_reaches_the_device)
{
    uint32_t answers[3];

    guest_open(&guest, 1);
    guest.read_value = 0xddccbbaa;
    guest_load(&guest, VM_ENTRY_REAL, port_widths, port_widths_end);
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 6);
    guest_check_record(&guest, 0, true, 0x110, 1, 0x11);
    guest_check_record(&guest, 1, true, 0x110, 2, 0x2211);
    guest_check_record(&guest, 2, true, 0x110, 4, 0x44332211);
    cr_assert_eq(gmem_read(guest.mem, gpa(0x2000), answers, sizeof(answers)), 0);
    cr_assert_eq(answers[0], 0xaa);
    cr_assert_eq(answers[1], 0xbbaa);
    cr_assert_eq(answers[2], 0xddccbbaa);
    guest_close(&guest);
}

PAYLOAD(port_nobody, "16",
        "mov dx, 0x300\n"
        "out dx, eax\n"
        "xor eax, eax\n in eax, dx\n mov [0x2000], eax\n" DONE);

Test(exit, port_that_nobody_claims_reads_all_ones)
{
    uint32_t answer;

    guest_open(&guest, 1);
    guest_load(&guest, VM_ENTRY_REAL, port_nobody, port_nobody_end);
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 0);
    cr_assert_eq(gmem_read(guest.mem, gpa(0x2000), &answer, sizeof(answer)), 0);
    cr_assert_eq(answer, UINT32_MAX);
    guest_close(&guest);
}

/* 2,000 bytes: more than the executor does of one exit in a turn. */
PAYLOAD(string_out, "64",
        "cld\n mov edx, 0x120\n mov ecx, 2000\n mov esi, 0x30000\n rep outsb\n"
        "mov ecx, 3\n mov esi, 0x30000\n rep outsw\n"
        "mov ecx, 2\n mov esi, 0x30000\n rep outsd\n"
        "mov ecx, 3\n mov edi, 0x38000\n rep insw\n" DONE);

Test(exit, string_instructions_arrive_element_by_element)
{
    uint8_t data[2000];
    uint16_t answers[4];

    guest_open(&guest, 1);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    cr_assert_eq(gmem_write(guest.mem, gpa(DATA_ADDR), data, sizeof(data)), 0);
    guest.read_value = 0x1234;
    guest_load(&guest, VM_ENTRY_LONG, string_out, string_out_end);
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 2000 + 3 + 2 + 3);
    for (uint32_t i = 0; i < 2000; i++)
        guest_check_record(&guest, i, true, 0x120, 1, data[i]);
    for (uint32_t i = 0; i < 3; i++)
        guest_check_record(&guest, 2000 + i, true, 0x120, 2,
                           data[2 * i] | (uint64_t)data[2 * i + 1] << 8);
    cr_assert_eq(guest.records[2003].size, 4);
    cr_assert_eq(gmem_read(guest.mem, gpa(0x38000), answers, sizeof(answers)), 0);
    cr_assert_eq(answers[0], 0x1234);
    cr_assert_eq(answers[2], 0x1234);
    cr_assert_eq(answers[3], 0, "three elements, not more");
    guest_close(&guest);
}

PAYLOAD(mmio_widths, "64",
        "mov ebx, 0xd0000010\n"
        "movabs rax, 0x8877665544332211\n"
        "mov [rbx], al\n mov [rbx + 2], ax\n mov [rbx + 4], eax\n mov [rbx + 8], rax\n"
        "xor eax, eax\n mov al, [rbx]\n mov [rsi], rax\n"
        "xor eax, eax\n mov ax, [rbx]\n mov [rsi + 8], rax\n"
        "mov eax, [rbx]\n mov [rsi + 16], rax\n"
        "mov rax, [rbx]\n mov [rsi + 24], rax\n" DONE);

Test(exit, memory_access_of_every_width_reaches_the_device)
{
    uint64_t answers[4];

    guest_open(&guest, 1);
    guest.read_value = 0xffeeddccbbaa9988;
    guest_load(&guest, VM_ENTRY_LONG, mmio_widths, mmio_widths_end);
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 8);
    guest_check_record(&guest, 0, true, 0xd0000010, 1, 0x11);
    guest_check_record(&guest, 1, true, 0xd0000012, 2, 0x2211);
    guest_check_record(&guest, 2, true, 0xd0000014, 4, 0x44332211);
    guest_check_record(&guest, 3, true, 0xd0000018, 8, 0x8877665544332211);
    cr_assert_eq(gmem_read(guest.mem, gpa(DATA_ADDR), answers, sizeof(answers)), 0);
    cr_assert_eq(answers[0], 0x88);
    cr_assert_eq(answers[1], 0x9988);
    cr_assert_eq(answers[2], 0xbbaa9988);
    cr_assert_eq(answers[3], 0xffeeddccbbaa9988);
    guest_close(&guest);
}

/* KVM hands over what lies in each page: 3 and 5 bytes. */
PAYLOAD(mmio_across_pages, "64",
        "mov ebx, 0xd0000ffd\n"
        "movabs rax, 0x8877665544332211\n"
        "mov [rbx], rax\n"
        "mov rax, [rbx]\n mov [rsi], rax\n" DONE);

Test(exit, memory_access_of_odd_length_is_split_into_legal_sizes)
{
    uint64_t answer;

    guest_open(&guest, 1);
    guest.read_value = 0x7777777777777777;
    guest_load(&guest, VM_ENTRY_LONG, mmio_across_pages, mmio_across_pages_end);
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 8);
    guest_check_record(&guest, 0, true, 0xd0000ffd, 2, 0x2211);
    guest_check_record(&guest, 1, true, 0xd0000fff, 1, 0x33);
    guest_check_record(&guest, 2, true, 0xd0001000, 4, 0x77665544);
    guest_check_record(&guest, 3, true, 0xd0001004, 1, 0x88);
    cr_assert_eq(gmem_read(guest.mem, gpa(DATA_ADDR), &answer, sizeof(answer)), 0);
    cr_assert_eq(answer, 0x7777777777777777);
    guest_close(&guest);
}

static enum bus_verdict defer(struct guest *g, struct bus_access *access)
{
    g->deferred = access;
    return BUS_DEFER;
}

static bool has_deferred(void *arg)
{
    return ((struct guest *)arg)->deferred;
}

static bool has_parked(void *arg)
{
    return ((struct guest *)arg)->parked_count;
}

PAYLOAD(read_once, "16", "mov dx, 0x110\n in eax, dx\n mov [0x2000], eax\n" DONE);

Test(exit, deferred_access_is_answered_later)
{
    struct vcpu_stats stats;
    uint32_t answer;

    guest_open(&guest, 1);
    guest.on_access = defer;
    guest_load(&guest, VM_ENTRY_REAL, read_once, read_once_end);
    vm_resume(guest.vm);
    guest_run_until(&guest, has_deferred);
    cr_assert_eq(guest.done_count, 0);
    guest.deferred->value = 0xcafe;
    bus_access_complete(guest.deferred);
    guest_run(&guest);
    cr_assert_eq(gmem_read(guest.mem, gpa(0x2000), &answer, sizeof(answer)), 0);
    cr_assert_eq(answer, 0xcafe);
    vm_stats_read(guest.vm, 0, &stats);
    cr_assert_eq(stats.deferred, 1);
    cr_assert_eq(stats.port_exits, 2);
    guest_close(&guest);
}

static enum bus_verdict complete_inside(struct guest *g, struct bus_access *access)
{
    (void)g;
    access->value = 0xbeef;
    bus_access_complete(access);
    return BUS_DEFER;
}

Test(exit, deferred_access_may_be_answered_before_the_device_returns)
{
    uint32_t answer;

    guest_open(&guest, 1);
    guest.on_access = complete_inside;
    guest_load(&guest, VM_ENTRY_REAL, read_once, read_once_end);
    guest_run(&guest);
    cr_assert_eq(gmem_read(guest.mem, gpa(0x2000), &answer, sizeof(answer)), 0);
    cr_assert_eq(answer, 0xbeef);
    guest_close(&guest);
}

static bool has_ended(void *arg)
{
    return ((struct guest *)arg)->ended;
}

static bool thread_has_ended(void *arg)
{
    return atomic_load(&((struct guest *)arg)->vm->vcpus[0].word) & VCPU_ENDED;
}

Test(exit, stop_ends_a_vcpu_that_waits_for_a_deferred_access)
{
    guest_open(&guest, 1);
    guest.on_access = defer;
    guest_load(&guest, VM_ENTRY_REAL, read_once, read_once_end);
    vm_resume(guest.vm);
    guest_run_until(&guest, has_deferred);
    vm_stop(guest.vm);
    guest_run_until(&guest, thread_has_ended);
    cr_assert_not(guest.ended, "the device still holds the access");
    bus_access_complete(guest.deferred);
    guest_run_until(&guest, has_ended);
    guest_close(&guest);
}

Test(exit, pause_waits_for_a_deferred_access_and_finishes_its_instruction)
{
    uint32_t answer;

    guest_open(&guest, 1);
    guest.on_access = defer;
    guest_load(&guest, VM_ENTRY_REAL, read_once, read_once_end);
    vm_resume(guest.vm);
    guest_run_until(&guest, has_deferred);
    vm_pause(guest.vm);
    guest.deferred->value = 0x5678;
    bus_access_complete(guest.deferred);
    guest_run_until(&guest, has_parked);
    cr_assert_eq(guest.done_count, 0, "no instruction after the accessing one ran");
    guest_run(&guest);
    cr_assert_eq(gmem_read(guest.mem, gpa(0x2000), &answer, sizeof(answer)), 0);
    cr_assert_eq(answer, 0x5678);
    guest_close(&guest);
}

static enum bus_verdict pause_inside(struct guest *g, struct bus_access *access)
{
    (void)access;
    vm_pause(g->vm);
    return BUS_DONE;
}

PAYLOAD(write_then_write, "16", "mov dx, 0x110\n out dx, al\n mov dx, 0x111\n out dx, al\n" DONE);

Test(exit, pause_inside_an_access_stops_the_vcpu_right_behind_it)
{
    guest_open(&guest, 1);
    guest.on_access = pause_inside;
    guest_load(&guest, VM_ENTRY_REAL, write_then_write, write_then_write_end);
    vm_resume(guest.vm);
    guest_run_until(&guest, has_parked);
    cr_assert_eq(guest.record_count, 1);
    guest.on_access = NULL;
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 2);
    guest_close(&guest);
}
