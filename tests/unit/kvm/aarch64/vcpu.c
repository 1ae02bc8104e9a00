/* vCPUs on the real /dev/kvm: accesses, PSCI's starts and ends, reset in place. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "bus/bus.h"
#include "exec/executor.h"
#include "kvm/aarch64/entry.h"
#include "kvm/kvm.h"
#include "kvm/vm.h"
#include "mem/layout.h"

enum { MEM_SIZE = 0x200000, DEVICE_LEN = 0x1000, DONE = 0xff0, RECORD_COUNT_MAX = 16 };
#define DEVICE_BASE 0x09000000ULL

struct record {
    uint64_t offset, value;
    uint8_t size;
    bool is_write;
};

/* A guest whose code talks to one device; a write to DONE ends guest_run. */
struct guest {
    struct kvm *kvm;
    struct gmem *mem;
    struct executor *executor;
    struct bus *bus;
    struct bus_range range;
    struct vm *vm;
    struct record records[RECORD_COUNT_MAX];
    unsigned record_count, done_count, parked_count, stop_count;
    enum vm_stop_reason stop_reason;
    bool ended;
    void (*on_read)(void); /* optional: before the guest gets its answer */
};

static enum bus_verdict device_access(struct bus_range *range, struct bus_access *access)
{
    struct guest *guest = container_of(range, struct guest, range);

    if (access->offset == DONE) {
        guest->done_count++;
        return BUS_DONE;
    }
    if (!access->is_write) {
        access->value = 0x8877665544332211;
        if (guest->on_read)
            guest->on_read();
    }
    cr_assert_lt(guest->record_count, RECORD_COUNT_MAX);
    guest->records[guest->record_count++] =
        (struct record){access->offset, access->value, access->size, access->is_write};
    return BUS_DONE;
}

static const struct bus_range_ops device_ops = {.access = device_access};

static void guest_stopped(void *arg, uint32_t vcpu_index, enum vm_stop_reason reason,
                          const char *detail)
{
    struct guest *guest = arg;

    (void)vcpu_index;
    (void)detail;
    guest->stop_count++;
    guest->stop_reason = reason;
}

static void guest_parked(void *arg)
{
    ((struct guest *)arg)->parked_count++;
}

static void guest_ended(void *arg)
{
    ((struct guest *)arg)->ended = true;
}

static const struct vm_events events = {
    .stopped = guest_stopped, .parked = guest_parked, .ended = guest_ended};

static void guest_open(struct guest *guest, uint32_t vcpu_count)
{
    const struct gmem_range ranges[] = {{{LAYOUT_RAM_BASE}, MEM_SIZE}};
    struct vm_config config = {.vcpu_count = vcpu_count, .events = &events, .arg = guest};
    struct err err;

    memset(guest, 0, sizeof(*guest));
    if (kvm_open(&guest->kvm, KVM_PATH_DEFAULT, &err))
        cr_skip_test("%s", err.text);
    cr_assert_eq(gmem_create(&guest->mem, ranges, 1, &err), 0, "%s", err.text);
    cr_assert_eq(executor_create(&guest->executor, NULL, &err), 0, "%s", err.text);
    cr_assert_eq(bus_create(&guest->bus, "memory", &err), 0);
    guest->range = (struct bus_range){
        .ops = &device_ops, .name = "test device", .base = DEVICE_BASE, .len = DEVICE_LEN};
    cr_assert_eq(bus_add(guest->bus, &guest->range, &err), 0);
    config.kvm = guest->kvm;
    config.mem = guest->mem;
    config.executor = guest->executor;
    config.mmio_bus = guest->bus;
    cr_assert_eq(vm_create(&guest->vm, &config, &err), 0, "%s", err.text);
    cr_assert_eq(vm_start(guest->vm, &err), 0, "%s", err.text);
}

