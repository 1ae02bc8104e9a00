/*
 * Whether this KVM executes what every 64-bit Linux kernel executes. VMX and SVM run it all. A
 * software KVM emulates kernel code, and the emulator of Linux knows neither cmpxchg16b (the page
 * and slab allocators) nor xrstor (every context switch).
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/arch.h"
#include "kvm/kvm.h"
#include "kvm/x86_64/cpuid.h"
#include "mem/layout.h"

/* Guest-physical layout of the trial. */
enum {
    MEM_SIZE = 0x8000,
    LEVEL4_ADDR = 0x1000,
    LEVEL3_ADDR = 0x2000,
    LEVEL2_ADDR = 0x3000,
    CODE_ADDR = 0x4000,
    AREA_ADDR = 0x5000, /* what the instructions work on; aligned for xsave */
};

enum { PAGE_PRESENT_WRITABLE = 3, PAGE_LARGE = 1 << 7 };
enum { SUCCESS_PORT = 0x42 };

/* In: rdi is the area, esi is 1 when the processor has xsave. */
__asm__(".pushsection .rodata\n"
        "probe_payload:\n"
        "   lock cmpxchg16b (%rdi)\n"
        "   test %esi, %esi\n"
        "   jz 1f\n"
        "   mov %cr4, %rax\n"
        "   bts $18, %rax\n" /* OSXSAVE */
        "   mov %rax, %cr4\n"
        "   mov $1, %eax\n" /* x87 state alone */
        "   xor %edx, %edx\n"
        "   xsave (%rdi)\n"
        "   xrstor (%rdi)\n"
        "1: out %al, $0x42\n"
        "   hlt\n"
        "probe_payload_end:\n"
        ".popsection\n");
extern const uint8_t probe_payload[], probe_payload_end[];

struct trial {
    int vm_fd;
    int vcpu_fd;
    uint8_t *mem;
    struct kvm_run *run;
    uint32_t run_size;
};

static void trial_destroy(struct trial *trial)
{
    if (trial->run != MAP_FAILED)
        munmap(trial->run, trial->run_size);
    if (trial->vcpu_fd >= 0)
        close(trial->vcpu_fd);
    if (trial->vm_fd >= 0)
        close(trial->vm_fd);
    if (trial->mem != MAP_FAILED)
        munmap(trial->mem, MEM_SIZE);
}

static int trial_create(struct trial *trial, const struct kvm *kvm)
{
    struct kvm_userspace_memory_region slot = {.memory_size = MEM_SIZE};

    trial->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (trial->mem == MAP_FAILED)
        return -errno;
    slot.userspace_addr = (uintptr_t)trial->mem;
    trial->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0UL);
    if (trial->vm_fd < 0 ||
        ioctl(trial->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_KVM_TSS_BASE) ||
        ioctl(trial->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot))
        return -errno;
    trial->vcpu_fd = ioctl(trial->vm_fd, KVM_CREATE_VCPU, 0UL);
    if (trial->vcpu_fd < 0)
        return -errno;
    trial->run_size = kvm->run_size;
    trial->run = mmap(NULL, trial->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, trial->vcpu_fd, 0);
    return trial->run == MAP_FAILED ? -errno : 0;
}

/* Gives the vCPU what KVM supports; tells whether xsave is there. */
static int features_set(const struct trial *trial, const struct kvm *kvm, bool *has_xsave)
{
    enum { LEAF_1_ECX_XSAVE = 1 << 26 };
    struct kvm_cpuid2 *table = cpuid_alloc();
    int ret = 0;

    if (!table)
        return -ENOMEM;
    if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, table) ||
        ioctl(trial->vcpu_fd, KVM_SET_CPUID2, table))
        ret = -errno;
    *has_xsave = false;
    for (uint32_t i = 0; !ret && i < table->nent; i++) {
        if (table->entries[i].function == 1)
            *has_xsave = table->entries[i].ecx & LEAF_1_ECX_XSAVE;
    }
    free(table);
    return ret;
}

static void table_entry_set(struct trial *trial, uint32_t addr, uint64_t entry)
{
    memcpy(trial->mem + addr, &entry, sizeof(entry));
}

static int state_set(struct trial *trial, bool has_xsave)
{
    const struct kvm_segment code = {
        .limit = UINT32_MAX, .selector = 8, .type = 0xb, .present = 1, .l = 1, .s = 1, .g = 1};
    const struct kvm_segment data = {
        .limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
    const struct kvm_regs regs = {
        .rip = CODE_ADDR, .rdi = AREA_ADDR, .rsi = has_xsave, .rflags = 2};
    struct kvm_sregs sregs;

    table_entry_set(trial, LEVEL4_ADDR, LEVEL3_ADDR | PAGE_PRESENT_WRITABLE);
    table_entry_set(trial, LEVEL3_ADDR, LEVEL2_ADDR | PAGE_PRESENT_WRITABLE);
    table_entry_set(trial, LEVEL2_ADDR, PAGE_LARGE | PAGE_PRESENT_WRITABLE);
    memcpy(trial->mem + CODE_ADDR, probe_payload, (size_t)(probe_payload_end - probe_payload));
    if (ioctl(trial->vcpu_fd, KVM_GET_SREGS, &sregs))
        return -errno;
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr0 = 0x80000031; /* PG, NE, ET, PE */
    sregs.cr3 = LEVEL4_ADDR;
    sregs.cr4 = 0x620;  /* PAE, OSFXSR, OSXMMEXCPT */
    sregs.efer = 0x500; /* LMA, LME */
    if (ioctl(trial->vcpu_fd, KVM_SET_SREGS, &sregs) || ioctl(trial->vcpu_fd, KVM_SET_REGS, &regs))
        return -errno;
    return 0;
}

static int trial_run(const struct trial *trial, struct err *err)
{
    const struct kvm_run *run = trial->run;
    int ret;

    do {
        ret = ioctl(trial->vcpu_fd, KVM_RUN, 0);
    } while (ret && errno == EINTR);
    if (ret)
        return err_set(err, -errno, "trial of this KVM: KVM_RUN: %s", strerror(errno));
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == SUCCESS_PORT)
        return 1;
    if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
        err_set(err, 0,
                "this KVM has neither VMX nor SVM: it emulates kernel code, and not all of it "
                "(cmpxchg16b, xrstor), so stock Linux kernels cannot run; use a machine with "
                "hardware virtualization, or tests/host/run");
        return 0;
    }
    return err_set(err, -EIO, "trial of this KVM: unexpected exit reason %u", run->exit_reason);
}

int kvm_can_run_linux(const struct kvm *kvm, struct err *err)
{
    struct trial trial = {.vm_fd = -1, .vcpu_fd = -1, .mem = MAP_FAILED, .run = MAP_FAILED};
    bool has_xsave;
    int ret = trial_create(&trial, kvm);

    if (!ret)
        ret = features_set(&trial, kvm, &has_xsave);
    if (!ret)
        ret = state_set(&trial, has_xsave);
    ret = ret ? err_set(err, ret, "trial of this KVM: cannot set it up: %s", strerror(-ret))
              : trial_run(&trial, err);
    trial_destroy(&trial);
    return ret;
}
