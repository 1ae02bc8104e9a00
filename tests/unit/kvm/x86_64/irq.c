/* Interrupts: pins through PIC and IOAPIC, messages, wake from HLT. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "guest.h"

static struct guest guest;

enum { PORT_READY = 0x110, PORT_TICK = 0x111, PORT_ACK = 0x112, PORT_PROBE = 0x113 };

static uint32_t count_records(uint64_t addr)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < guest.record_count; i++)
        count += guest.records[i].is_port && guest.records[i].addr == addr;
    return count;
}

static bool has_tick(void *arg)
{
    (void)arg;
    return count_records(PORT_TICK);
}

static bool has_three_ticks(void *arg)
{
    (void)arg;
    return count_records(PORT_TICK) >= 3;
}

static bool is_ready(void *arg)
{
    (void)arg;
    return count_records(PORT_READY);
}

/* clang-format off */

/* Both controllers as BIOSes program them, vectors from 0x20 on, line 4 alone open. */
PAYLOAD(pic_payload, "16",
    "cli\n"
    "mov al, 0x11\n out 0x20, al\n out 0xa0, al\n"
    "mov al, 0x20\n out 0x21, al\n mov al, 0x28\n out 0xa1, al\n"
    "mov al, 4\n out 0x21, al\n mov al, 2\n out 0xa1, al\n"
    "mov al, 1\n out 0x21, al\n out 0xa1, al\n"
    "mov al, 0xef\n out 0x21, al\n mov al, 0xff\n out 0xa1, al\n"
    /* The handler's far address; this code runs at 0x1000. */
    "xor ax, ax\n mov ds, ax\n mov ss, ax\n mov sp, 0x7000\n"
    "mov word ptr [0x24 * 4], 0x1000 + (pic_handler - pic_payload)\n"
    "mov word ptr [0x24 * 4 + 2], 0\n"
    "mov dx, 0x110\n out dx, al\n"
    "sti\n"
    "1: hlt\n jmp 1b\n"
    "pic_handler:\n"
    "mov dx, 0x111\n out dx, al\n"
    "mov al, 0x20\n out 0x20, al\n"
    "iret\n");

/* The interrupt table is the harness's; the PICs are masked, the local APIC is on. */
#define LONG_PROLOGUE(name)                                                               \
    "jmp " name "_begin\n" name "_idt:\n .word 0xfff\n .quad 0x17000\n" name "_begin:\n" \
    "lidt [rip + " name "_idt]\n"                                                         \
    "mov al, 0xff\n out 0x21, al\n out 0xa1, al\n"                                        \
    "mov ebx, 0xfee00000\n"                                                               \
    "mov dword ptr [rbx + 0xf0], 0x1ff\n"
#define READY_AND_HALT "mov dx, 0x110\n out dx, al\n sti\n 1: hlt\n jmp 1b\n"
#define END_OF_INTERRUPT "mov dword ptr [rbx + 0xb0], 0\n iretq\n"

/* The handlers report their vector. */
PAYLOAD(msi_payload, "64",
    LONG_PROLOGUE("msi")
    READY_AND_HALT
    ".globl msi_handler_40, msi_handler_41\n"
    "msi_handler_40: mov dx, 0x111\n mov al, 0x40\n out dx, al\n" END_OF_INTERRUPT
    "msi_handler_41: mov dx, 0x111\n mov al, 0x41\n out dx, al\n" END_OF_INTERRUPT);

/* IOAPIC pin 10, level-triggered, to vector 0x50, whose handler asks the device to lower its line
 * (a write to PORT_ACK) before the end of interrupt. Vector 0x40 has less priority. */
PAYLOAD(ioapic_payload, "64",
    LONG_PROLOGUE("ioapic")
    "mov ecx, 0xfec00000\n"
    "mov dword ptr [rcx], 0x10 + 2 * 10\n mov dword ptr [rcx + 0x10], 0x8050\n"
    "mov dword ptr [rcx], 0x11 + 2 * 10\n mov dword ptr [rcx + 0x10], 0\n"
    READY_AND_HALT
    ".globl ioapic_handler_50, ioapic_handler_40\n"
    "ioapic_handler_50: mov dx, 0x111\n out dx, al\n mov dx, 0x112\n out dx, al\n"
    END_OF_INTERRUPT
    "ioapic_handler_40: mov dx, 0x113\n out dx, al\n" END_OF_INTERRUPT);

