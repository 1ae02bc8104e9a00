/* Descriptor tables, made in ring 0; the last thing done there is to leave it. */
#include <stddef.h>

#include "../arch.h"
#include "../console.h"
#include "selectors.h"
#include "tables.h"

struct gate {
    uint16_t offset_0;
    uint16_t selector;
    uint8_t stack;
    uint8_t type;
    uint16_t offset_16;
    uint32_t offset_32;
    uint32_t reserved;
};
_Static_assert(sizeof(struct gate) == 16, "Intel SDM volume 3, 6.14.1");

struct task_state {
    uint32_t reserved;
    uint64_t stacks[3];
    uint8_t rest[74];
    uint16_t port_map_offset;
    uint8_t port_map[65536 / 8]; /* all zeros: ring 3 may use every port */
    uint8_t port_map_end;
} __attribute__((packed));
_Static_assert(offsetof(struct task_state, port_map) == 104, "Intel SDM volume 3, 8.7");

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

/* What an exception leaves on the stack, and before it what start.S does. */
struct exception_frame {
    uint64_t vector, error, rip, cs, flags, rsp, ss;
};

enum { GATE_INTERRUPT = 0x8e, GATE_FOR_RING_3 = 0x60, GATE_COUNT = 256, EXCEPTION_ENTRY_SIZE = 16 };

extern uint64_t gdt[];
extern uint8_t kernel_stack_end[], exception_entries[], interrupt_entry[], tick_entry[],
    sleep_entry[];
void enter_user(uint64_t structure, bool is_linux, uint64_t task_selector)
    __attribute__((noreturn));
void start(uint64_t structure, bool is_linux) __attribute__((noreturn));
void exception_report(const struct exception_frame *frame) __attribute__((noreturn));

static struct gate gates[GATE_COUNT];
static struct task_state task;

static void gate_set(unsigned vector, const void *handler)
{
    uint64_t address = (uintptr_t)handler;

    gates[vector] = (struct gate){
        .offset_0 = (uint16_t)address,
        .selector = SELECTOR_CODE_0,
        .type = GATE_INTERRUPT,
        .offset_16 = (uint16_t)(address >> 16),
        .offset_32 = (uint32_t)(address >> 32),
    };
}

void start(uint64_t structure, bool is_linux)
{
    const struct table_pointer pointer = {sizeof(gates) - 1, (uintptr_t)gates};
    uint64_t task_base = (uintptr_t)&task;

    task.port_map_offset = offsetof(struct task_state, port_map);
    task.port_map_end = 0xff;
    task.stacks[0] = (uintptr_t)kernel_stack_end;
    gdt[SELECTOR_TASK / 8] = 0x0000890000000000 | (sizeof(task) - 1) |
                             (task_base & 0xffffff) << 16 | (task_base >> 24 & 0xff) << 56;
    gdt[SELECTOR_TASK / 8 + 1] = task_base >> 32;
    for (unsigned i = 0; i < EXCEPTION_COUNT; i++)
        gate_set(i, exception_entries + i * EXCEPTION_ENTRY_SIZE);
    gate_set(INTERRUPT_VECTOR, interrupt_entry);
    gate_set(TICK_VECTOR, tick_entry);
    gate_set(SLEEP_VECTOR, sleep_entry);
    gates[SLEEP_VECTOR].type |= GATE_FOR_RING_3;
    __asm__ volatile("lidt %0" : : "m"(pointer));
    /* What firmware left in them would come as soon as interrupts are on. */
    interrupts_init();
    clock_khz_learn();
    enter_user(structure, is_linux, SELECTOR_TASK);
}

void triple_fault(void)
{
    for (unsigned i = 0; i < GATE_COUNT; i++)
        gates[i] = (struct gate){.type = 0};
    __asm__ volatile("ud2");
}

void exception_report(const struct exception_frame *frame)
{
    const struct boot_info nothing = {.rsdp = 0};

    console_begin("error exception in the payload");
    console_field("vector", frame->vector);
    console_field("error", frame->error);
    console_field("rip", frame->rip);
    console_field("cs", frame->cs);
    console_field("flags", frame->flags);
    console_end();
    power_off(&nothing);
}