static void guest_load(struct guest *guest, const uint8_t *start, const uint8_t *end)
{
    const struct vm_entry entry = {.pc = LAYOUT_RAM_BASE, .device_tree = gpa(DEVICE_BASE)};
    struct err err;

    cr_assert_eq(gmem_write(guest->mem, gpa(LAYOUT_RAM_BASE), start, (size_t)(end - start)), 0);
    cr_assert_eq(vm_set_entry(guest->vm, &entry, &err), 0, "%s", err.text);
}

static bool is_done(void *arg)
{
    const struct guest *guest = arg;

    return guest->done_count || guest->stop_count;
}

static bool is_parked(void *arg)
{
    return ((struct guest *)arg)->parked_count;
}

static bool has_ended(void *arg)
{
    return ((struct guest *)arg)->ended;
}

static void guest_run(struct guest *guest)
{
    guest->done_count = guest->stop_count = 0;
    vm_resume(guest->vm);
    cr_assert_eq(executor_run_until(guest->executor, is_done, guest), 0);
}

static void guest_reset(struct guest *guest)
{
    struct err err;

    guest->parked_count = 0;
    vm_pause(guest->vm);
    cr_assert_eq(executor_run_until(guest->executor, is_parked, guest), 0);
    cr_assert_eq(vm_reset(guest->vm, &err), 0, "%s", err.text);
}

static void guest_close(struct guest *guest)
{
    vm_stop(guest->vm);
    cr_assert_eq(executor_run_until(guest->executor, has_ended, guest), 0);
    vm_destroy(guest->vm);
    bus_destroy(guest->bus);
    executor_destroy(guest->executor);
    gmem_destroy(guest->mem);
    kvm_close(guest->kvm);
}

static struct guest guest;

/* In: x0 is the device. Hidden: by way of the GOT, binutils 2.40 takes two labels of one section
 * for one. */
#define PAYLOAD(name, code)                                                  \
    __asm__(".pushsection .rodata\n.balign 16\n" #name ":\n" code "\n" #name \
            "_end:\n.popsection\n");                                         \
    extern const uint8_t name[] __attribute__((visibility("hidden"))),       \
        name##_end[] __attribute__((visibility("hidden")))
#define LOAD(payload) guest_load(&guest, payload, payload##_end)

#define SAY_DONE       "str wzr, [x0, #0xff0]\n 9: wfi\n b 9b\n"
#define PSCI(function) "ldr x0, =" #function "\n hvc #0\n 9: b 9b\n .ltorg\n"

PAYLOAD(accesses, "mov x1, #0x4321\n strb w1, [x0, #1]\n strh w1, [x0, #2]\n str w1, [x0, #4]\n"
                  "str x1, [x0, #8]\n ldrb w2, [x0, #16]\n ldr x3, [x0, #24]\n"
                  "strb w2, [x0, #32]\n str x3, [x0, #40]\n" SAY_DONE);
PAYLOAD(power_off, PSCI(0x84000008));
PAYLOAD(reset, PSCI(0x84000009));
/* Starts vCPU 1 at 2: below, with a value for its x0. */
PAYLOAD(second,
        "mov x4, x0\n ldr x0, =0xc4000003\n mov x1, #1\n adr x2, 2f\n mov x3, x4\n hvc #0\n"
        "str x0, [x4, #8]\n 1: wfi\n b 1b\n"
        "2: mrs x1, mpidr_el1\n and x1, x1, #0xff\n str x1, [x0, #16]\n" SAY_DONE ".ltorg\n");
/* A pair of registers at once: KVM is not told which access that is. */
PAYLOAD(pair, "stp x1, x2, [x0]\n 1: b 1b\n");
/* What a kernel leaves behind: an interrupt of the distributor enabled and pending, priorities,
 * vectors. */