/* The interval timer's channel 0 at 18 Hz through pin 2 of the IOAPIC. */
PAYLOAD(timer_payload, "64",
    LONG_PROLOGUE("timer")
    "mov ecx, 0xfec00000\n"
    "mov dword ptr [rcx], 0x10 + 2 * 2\n mov dword ptr [rcx + 0x10], 0x50\n"
    "mov dword ptr [rcx], 0x11 + 2 * 2\n mov dword ptr [rcx + 0x10], 0\n"
    "mov al, 0x34\n out 0x43, al\n mov al, 0xff\n out 0x40, al\n out 0x40, al\n"
    READY_AND_HALT
    ".globl timer_handler\n"
    "timer_handler: mov dx, 0x111\n out dx, al\n" END_OF_INTERRUPT);

/* clang-format on */
extern const uint8_t msi_handler_40[], msi_handler_41[];
extern const uint8_t ioapic_handler_40[], ioapic_handler_50[];
extern const uint8_t timer_handler[];

Test(irq, edge_on_a_pic_pin_wakes_a_halted_vcpu)
{
    struct irq_line line;

    guest_open(&guest, 1);
    line = vm_irq_line(guest.vm, 4);
    guest_load(&guest, VM_ENTRY_REAL, pic_payload, pic_payload_end);
    vm_resume(guest.vm);
    guest_run_until(&guest, is_ready);
    irq_line_set(&line, true);
    irq_line_set(&line, false);
    guest_run_until(&guest, has_tick);
    guest_pause(&guest);
    cr_assert_eq(count_records(PORT_TICK), 1);
    guest_close(&guest);
}

static const struct msi_message message_40 = {.address = 0xfee00000, .data = 0x40};
static const struct msi_message message_41 = {.address = 0xfee00000, .data = 0x41};

static void msi_guest(void)
{
    guest_open(&guest, 1);
    guest_load(&guest, VM_ENTRY_LONG, msi_payload, msi_payload_end);
    guest_set_handler(&guest, 0x40, msi_payload, msi_handler_40);
    guest_set_handler(&guest, 0x41, msi_payload, msi_handler_41);
    vm_resume(guest.vm);
    guest_run_until(&guest, is_ready);
}

Test(irq, message_reaches_its_vector_and_follows_its_route)
{
    struct msi_chip chip;
    uint32_t vector;

    msi_guest();
    chip = vm_msi_chip(guest.vm);
    cr_assert_eq(chip.ops->alloc(chip.chip, &vector), 0);
    chip.ops->signal(chip.chip, vector);
    cr_assert_eq(chip.ops->route(chip.chip, vector, &message_40), 0);
    chip.ops->signal(chip.chip, vector);
    guest_run_until(&guest, has_tick);
    guest_check_record(&guest, 1, true, PORT_TICK, 1, 0x40);

    cr_assert_eq(chip.ops->route(chip.chip, vector, &message_41), 0);
    chip.ops->signal(chip.chip, vector);
    guest.records[1].addr = 0;
    guest_run_until(&guest, has_tick);
    guest_check_record(&guest, 2, true, PORT_TICK, 1, 0x41);
    chip.ops->free(chip.chip, vector);
    guest_close(&guest);
}

