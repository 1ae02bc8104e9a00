/*
 * What exits and interrupts cost, each beside a bare loop around the same system calls on the same
 * KVM, alternating within one run. Needs /dev/kvm.
 *
 *     build/release/bench-kvm [--smoke] [--json FILE]
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "exec/executor.h"
#include "kvm/vm_private.h"
#include "kvm/x86_64/entry.h"
#include "report/report.h"
#include "report/run_delay.h"

enum {
    CODE_ADDR = 0x1000,
    PORT = 0x110,
    RUN_COUNT = 9,
    EXIT_COUNT = 20000,
    POLL_US = 50,
    SMOKE_EXIT_COUNT = 200
};

/* Real mode: mov dx, PORT; 1: mov cx, DELAY; loop .; out dx, al; jmp 1b */
static const uint8_t payload[] = {0xba, 0x10, 0x01, 0xb9, 0x00, 0x00, 0xe2, 0xfe, 0xee, 0xeb, 0xf8};

/* Guest instructions between two exits: none, or for so long that the executor falls asleep. */
enum { DELAY_OFFSET = 4, DELAY_NONE = 1, DELAY_LONG = 1000, DELAY_LONG_SHARE = 20 };

struct machine {
    struct kvm *kvm;
    struct gmem *mem;
    struct bus *port_bus;
    struct bus_range range;
    struct executor *executor;
    struct vm *vm;
    uint64_t exits;
    uint64_t exits_wanted;
    uint64_t end_ns;
    bool parked;
    bool ended;
};

static void fail(const struct err *err)
{
    fprintf(stderr, "bench-kvm: %s\n", err->text);
    exit(1);
}

static enum bus_verdict port_access(struct bus_range *range, struct bus_access *access)
{
    struct machine *machine = container_of(range, struct machine, range);

    (void)access;
    if (++machine->exits == machine->exits_wanted) {
        machine->end_ns = clock_now_ns();
        vm_pause(machine->vm);
    }
    return BUS_DONE;
}

static const struct bus_range_ops port_ops = {.access = port_access};

static void stopped(void *arg, uint32_t vcpu_index, enum vm_stop_reason reason, const char *detail)
{
    (void)arg;
    fprintf(stderr, "bench-kvm: vCPU %u: %s: %s\n", vcpu_index, vm_stop_reason_name(reason),
            detail);
    exit(1);
}

static void parked(void *arg)
{
    ((struct machine *)arg)->parked = true;
}

static void ended(void *arg)
{
    ((struct machine *)arg)->ended = true;
}

static bool is_parked(void *arg)
{
    return ((struct machine *)arg)->parked;
}

static bool is_ended(void *arg)
{
    return ((struct machine *)arg)->ended;
}

static const struct vm_events events = {.stopped = stopped, .parked = parked, .ended = ended};

static void machine_open(struct machine *machine, uint32_t poll_us, uint16_t delay)
{
    const struct gmem_range ram = {.size = 0x10000};
    const struct executor_config executor_config = {.poll_us_max = poll_us};
    const struct vm_entry entry = {.mode = VM_ENTRY_REAL, .rip = CODE_ADDR};
    struct err err;

    *machine = (struct machine){
        .range = {.ops = &port_ops, .name = "port", .base = PORT, .len = 1},
    };
    if (kvm_open(&machine->kvm, KVM_PATH_DEFAULT, &err) ||
        gmem_create(&machine->mem, &ram, 1, &err) || bus_create(&machine->port_bus, "port", &err) ||
        bus_add(machine->port_bus, &machine->range, &err) ||
        executor_create(&machine->executor, &executor_config, &err))
        fail(&err);
    CHECK_CMP(gmem_write(machine->mem, gpa(CODE_ADDR), payload, sizeof(payload)), ==, 0);
    CHECK_CMP(gmem_write(machine->mem, gpa(CODE_ADDR + DELAY_OFFSET), &delay, sizeof(delay)), ==,
              0);

    const struct vm_config config = {
        .kvm = machine->kvm,
        .mem = machine->mem,
        .executor = machine->executor,
        .port_bus = machine->port_bus,
        .vcpu_count = 1,
        .spin_us_max = poll_us,
        .events = &events,
        .arg = machine,
    };
    if (vm_create(&machine->vm, &config, &err) || vm_set_entry(machine->vm, &entry, &err) ||
        vm_start(machine->vm, &err))
        fail(&err);
}

static void machine_close(struct machine *machine)
{
    vm_stop(machine->vm);
    CHECK_CMP(executor_run_until(machine->executor, is_ended, machine), ==, 0);
    vm_destroy(machine->vm);
    executor_destroy(machine->executor);
    bus_destroy(machine->port_bus);
    gmem_destroy(machine->mem);
    kvm_close(machine->kvm);
}

static double exits_by_executor(struct machine *machine, uint64_t count)
{
    uint64_t begin_ns = clock_now_ns();

    machine->exits = 0;
    machine->exits_wanted = count;
    machine->parked = false;
    vm_resume(machine->vm);
    CHECK_CMP(executor_run_until(machine->executor, is_parked, machine), ==, 0);
    return (double)(machine->end_ns - begin_ns) / (double)count / 1e3;
}