PAYLOAD(
    dirty,
    "mov x5, #0x08000000\n mov w1, #-1\n str w1, [x5, #0x104]\n str w1, [x5, #0x204]\n"
    "str w1, [x5, #0x420]\n mov w1, #2\n str w1, [x5]\n"
    "mov x1, #0xf0\n msr s3_0_c4_c6_0, x1\n isb\n msr vbar_el1, x0\n msr tpidr_el1, x0\n" SAY_DONE);
PAYLOAD(clean, "mov x5, #0x08000000\n ldr w1, [x5, #0x104]\n str w1, [x0]\n ldr w1, [x5, #0x204]\n"
               "str w1, [x0]\n ldr w1, [x5, #0x420]\n str w1, [x0]\n mrs x1, s3_0_c4_c6_0\n"
               "str w1, [x0]\n mrs x1, tpidr_el1\n str w1, [x0]\n" SAY_DONE);

/* The same with GICv2, which has a memory mapped CPU interface. */
PAYLOAD(dirty_v2,
        "mov x5, #0x08000000\n mov w1, #-1\n str w1, [x5, #0x104]\n str w1, [x5, #0x204]\n"
        "str w1, [x5, #0x420]\n str w1, [x5, #0x820]\n mov w1, #1\n str w1, [x5]\n"
        "add x6, x5, #0x10000\n mov w1, #0xf0\n str w1, [x6, #4]\n"
        "msr vbar_el1, x0\n msr tpidr_el1, x0\n" SAY_DONE);
PAYLOAD(clean_v2, "mov x5, #0x08000000\n ldr w1, [x5, #0x104]\n str w1, [x0]\n"
                  "ldr w1, [x5, #0x204]\n str w1, [x0]\n ldr w1, [x5, #0x420]\n str w1, [x0]\n"
                  "add x6, x5, #0x10000\n ldr w1, [x6, #4]\n str w1, [x0]\n"
                  "mrs x1, tpidr_el1\n str w1, [x0]\n" SAY_DONE);
/* Makes the interrupts from 96 on edge triggered, reads, and waits until one is pending. */
PAYLOAD(await_message, "mov x5, #0x08000000\n mov w1, #0xaaaaaaaa\n str w1, [x5, #0xc18]\n"
                       "ldr w2, [x0]\n 1: ldr w1, [x5, #0x20c]\n cbz w1, 1b\n"
                       "str w1, [x0]\n" SAY_DONE);
/* Makes the same level triggered, and reads. */
PAYLOAD(level_message, "mov x5, #0x08000000\n str wzr, [x5, #0xc18]\n ldr w2, [x0]\n" SAY_DONE);
PAYLOAD(read_pending, "mov x5, #0x08000000\n ldr w1, [x5, #0x20c]\n str w1, [x0]\n" SAY_DONE);

Test(vcpu_aarch64, accesses_reach_the_device_in_their_sizes)
{
    static const struct record expected[] = {
        {1, 0x21, 1, true},   {2, 0x4321, 2, true},
        {4, 0x4321, 4, true}, {8, 0x4321, 8, true},
        {16, 0, 1, false},    {24, 0, 8, false},
        {32, 0x11, 1, true},  {40, 0x8877665544332211, 8, true},
    };

    guest_open(&guest, 1);
    LOAD(accesses);
    guest_run(&guest);
    cr_assert_eq(guest.record_count, array_count(expected));
    for (size_t i = 0; i < array_count(expected); i++) {
        cr_assert_eq(guest.records[i].offset, expected[i].offset, "access %zu", i);
        cr_assert_eq(guest.records[i].size, expected[i].size, "access %zu", i);
        cr_assert_eq(guest.records[i].is_write, expected[i].is_write, "access %zu", i);
        if (expected[i].is_write)
            cr_assert_eq(guest.records[i].value, expected[i].value, "access %zu", i);
    }
    guest_close(&guest);
}