static void signal_eventfd(int fd)
{
    const uint64_t one = 1;

    cr_assert_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

Test(irq, eventfd_of_a_message_sends_it_without_the_chip)
{
    struct irq_line line;
    struct msi_chip chip;
    uint32_t first, second;
    int fd;

    msi_guest();
    chip = vm_msi_chip(guest.vm);
    line = vm_irq_line(guest.vm, 4);
    cr_assert_eq(chip.ops->alloc(chip.chip, &first), 0);
    cr_assert_eq(chip.ops->alloc(chip.chip, &second), 0);
    cr_assert_eq(chip.ops->route(chip.chip, first, &message_40), 0);
    fd = chip.ops->eventfd(chip.chip, first);
    cr_assert_geq(fd, 0);
    cr_assert_eq(chip.ops->eventfd(chip.chip, first), fd, "one for each vector");
    signal_eventfd(fd);
    guest_run_until(&guest, has_tick);
    guest_check_record(&guest, 1, true, PORT_TICK, 1, 0x40);

    guest.records[1].addr = 0;
    cr_assert_eq(chip.ops->route(chip.chip, first, &message_41), 0);
    signal_eventfd(fd);
    guest_run_until(&guest, has_tick);
    guest_check_record(&guest, 2, true, PORT_TICK, 1, 0x41);

    /* The chip's own way works beside it, and pins still have routes. */
    guest.records[2].addr = 0;
    chip.ops->signal(chip.chip, first);
    guest_run_until(&guest, has_tick);
    irq_line_set(&line, true);
    irq_line_set(&line, false);
    chip.ops->free(chip.chip, first);
    chip.ops->free(chip.chip, second);
    guest_close(&guest);
}

Test(irq, message_that_no_interrupt_controller_takes_is_refused)
{
    const struct msi_message elsewhere = {.address = 0x1000, .data = 0x40};
    const struct msi_message above_4g = {.address = 0x1fee00000, .data = 0x40};
    struct msi_chip chip;
    uint32_t vector;

    guest_open(&guest, 1);
    chip = vm_msi_chip(guest.vm);
    cr_assert_eq(chip.ops->alloc(chip.chip, &vector), 0);
    cr_assert_lt(chip.ops->route(chip.chip, vector, &elsewhere), 0);
    cr_assert_lt(chip.ops->route(chip.chip, vector, &above_4g), 0);
    chip.ops->free(chip.chip, vector);
    guest_close(&guest);
}

Test(irq, vectors_run_out_and_come_back)
{
    struct msi_chip chip;
    uint32_t vector, count = 0;

    guest_open(&guest, 1);
    chip = vm_msi_chip(guest.vm);
    while (!chip.ops->alloc(chip.chip, &vector))
        cr_assert_eq(vector, count++);
    cr_assert_geq(count, 2048);
    chip.ops->free(chip.chip, 5);
    cr_assert_eq(chip.ops->alloc(chip.chip, &vector), 0);
    cr_assert_eq(vector, 5);
    guest_close(&guest);
}

static enum bus_verdict lower_line_at_the_third(struct guest *g, struct bus_access *access)
{
    struct irq_line line = vm_irq_line(g->vm, 10);

    if (access->addr == PORT_ACK && count_records(PORT_ACK) >= 3)
        irq_line_set(&line, false);
    return BUS_DONE;
}

static bool has_three_acks(void *arg)
{
    (void)arg;
    return count_records(PORT_ACK) >= 3;
}

static bool has_probe(void *arg)
{
    (void)arg;
    return count_records(PORT_PROBE);
}

static bool has_two_probes(void *arg)
{
    (void)arg;
    return count_records(PORT_PROBE) >= 2;
}

Test(irq, level_on_an_ioapic_pin_repeats_until_it_is_lowered)
{
    struct irq_line line;
    struct msi_chip chip;
    uint32_t vector, tick_count;

    guest_open(&guest, 1);
    line = vm_irq_line(guest.vm, 10);
    chip = vm_msi_chip(guest.vm);
    cr_assert_eq(chip.ops->alloc(chip.chip, &vector), 0);
    cr_assert_eq(chip.ops->route(chip.chip, vector, &message_40), 0);
    guest.on_access = lower_line_at_the_third;
    guest_load(&guest, VM_ENTRY_LONG, ioapic_payload, ioapic_payload_end);
    guest_set_handler(&guest, 0x50, ioapic_payload, ioapic_handler_50);
    guest_set_handler(&guest, 0x40, ioapic_payload, ioapic_handler_40);
    vm_resume(guest.vm);
    guest_run_until(&guest, is_ready);
    irq_line_set(&line, true);
    guest_run_until(&guest, has_three_acks);
    /* Vector 0x40 waits for every round that is still due; the second time there is none. */
    chip.ops->signal(chip.chip, vector);
    guest_run_until(&guest, has_probe);
    tick_count = count_records(PORT_TICK);
    chip.ops->signal(chip.chip, vector);
    guest_run_until(&guest, has_two_probes);
    cr_assert_eq(count_records(PORT_TICK), tick_count);
    guest_close(&guest);
}

Test(irq, interval_timer_is_on_ioapic_pin_2)
{
    guest_open(&guest, 1);
    guest_load(&guest, VM_ENTRY_LONG, timer_payload, timer_payload_end);
    guest_set_handler(&guest, 0x50, timer_payload, timer_handler);
    vm_resume(guest.vm);
    guest_run_until(&guest, has_three_ticks);
    guest_close(&guest);
}
