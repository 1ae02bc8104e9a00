/*
 * From either entry to C: long mode, the page tables below, a stack. Then tables.c fills the
 * descriptor tables and enters ring 3. What runs in ring 0 afterwards is at the end of this file.
 */
#include "selectors.h"
.intel_syntax noprefix

/* PVH (xen/include/public/arch-x86/hvm/start_info.h): 32-bit protected mode, flat segments, paging
 * off, EBX points at hvm_start_info. */
.section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18 /* sizes of name and value, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad entry_pvh

/* The guest's first instructions end a line on the serial port, before anything else is done: for
 * those who take the time that the machine needs to come so far. */
.macro line_end
    mov dx, 0x3f8
    mov al, '\n'
    out dx, al
.endm

.section .text.entry, "ax", @progbits
.code32
entry_pvh:
    line_end
    cli
    mov eax, offset level4
    mov cr3, eax
    mov eax, cr4
    or eax, 1 << 5 /* PAE */
    mov cr4, eax
    mov ecx, 0xc0000080 /* EFER */
    rdmsr
    or eax, 1 << 8 /* LME */
    wrmsr
    mov eax, cr0
    or eax, 1 << 31 /* PG */
    mov cr0, eax
    lgdt [gdt_pointer]
    /* jmp SELECTOR_CODE_0:pvh_in_long_mode */
    .byte 0xea
    .long pvh_in_long_mode
    .word SELECTOR_CODE_0
.code64
pvh_in_long_mode:
    mov edi, ebx
    xor esi, esi
    jmp entered

/* The 64-bit entry of Linux (Documentation/arch/x86/boot.rst): long mode, identity map, RSI points
 * at boot_params. */
.global entry_linux
entry_linux:
    line_end
    cli
    mov rdi, rsi
    mov esi, 1
    lea rax, [rip + level4]
    mov cr3, rax
    lgdt [rip + gdt_pointer]
    lea rsp, [rip + kernel_stack_end]
    push SELECTOR_CODE_0
    lea rax, [rip + entered]
    push rax
    retfq

/* RDI: the loader's structure, RSI: whether it is boot_params. */
entered:
    mov eax, SELECTOR_DATA_0
    mov ds, eax
    mov es, eax
    mov ss, eax
    lea rsp, [rip + kernel_stack_end]
    cld
    jmp start

/* enter_user(structure, is_linux, task_selector): ring 3, interrupts on, at guest_main. */
.global enter_user
enter_user:
    ltr dx
    mov eax, SELECTOR_DATA_3
    mov ds, eax
    mov es, eax
    push SELECTOR_DATA_3
    lea rax, [rip + user_stack_end - 8] /* as after a call */
    push rax
    push 0x202 /* IF */
    push SELECTOR_CODE_3
    lea rax, [rip + guest_main]
    push rax
    iretq

/* ---- what runs in ring 0 from now on ---- */

.text
/* Any device: counts, and tells the local APIC. */
.global interrupt_entry
interrupt_entry:
    inc qword ptr [rip + interrupt_count]
.global tick_entry
tick_entry:
    push rax
    mov eax, 0xfee000b0 /* EOI */
    mov dword ptr [rax], 0
    pop rax
    iretq

/*
 * int3, the only way in that every software KVM lets through: sleeps until there is an interrupt,
 * which is served here; unless a word of the two watches at RDI is not what it was. An interrupt
 * after that look ends the sleep.
 */
.global sleep_entry
sleep_entry:
    mov rax, [rdi]
    mov rcx, [rdi + 8]
    cmp [rax], cx
    jne 1f
    mov rax, [rdi + 16]
    mov rcx, [rdi + 24]
    cmp [rax], cx
    jne 1f
    sti
    hlt
1:
    iretq

.balign 16
.global exception_entries
exception_entries:
.set vector, 0
.rept EXCEPTION_COUNT
    .balign 16
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17
    push 0 /* in place of an error code */
    .endif
    push vector
    jmp exception_common
    .set vector, vector + 1
.endr
exception_common:
    mov rdi, rsp
    cld
    call exception_report /* does not return */

/* ---- tables ---- */

.section .data
.balign 16
.global gdt
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* code 64, ring 0 */
    .quad 0x00cf93000000ffff /* data, ring 0 */
    .quad 0x00cff3000000ffff /* data, ring 3 */
    .quad 0x00affb000000ffff /* code 64, ring 3 */
    .quad 0, 0               /* task: tables.c */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

/* The first 4 GiB, each address its own, for both rings: present, writable, user. */
.balign 4096
level4:
    .quad level3 + 7
    .fill 511, 8, 0
level3:
    .quad directories + 0x0007, directories + 0x1007, directories + 0x2007, directories + 0x3007
    .fill 508, 8, 0
directories:
    .set address, 0
    .rept 2048
    .quad address + 0x87 /* of 2 MiB */
    .set address, address + 0x200000
    .endr

.section .bss
.balign 16
    .skip 16384
.global kernel_stack_end
kernel_stack_end:
    .skip 65536
user_stack_end:

.section .note.GNU-stack, "", @progbits
