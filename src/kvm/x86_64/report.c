/* A stopped vCPU's registers and code bytes, for the log. */
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "kvm/arch.h"
#include "kvm/vm_private.h"

enum { CODE_BYTES = 16 };

static void report_code(const struct vcpu *vcpu, uint64_t linear)
{
    struct kvm_translation translation = {.linear_address = linear};
    char text[3 * CODE_BYTES + 1] = "";
    const uint8_t *code;
    int len = 0;

    if (ioctl(vcpu->fd, KVM_TRANSLATE, &translation) || !translation.valid)
        return;
    code = gmem_ptr(vcpu->vm->config.mem, gpa(translation.physical_address), CODE_BYTES);
    if (!code)
        return;
    for (int i = 0; i < CODE_BYTES; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " %02x", code[i]);
    log_error("  code at rip:%s", text);
}

void vcpu_arch_report(const struct vcpu *vcpu)
{
    struct kvm_sregs s;
    struct kvm_regs r;

    if (ioctl(vcpu->fd, KVM_GET_REGS, &r) || ioctl(vcpu->fd, KVM_GET_SREGS, &s)) {
        log_error("  no registers: KVM does not give them");
        return;
    }
    log_error("  rip %016llx rsp %016llx rflags %08llx cpl %u", r.rip, r.rsp, r.rflags, s.ss.dpl);
    log_error("  rax %016llx rbx %016llx rcx %016llx rdx %016llx", r.rax, r.rbx, r.rcx, r.rdx);
    log_error("  rsi %016llx rdi %016llx rbp %016llx r8  %016llx", r.rsi, r.rdi, r.rbp, r.r8);
    log_error("  r9  %016llx r10 %016llx r11 %016llx r12 %016llx", r.r9, r.r10, r.r11, r.r12);
    log_error("  r13 %016llx r14 %016llx r15 %016llx", r.r13, r.r14, r.r15);
    log_error("  cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %04llx", s.cr0, s.cr2, s.cr3,
              s.cr4, s.efer);
    log_error("  cs %04x base %08llx limit %08x type %x  ss %04x base %08llx", s.cs.selector,
              s.cs.base, s.cs.limit, s.cs.type, s.ss.selector, s.ss.base);
    log_error("  gdt %016llx limit %04x  idt %016llx limit %04x  tr %04x", s.gdt.base, s.gdt.limit,
              s.idt.base, s.idt.limit, s.tr.selector);
    report_code(vcpu, s.cs.base + r.rip);
}
