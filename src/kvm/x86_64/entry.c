#include "kvm/x86_64/entry.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "kvm/vm_private.h"

enum {
    CR0_PE = 1 << 0,
    CR0_ET = 1 << 4,
    CR4_PAE = 1 << 5,
    EFER_LME = 1 << 8,
    EFER_LMA = 1 << 10,
    RFLAGS_FIXED = 1 << 1,
};
#define CR0_PG (1u << 31)

/* Accessed, as the processor would have marked them. */
enum { SEGMENT_DATA = 0x3, SEGMENT_CODE = 0xb, SEGMENT_TASK_BUSY = 0xb };

static void real_mode(struct kvm_sregs *sregs, struct kvm_regs *regs, uint64_t rip)
{
    sregs->cs.base = rip & ~0xffffULL;
    sregs->cs.selector = (uint16_t)(sregs->cs.base >> 4);
    regs->rip = rip & 0xffff;
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool is_long)
{
    return (struct kvm_segment){
        .limit = UINT32_MAX,
        .selector = selector,
        .type = type,
        .present = 1,
        .db = !is_long,
        .l = is_long,
        .s = 1,
        .g = 1,
    };
}

static void flat_mode(struct kvm_sregs *sregs, const struct vm_entry *entry)
{
    bool is_long = entry->mode == VM_ENTRY_LONG;
    struct kvm_segment data = flat_segment(entry->data_selector, SEGMENT_DATA, false);

    sregs->cs = flat_segment(entry->code_selector, SEGMENT_CODE, is_long);
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = (struct kvm_segment){
        .limit = 0x67,
        .selector = entry->task_selector,
        .type = SEGMENT_TASK_BUSY,
        .present = 1,
    };
    sregs->gdt = (struct kvm_dtable){.base = entry->gdt.addr, .limit = entry->gdt_limit};
    /* No handlers: a fault before the guest has set up its own ends in a triple fault. */
    sregs->idt = (struct kvm_dtable){0};
    sregs->cr0 = CR0_PE | CR0_ET;
    if (is_long) {
        sregs->cr0 |= CR0_PG;
        sregs->cr3 = entry->cr3;
        sregs->cr4 = CR4_PAE;
        sregs->efer = EFER_LME | EFER_LMA;
    }
}

int vm_set_entry(struct vm *vm, const struct vm_entry *entry, struct err *err)
{
    const struct vcpu *vcpu = &vm->vcpus[0];
    struct kvm_regs regs = {
        .rip = entry->rip,
        .rsp = entry->rsp,
        .rbx = entry->rbx,
        .rsi = entry->rsi,
        .rflags = RFLAGS_FIXED,
    };
    struct kvm_sregs sregs;

    CHECK(!vm->running);
    if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
        return err_set(err, -errno, "vCPU 0: KVM_GET_SREGS: %s", strerror(errno));
    if (entry->mode == VM_ENTRY_REAL)
        real_mode(&sregs, &regs, entry->rip);
    else
        flat_mode(&sregs, entry);
    if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs))
        return err_set(err, -errno, "vCPU 0: KVM_SET_SREGS: %s", strerror(errno));
    if (ioctl(vcpu->fd, KVM_SET_REGS, &regs))
        return err_set(err, -errno, "vCPU 0: KVM_SET_REGS: %s", strerror(errno));
    return 0;
}
