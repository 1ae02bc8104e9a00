/*
 * Where and how vCPU 0 starts. Everything that is not named here is the processor's state after
 * reset, with interrupts off. Descriptor tables, page tables and boot information are the caller's,
 * in guest memory.
 */
#pragma once
#include <stdint.h>

#include "base/compiler.h"
#include "base/err.h"
#include "mem/gmem.h"

struct vm;

enum vm_entry_mode {
    VM_ENTRY_REAL, /* 16-bit: CS base = (rip & ~0xffff), for payloads and firmware below 1 MiB */
    VM_ENTRY_PROTECTED, /* 32-bit, paging off: PVH (xen/include/public/arch-x86/hvm/start_info.h) */
    VM_ENTRY_LONG,      /* 64-bit: Linux boot protocol, Documentation/arch/x86/boot.rst */
};

struct vm_entry {
    enum vm_entry_mode mode;
    uint64_t rip;
    uint64_t rsp;
    uint64_t rbx; /* PVH: hvm_start_info */
    uint64_t rsi; /* Linux: boot_params */
    uint64_t cr3; /* long mode: the level 4 table */
    /* Protected and long mode: a table that agrees with these selectors; its segments are flat. */
    gpa_t gdt;
    uint16_t gdt_limit; /* size - 1 */
    uint16_t code_selector;
    uint16_t data_selector;
    uint16_t task_selector; /* 0: none */
};

/* After vm_create or vm_reset, before vm_resume. */
must_check int vm_set_entry(struct vm *vm, const struct vm_entry *entry, struct err *err);
