#include "kvm/aarch64/gic.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mem/layout.h"

enum {
    PRIVATE_COUNT = LAYOUT_SPI_BASE,
    IRQ_COUNT = PRIVATE_COUNT + LAYOUT_GSI_COUNT,
    V2_IRQ_COUNT = IRQ_COUNT + LAYOUT_GSI_V2M_COUNT,
};
_Static_assert(IRQ_COUNT % 32 == 0 && IRQ_COUNT >= 64 && V2_IRQ_COUNT % 32 == 0 &&
                   V2_IRQ_COUNT < 1020,
               "KVM_DEV_ARM_VGIC_GRP_NR_IRQS");

/* Registers of the distributor, and from SGI_FRAME on of a redistributor. */
enum {
    GICD_CTLR = 0x0,
    GICD_IROUTER = 0x6000, /* 64 bits an interrupt */
    GICR_CTLR = 0x0,
    GICR_PROPBASER = 0x70, /* two words, as the next */
    GICR_PENDBASER = 0x78,
    SGI_FRAME = 0x10000,
};

/* What there is of each block of 32 interrupts. */
static const struct {
    uint32_t offset;     /* of block 0 */
    uint32_t word_count; /* of one block */
    uint32_t value;      /* of each word, after reset */
} block_registers[] = {
    {0x180, 1, UINT32_MAX}, /* ICENABLER */
    {0x200, 1, 0},          /* ISPENDR: with GICv3 KVM takes this as the whole state ... */
    {0x280, 1, UINT32_MAX}, /* ICPENDR: ... and ignores this */
    {0x380, 1, UINT32_MAX}, /* ICACTIVER */
    {0x400, 8, 0},          /* IPRIORITYR */
    {0xc00, 2, 0},          /* ICFGR */
};
enum { IGROUPR = 0x80, ITARGETSR = 0x800 };

/* The CPU interface's registers, as KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS numbers them. */
#define SYSREG(crn, crm, op2) \
    (ARM64_SYS_REG(3, 0, crn, crm, op2) & KVM_DEV_ARM_VGIC_SYSREG_INSTR_MASK)
#define ICC_CTLR_EL1 SYSREG(12, 12, 4)
enum { ICC_CTLR_CBPR_EOIMODE = 3 };

/* Those that are zero after reset. */
static const uint64_t cpu_registers[] = {
    SYSREG(12, 12, 6), /* ICC_IGRPEN0_EL1 */
    SYSREG(12, 12, 7), /* ICC_IGRPEN1_EL1 */
    SYSREG(4, 6, 0),   /* ICC_PMR_EL1 */
    SYSREG(12, 8, 3),  /* ICC_BPR0_EL1 */
    SYSREG(12, 12, 3), /* ICC_BPR1_EL1 */
    SYSREG(12, 8, 4),  /* ICC_AP0R0_EL1 */
    SYSREG(12, 9, 0),  /* ICC_AP1R0_EL1 */
};

/* GICv2's CPU interface (IHI 0048, 4.4). */
enum { GICC_CTLR = 0x0, GICC_PMR = 0x4, GICC_BPR = 0x8, GICC_APR0 = 0xd0 };

static uint32_t irq_count(const struct gic *gic)
{
    return gic->version == VM_GIC_V2 ? V2_IRQ_COUNT : IRQ_COUNT;
}

static int attr_access(int fd, unsigned long request, uint32_t group, uint64_t attr, void *value)
{
    struct kvm_device_attr access = {.group = group, .attr = attr, .addr = (uintptr_t)value};

    return ioctl(fd, request, &access) ? -errno : 0;
}

static int attr_set(int fd, uint32_t group, uint64_t attr, const char *what, uint64_t value,
                    struct err *err)
{
    int ret = attr_access(fd, KVM_SET_DEVICE_ATTR, group, attr, &value);

    return ret ? err_set(err, ret, "interrupt controller: KVM refuses %s: %s", what, strerror(-ret))
               : 0;
}

static int ctrl(int fd, uint64_t attr, const char *what, struct err *err)
{
    return attr_set(fd, KVM_DEV_ARM_VGIC_GRP_CTRL, attr, what, 0, err);
}