Test(vcpu_aarch64, psci_power_off_and_reset_are_told_apart)
{
    guest_open(&guest, 2);
    LOAD(power_off);
    guest_run(&guest);
    cr_assert_eq(guest.stop_reason, VM_STOP_SYSTEM_OFF);
    guest_reset(&guest);
    LOAD(reset);
    guest_run(&guest);
    cr_assert_eq(guest.stop_reason, VM_STOP_SYSTEM_RESET);
    guest_close(&guest);
}

Test(vcpu_aarch64, second_processor_waits_for_psci_also_after_a_reset)
{
    guest_open(&guest, 2);
    for (int i = 0; i < 3; i++) {
        guest.record_count = 0;
        LOAD(second);
        guest_run(&guest);
        cr_assert_eq(guest.stop_count, 0);
        cr_assert_geq(guest.record_count, 1);
        for (unsigned j = 0; j < guest.record_count; j++)
            if (guest.records[j].offset == 8)
                cr_assert_eq(guest.records[j].value, 0, "CPU_ON succeeds");
            else
                cr_assert_eq(guest.records[j].value, 1, "its affinity");
        guest_reset(&guest);
    }
    guest_close(&guest);
}

Test(vcpu_aarch64, access_that_kvm_cannot_describe_is_a_crash)
{
    guest_open(&guest, 1);
    LOAD(pair);
    guest_run(&guest);
    cr_assert(vm_stop_reason_is_crash(guest.stop_reason));
    guest_close(&guest);
}

static void load_dirty(void)
{
    if (vm_gic(guest.vm) == VM_GIC_V2)
        LOAD(dirty_v2);
    else
        LOAD(dirty);
}

static void load_clean(void)
{
    if (vm_gic(guest.vm) == VM_GIC_V2)
        LOAD(clean_v2);
    else
        LOAD(clean);
}

Test(vcpu_aarch64, reset_leaves_nothing_of_the_old_guest)
{
    guest_open(&guest, 2);
    load_clean();
    guest_run(&guest);
    guest_reset(&guest);
    load_dirty();
    guest_run(&guest);
    guest_reset(&guest);
    load_clean();
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 10, "%u", guest.record_count);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(guest.records[5 + i].value, guest.records[i].value, "register %d", i);
    guest_close(&guest);
}

static uint32_t message_vector;
static const struct msi_message message = {.address = LAYOUT_GIC_V2M_SETSPI, .data = 97};

static void message_signal(void)
{
    struct msi_chip msi = vm_msi_chip(guest.vm);

    msi.ops->signal(msi.chip, message_vector);
}

static void message_eventfd_signal(void)
{
    struct msi_chip msi = vm_msi_chip(guest.vm);
    int fd = msi.ops->eventfd(msi.chip, message_vector);

    cr_assert_geq(fd, 0);
    cr_assert_eq(eventfd_write(fd, 1), 0);
}

/* A guest with a GICv2, and a message for it. */
static void guest_open_gicv2(void)
{
    struct msi_chip msi;

    guest_open(&guest, 1);
    if (vm_gic(guest.vm) != VM_GIC_V2)
        cr_skip_test("this machine's KVM has a newer interrupt controller than GICv2");
    msi = vm_msi_chip(guest.vm);
    cr_assert_eq(msi.ops->alloc(msi.chip, &message_vector), 0);
    cr_assert_eq(msi.ops->route(msi.chip, message_vector, &message), 0);
}

Test(vcpu_aarch64, message_becomes_an_interrupt_of_gicv2)
{
    void (*const ways[])(void) = {message_signal, message_eventfd_signal};

    for (size_t i = 0; i < array_count(ways); i++) {
        guest_open_gicv2();
        guest.on_read = ways[i];
        LOAD(await_message);
        guest_run(&guest);
        cr_assert_eq(guest.record_count, 2);
        cr_assert_eq(guest.records[1].value, 1 << 1, "interrupt 97 and no other");
        guest_close(&guest);
    }
}