/* The same vCPU, run by the calling thread, which answers nothing. */
static double exits_bare(const struct machine *machine, uint64_t count)
{
    struct vcpu *vcpu = &machine->vm->vcpus[0];
    uint64_t begin_ns = clock_now_ns();

    vcpu->run->immediate_exit = 0;
    for (uint64_t i = 0; i < count; i++) {
        int ret;

        /* Completions of the executor's ring, which this thread owns too, interrupt it. */
        do {
            ret = ioctl(vcpu->fd, KVM_RUN, 0);
        } while (ret && errno == EINTR);
        CHECK_CMP(ret, ==, 0);
        CHECK(vcpu->run->exit_reason == KVM_EXIT_IO);
    }
    return (double)(clock_now_ns() - begin_ns) / (double)count / 1e3;
}

static void bench_exits(struct report *report, const char *name, uint32_t poll_us, uint16_t delay,
                        uint64_t count)
{
    struct report_row *row = report_add(report, name, "us", "bare KVM_RUN loop");
    struct machine machine;
    struct vcpu_stats stats;

    machine_open(&machine, poll_us, delay);
    for (int i = 0; i < RUN_COUNT; i++) {
        report_sample(&row->ours, exits_by_executor(&machine, count));
        report_sample(&row->other, exits_bare(&machine, count));
    }
    report_print_row(row, stdout);
    vm_stats_read(machine.vm, 0, &stats);
    printf("    %llu exits, %llu spins won, %llu lost, %llu sleeps\n",
           (unsigned long long)stats.exits, (unsigned long long)stats.spin_hits,
           (unsigned long long)stats.spin_misses, (unsigned long long)stats.sleeps);
    machine_close(&machine);
}

static double messages(const struct msi_chip *chip, uint32_t vector, uint64_t count)
{
    uint64_t begin_ns = clock_now_ns();

    for (uint64_t i = 0; i < count; i++)
        chip->ops->signal(chip->chip, vector);
    return (double)(clock_now_ns() - begin_ns) / (double)count / 1e3;
}

static double eventfd_writes(int fd, uint64_t count)
{
    const uint64_t one = 1;
    uint64_t begin_ns = clock_now_ns();

    for (uint64_t i = 0; i < count; i++)
        CHECK(write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
    return (double)(clock_now_ns() - begin_ns) / (double)count / 1e3;
}

/* Local APIC on; pending interrupts merge, so that nothing is waited for. */
static void bench_messages(struct report *report, uint64_t count)
{
    struct report_row *row = report_add(report, "message interrupt", "us", "eventfd of an irqfd");
    const struct msi_message message = {.address = 0xfee00000, .data = 0x40};
    struct kvm_lapic_state lapic;
    const uint32_t spurious = 0x1ff;
    struct machine machine;
    struct msi_chip chip;
    uint32_t direct, by_eventfd;
    int fd;

    machine_open(&machine, 0, DELAY_NONE);
    chip = vm_msi_chip(machine.vm);
    CHECK_CMP(ioctl(machine.vm->vcpus[0].fd, KVM_GET_LAPIC, &lapic), ==, 0);
    memcpy(&lapic.regs[0xf0], &spurious, sizeof(spurious));
    CHECK_CMP(ioctl(machine.vm->vcpus[0].fd, KVM_SET_LAPIC, &lapic), ==, 0);
    CHECK_CMP(chip.ops->alloc(chip.chip, &direct), ==, 0);
    CHECK_CMP(chip.ops->alloc(chip.chip, &by_eventfd), ==, 0);
    CHECK_CMP(chip.ops->route(chip.chip, direct, &message), ==, 0);
    CHECK_CMP(chip.ops->route(chip.chip, by_eventfd, &message), ==, 0);
    fd = chip.ops->eventfd(chip.chip, by_eventfd);
    CHECK_CMP(fd, >=, 0);
    for (int i = 0; i < RUN_COUNT; i++) {
        report_sample(&row->ours, messages(&chip, direct, count));
        report_sample(&row->other, eventfd_writes(fd, count));
    }
    report_print_row(row, stdout);
    machine_close(&machine);
}

int main(int argc, char **argv)
{
    static struct report report;
    struct err err;
    uint64_t count = EXIT_COUNT, delay_ns = run_delay_ns();
    const char *json = NULL;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--smoke"))
            count = SMOKE_EXIT_COUNT;
        else if (!strcmp(argv[i], "--json") && i + 1 < argc)
            json = argv[++i];
        else {
            fprintf(stderr, "usage: bench-kvm [--smoke] [--json FILE]\n");
            return 2;
        }
    }
    report_print_heading(stdout);
    bench_exits(&report, "exits in a row, polling", POLL_US, DELAY_NONE, count);
    bench_exits(&report, "exits in a row, no polling", 0, DELAY_NONE, count);
    bench_exits(&report, "exits now and then, polling", POLL_US, DELAY_LONG,
                count / DELAY_LONG_SHARE);
    bench_exits(&report, "exits now and then, no polling", 0, DELAY_LONG, count / DELAY_LONG_SHARE);
    bench_messages(&report, count);
    printf("run delay of this thread: %.1f ms\n",
           (double)(run_delay_ns() - delay_ns) / (double)NS_PER_MS);
    if (json && report_write_json(&report, json, &err)) {
        fprintf(stderr, "bench-kvm: %s\n", err.text);
        return 1;
    }
    return 0;
}