static int address_set(int fd, uint64_t attr, const char *what, uint64_t value, struct err *err)
{
    return attr_set(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, attr, what, value, err);
}

/* Its descriptor, or a negative errno. */
static int device_create(int vm_fd, uint32_t type)
{
    struct kvm_create_device device = {.type = type};

    return ioctl(vm_fd, KVM_CREATE_DEVICE, &device) ? -errno : (int)device.fd;
}

static int v3_place(const struct gic *gic, uint32_t vcpu_count, struct err *err)
{
    /* Documentation/virt/kvm/devices/arm-vgic-v3.rst: count, base, flags, index */
    uint64_t region = (uint64_t)vcpu_count << 52 | LAYOUT_GIC_REDIST_BASE;
    int ret = address_set(gic->fd, KVM_VGIC_V3_ADDR_TYPE_DIST, "the distributor's address",
                          LAYOUT_GIC_DIST_BASE, err);

    return ret ? ret
               : address_set(gic->fd, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION,
                             "the redistributors' region", region, err);
}

static int v2_place(const struct gic *gic, struct err *err)
{
    int ret = address_set(gic->fd, KVM_VGIC_V2_ADDR_TYPE_DIST, "the distributor's address",
                          LAYOUT_GIC_DIST_BASE, err);

    return ret ? ret
               : address_set(gic->fd, KVM_VGIC_V2_ADDR_TYPE_CPU, "the CPU interface's address",
                             LAYOUT_GIC_V2_CPU_BASE, err);
}

/* Without one there are pins only. */
static int its_create(struct gic *gic, int vm_fd, struct err *err)
{
    int fd = device_create(vm_fd, KVM_DEV_TYPE_ARM_VGIC_ITS);

    if (fd == -ENODEV)
        return 0;
    if (fd < 0)
        return err_set(err, fd, "vm: KVM_CREATE_DEVICE of an ITS: %s", strerror(-fd));
    gic->its_fd = fd;
    gic->version = VM_GIC_V3_ITS;
    return address_set(fd, KVM_VGIC_ITS_ADDR_TYPE, "the ITS's address", LAYOUT_GIC_ITS_BASE, err);
}

int gic_create(struct gic *gic, int vm_fd, uint32_t vcpu_count, struct err *err)
{
    int ret;

    *gic = (struct gic){.version = VM_GIC_V3, .its_fd = -1};
    gic->fd = device_create(vm_fd, KVM_DEV_TYPE_ARM_VGIC_V3);
    if (gic->fd == -ENODEV) {
        gic->version = VM_GIC_V2;
        gic->fd = device_create(vm_fd, KVM_DEV_TYPE_ARM_VGIC_V2);
    }
    if (gic->fd < 0)
        return err_set(err, gic->fd, "vm: KVM_CREATE_DEVICE of a GIC: %s", strerror(-gic->fd));
    ret = gic->version == VM_GIC_V2 ? v2_place(gic, err) : v3_place(gic, vcpu_count, err);
    if (!ret)
        ret = attr_set(gic->fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, "the number of interrupts",
                       irq_count(gic), err);
    if (!ret && gic->version == VM_GIC_V3)
        ret = its_create(gic, vm_fd, err);
    if (ret)
        gic_destroy(gic);
    return ret;
}

void gic_destroy(struct gic *gic)
{
    if (gic->its_fd >= 0)
        close(gic->its_fd);
    close(gic->fd);
}

int gic_init(const struct gic *gic, struct err *err)
{
    int ret = ctrl(gic->fd, KVM_DEV_ARM_VGIC_CTRL_INIT, "its start", err);

    if (!ret && gic->its_fd >= 0)
        ret = ctrl(gic->its_fd, KVM_DEV_ARM_VGIC_CTRL_INIT, "the ITS's start", err);
    return ret;
}

/* `count` words from `attr` on. */
static int words_set(const struct gic *gic, uint32_t group, uint64_t attr, uint32_t count,
                     uint32_t value, struct err *err)
{
    int ret = 0;

    for (uint32_t i = 0; !ret && i < count; i++)
        ret = attr_set(gic->fd, group, attr + 4 * i, "a register's reset", value, err);
    return ret;
}