Test(vcpu_aarch64, message_of_the_old_guest_is_gone_after_a_reset_of_gicv2)
{
    guest_open_gicv2();
    guest.on_read = message_eventfd_signal;
    LOAD(level_message);
    guest_run(&guest);
    guest_reset(&guest);
    LOAD(read_pending);
    guest_run(&guest);
    cr_assert_eq(guest.record_count, 2);
    cr_assert_eq(guest.records[1].value, 0);
    guest_close(&guest);
}

Test(vcpu_aarch64, message_that_nothing_takes_is_refused)
{
    const struct msi_message strange[] = {
        {.address = LAYOUT_RAM_BASE, .data = 97},
        {.address = LAYOUT_GIC_V2M_SETSPI, .data = LAYOUT_SPI_BASE + LAYOUT_GSI_PCI_BASE},
        {.address = LAYOUT_GIC_V2M_SETSPI, .data = 0},
        {.address = LAYOUT_GIC_V2M_SETSPI,
         .data = LAYOUT_SPI_BASE + LAYOUT_GSI_V2M_BASE + LAYOUT_GSI_V2M_COUNT},
    };
    struct msi_chip msi;

    guest_open(&guest, 1);
    msi = vm_msi_chip(guest.vm);
    cr_assert_eq(msi.ops->alloc(msi.chip, &message_vector), 0);
    for (size_t i = 0; i < array_count(strange); i++)
        cr_assert_eq(msi.ops->route(msi.chip, message_vector, &strange[i]), -EINVAL, "%zu", i);
    msi.ops->signal(msi.chip, message_vector);
    guest_close(&guest);
}

Test(vcpu_aarch64, more_processors_than_the_interrupt_controller_serves_name_the_option)
{
    enum { COUNT = 9 };
    const struct gmem_range range = {{LAYOUT_RAM_BASE}, MEM_SIZE};
    struct vm_config config = {.vcpu_count = COUNT, .events = &events, .arg = &guest};
    struct err err = {""};
    int ret;

    if (kvm_open(&guest.kvm, KVM_PATH_DEFAULT, &err))
        cr_skip_test("%s", err.text);
    cr_assert_eq(gmem_create(&guest.mem, &range, 1, &err), 0);
    config.kvm = guest.kvm;
    config.mem = guest.mem;
    ret = vm_create(&guest.vm, &config, &err);
    /* Which of the two depends on the host. */
    cr_assert(!ret || (ret == -EINVAL && strstr(err.text, "--cpus")), "%s", err.text);
    if (!ret)
        vm_destroy(guest.vm);
    gmem_destroy(guest.mem);
    kvm_close(guest.kvm);
}

Test(vcpu_aarch64, processors_have_affinities_of_their_own)
{
    uint64_t affinities[2];
    struct err err;

    guest_open(&guest, 2);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq(vm_vcpu_affinity(guest.vm, i, &affinities[i], &err), 0, "%s", err.text);
    cr_assert_neq(affinities[0], affinities[1]);
    guest_close(&guest);
}

Test(vcpu_aarch64, memory_that_takes_too_many_address_bits_names_the_option)
{
    struct gmem_range range = {{LAYOUT_RAM_BASE}, LAYOUT_MEM_SIZE_MAX};
    struct vm_config config = {.vcpu_count = 1, .events = &events, .arg = &guest};
    struct err err = {""};
    int ret;

    if (kvm_open(&guest.kvm, KVM_PATH_DEFAULT, &err))
        cr_skip_test("%s", err.text);
    if (gmem_create(&guest.mem, &range, 1, &err))
        cr_skip_test("%s", err.text);
    config.kvm = guest.kvm;
    config.mem = guest.mem;
    ret = vm_create(&guest.vm, &config, &err);
    /* Which of the two depends on the host. */
    cr_assert(!ret || (ret == -EINVAL && strstr(err.text, "--mem")), "%s", err.text);
    if (!ret)
        vm_destroy(guest.vm);
    gmem_destroy(guest.mem);
    kvm_close(guest.kvm);
}