/* The 32 interrupts of `block`, whose registers begin at `attr`. */
static int block_reset(const struct gic *gic, uint32_t group, uint64_t attr, uint32_t block,
                       struct err *err)
{
    uint32_t interrupt_group = gic->version == VM_GIC_V2 ? 0 : UINT32_MAX;
    int ret = words_set(gic, group, attr + IGROUPR + 4 * block, 1, interrupt_group, err);

    for (size_t i = 0; !ret && i < array_count(block_registers); i++) {
        uint32_t count = block_registers[i].word_count;

        ret = words_set(gic, group, attr + block_registers[i].offset + 4 * count * block, count,
                        block_registers[i].value, err);
    }
    return ret;
}

int gic_reset(const struct gic *gic, struct err *err)
{
    const uint32_t group = KVM_DEV_ARM_VGIC_GRP_DIST_REGS;
    int ret = words_set(gic, group, GICD_CTLR, 1, 0, err);

    for (uint32_t block = 1; !ret && block < irq_count(gic) / 32; block++)
        ret = block_reset(gic, group, 0, block, err);
    if (!ret && gic->version == VM_GIC_V2)
        ret = words_set(gic, group, ITARGETSR + PRIVATE_COUNT, (V2_IRQ_COUNT - PRIVATE_COUNT) / 4,
                        0, err);
    if (!ret && gic->version != VM_GIC_V2)
        ret = words_set(gic, group, GICD_IROUTER + 8 * PRIVATE_COUNT, 2 * LAYOUT_GSI_COUNT, 0, err);
    if (!ret && gic->its_fd >= 0)
        ret = ctrl(gic->its_fd, KVM_DEV_ARM_ITS_CTRL_RESET, "the ITS's reset", err);
    return ret;
}

static int v2_vcpu_reset(const struct gic *gic, uint64_t cpu, struct err *err)
{
    static const uint32_t registers[] = {GICC_CTLR, GICC_PMR, GICC_BPR, GICC_APR0};
    int ret = block_reset(gic, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, cpu, 0, err);

    for (size_t i = 0; !ret && i < array_count(registers); i++)
        ret = words_set(gic, KVM_DEV_ARM_VGIC_GRP_CPU_REGS, cpu | registers[i], 1, 0, err);
    return ret;
}

static int v3_cpu_reset(const struct gic *gic, uint64_t cpu, struct err *err)
{
    const uint32_t group = KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS;
    uint64_t control;
    int ret = 0;

    for (size_t i = 0; !ret && i < array_count(cpu_registers); i++)
        ret = attr_set(gic->fd, group, cpu | cpu_registers[i], "a CPU register's reset", 0, err);
    if (ret)
        return ret;
    /* The rest of it says what the hardware can do. */
    ret = attr_access(gic->fd, KVM_GET_DEVICE_ATTR, group, cpu | ICC_CTLR_EL1, &control);
    if (ret)
        return err_set(err, ret, "interrupt controller: ICC_CTLR_EL1: %s", strerror(-ret));
    return attr_set(gic->fd, group, cpu | ICC_CTLR_EL1, "a CPU register's reset",
                    control & ~(uint64_t)ICC_CTLR_CBPR_EOIMODE, err);
}

int gic_vcpu_reset(const struct gic *gic, uint32_t vcpu_index, uint64_t affinity, struct err *err)
{
    const uint32_t group = KVM_DEV_ARM_VGIC_GRP_REDIST_REGS;
    uint64_t cpu = affinity << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT;
    int ret;

    if (gic->version == VM_GIC_V2)
        return v2_vcpu_reset(gic, (uint64_t)vcpu_index << KVM_DEV_ARM_VGIC_CPUID_SHIFT, err);
    /* Message interrupts off first: the guest's tables of them are not to be read any more. */
    ret = words_set(gic, group, cpu | GICR_CTLR, 1, 0, err);
    if (!ret)
        ret = words_set(gic, group, cpu | GICR_PROPBASER, 2, 0, err);
    if (!ret)
        ret = words_set(gic, group, cpu | GICR_PENDBASER, 2, 0, err);
    if (!ret)
        ret = block_reset(gic, group, cpu | SGI_FRAME, 0, err);
    return ret ? ret : v3_cpu_reset(gic, cpu, err);
}
