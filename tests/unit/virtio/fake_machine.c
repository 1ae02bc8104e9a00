#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "fake_driver.h"

enum { MMIO_BASE = 0xd0000000, MMIO_LEN = 0x1000000, ECAM_LEN = 1 << 20 };

static void intx_set(void *chip, uint32_t gsi, bool level)
{
    struct fake_machine *machine = chip;

    cr_assert_lt(gsi, 4);
    if (level && !machine->intx_level[gsi])
        machine->intx_edges[gsi]++;
    machine->intx_level[gsi] = level;
}

static void mmio_line_set(void *chip, uint32_t gsi, bool level)
{
    struct fake_machine *machine = chip;

    cr_assert_eq(gsi, FAKE_MMIO_GSI);
    machine->mmio_edges += level && !machine->mmio_level;
    machine->mmio_level = level;
}

struct irq_line fake_machine_mmio_line(struct fake_machine *machine)
{
    static const struct irq_line_ops ops = {.set = mmio_line_set};

    return (struct irq_line){.ops = &ops, .chip = machine, .gsi = FAKE_MMIO_GSI};
}

static const struct irq_line_ops intx_ops = {.set = intx_set};

static int vector_alloc(void *chip, uint32_t *vector)
{
    struct fake_machine *machine = chip;

    for (*vector = 0; *vector < FAKE_MESSAGE_COUNT; ++*vector) {
        if (!machine->vector_used[*vector]) {
            machine->vector_used[*vector] = true;
            return 0;
        }
    }
    return -ENOSPC;
}

static void vector_free(void *chip, uint32_t vector)
{
    struct fake_machine *machine = chip;

    cr_assert(machine->vector_used[vector]);
    machine->vector_used[vector] = false;
    if (machine->vector_eventfds[vector] >= 0)
        close(machine->vector_eventfds[vector]);
    machine->vector_eventfds[vector] = -1;
    machine->routes[vector] = (struct msi_message){0};
}

static int vector_route(void *chip, uint32_t vector, const struct msi_message *message)
{
    struct fake_machine *machine = chip;

    cr_assert(machine->vector_used[vector]);
    if (message->data >= FAKE_MESSAGE_COUNT)
        return -EINVAL;
    machine->routes[vector] = *message;
    return 0;
}

static void vector_signal(void *chip, uint32_t vector)
{
    struct fake_machine *machine = chip;

    cr_assert_neq(machine->routes[vector].address, 0, "a vector without a route was signalled");
    machine->messages[machine->routes[vector].data]++;
}

static int vector_eventfd(void *chip, uint32_t vector)
{
    struct fake_machine *machine = chip;

    cr_assert(machine->vector_used[vector]);
    if (machine->vector_eventfds[vector] < 0)
        machine->vector_eventfds[vector] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return machine->vector_eventfds[vector];
}

static const struct msi_chip_ops msi_ops = {
    .alloc = vector_alloc,
    .free = vector_free,
    .route = vector_route,
    .signal = vector_signal,
    .eventfd = vector_eventfd,
};

struct msi_chip fake_machine_msi(struct fake_machine *machine)
{
    return (struct msi_chip){.ops = &msi_ops, .chip = machine};
}

static int doorbell_add(void *chip, const struct doorbell *doorbell)
{
    struct fake_machine *machine = chip;

    if (machine->doorbells_refused)
        return -ENOSPC;
    for (size_t i = 0; i < array_count(machine->doorbells); i++) {
        if (machine->doorbells[i].eventfd < 0) {
            machine->doorbells[i] = *doorbell;
            return 0;
        }
    }
    return -ENOSPC;
}

static void doorbell_remove(void *chip, const struct doorbell *doorbell)
{
    struct fake_machine *machine = chip;

    for (size_t i = 0; i < array_count(machine->doorbells); i++) {
        if (machine->doorbells[i].eventfd == doorbell->eventfd &&
            machine->doorbells[i].is_port == doorbell->is_port) {
            cr_assert_eq(machine->doorbells[i].addr, doorbell->addr);
            machine->doorbells[i].eventfd = -1;
            return;
        }
    }
    cr_assert_fail("a doorbell was removed that was not added");
}

static const struct doorbell_chip_ops doorbell_ops = {
    .add = doorbell_add,
    .remove = doorbell_remove,
};

struct doorbell_chip fake_machine_doorbells(struct fake_machine *machine)
{
    return (struct doorbell_chip){.ops = &doorbell_ops, .chip = machine};
}

static struct fake_machine *machine_create(bool has_ports)
{
    const struct gmem_range ranges[] = {
        {{0}, FAKE_RAM_LOW_SIZE},
        {{FAKE_RAM_HIGH_BASE}, FAKE_RAM_HIGH_SIZE},
    };
    const struct executor_config executor_config = {.poll_us_max = 0};
    const struct blocking_pool_config blocking_config = {.threads_max = 1, .idle_ns = NS_PER_S};
    struct fake_machine *machine = calloc(1, sizeof(*machine));
    struct pci_root_config pci;
    struct err err = {""};

    cr_assert_not_null(machine);
    for (size_t i = 0; i < array_count(machine->doorbells); i++)
        machine->doorbells[i].eventfd = -1;
    cr_assert_eq(executor_create(&machine->executor, &executor_config, &err), 0, "%s", err.text);
    cr_assert_eq(blocking_pool_create(&machine->blocking, &blocking_config, &err), 0, "%s",
                 err.text);
    for (size_t i = 0; i < array_count(machine->vector_eventfds); i++)
        machine->vector_eventfds[i] = -1;
    cr_assert_eq(gmem_create(&machine->mem, ranges, array_count(ranges), &err), 0, "%s", err.text);
    cr_assert_eq(bus_create(&machine->port_bus, "port", &err), 0, "%s", err.text);
    cr_assert_eq(bus_create(&machine->mmio_bus, "memory", &err), 0, "%s", err.text);
    pci = (struct pci_root_config){
        .port_bus = machine->port_bus,
        .mmio_bus = machine->mmio_bus,
        .ecam_base = FAKE_ECAM_BASE,
        .ecam_len = ECAM_LEN,
        .mem32_base = MMIO_BASE,
        .mem32_len = MMIO_LEN,
        .io_base = 0x1000,
        .io_len = has_ports ? 0xf000 : 0,
    };
    for (uint32_t i = 0; i < array_count(pci.intx); i++)
        pci.intx[i] = (struct irq_line){.ops = &intx_ops, .chip = machine, .gsi = i};
    cr_assert_eq(pci_root_create(&machine->root, &pci, &err), 0, "%s", err.text);
    machine->context = (struct virtio_context){
        .executor = machine->executor,
        .mem = machine->mem,
        .blocking = machine->blocking,
        .packed_queue = true,
        .in_order = true,
    };
    machine->alloc_next = 0x1000;
    return machine;
}

struct fake_machine *fake_machine_create(void)
{
    return machine_create(false);
}

struct fake_machine *fake_machine_create_with_ports(void)
{
    return machine_create(true);
}

void fake_machine_destroy(struct fake_machine *machine)
{
    for (size_t i = 0; i < array_count(machine->doorbells); i++)
        cr_assert_lt(machine->doorbells[i].eventfd, 0, "a doorbell was left behind");
    for (size_t i = 0; i < array_count(machine->vector_used); i++)
        cr_assert_not(machine->vector_used[i], "a vector was left behind");
    cr_assert_not(machine->mmio_level, "an interrupt line was left high");
    for (size_t i = 0; i < array_count(machine->intx_level); i++)
        cr_assert_not(machine->intx_level[i], "an interrupt line was left high");
    pci_root_destroy(machine->root);
    bus_destroy(machine->mmio_bus);
    bus_destroy(machine->port_bus);
    cr_assert_eq(blocking_pool_shutdown(machine->blocking, UINT64_MAX), 0);
    blocking_pool_destroy(machine->blocking);
    executor_destroy(machine->executor);
    gmem_destroy(machine->mem);
    free(machine);
}

void fake_machine_run_until(struct fake_machine *machine, bool (*until)(void *arg), void *arg)
{
    while (!until(arg))
        cr_assert_eq(executor_run_until(machine->executor, until, arg), 0);
}

/* A turn is a trip through the ring: everybody's operations were submitted and reaped. */
struct turns {
    struct task task;
    struct op op;
    struct blocking_call call;
    unsigned left;
};

static int64_t nothing_run(struct blocking_call *call)
{
    (void)call;
    return 0;
}

static enum task_verdict turns_poll(struct task *task)
{
    struct turns *turns = container_of(task, struct turns, task);

    if (op_is_in_flight(&turns->op) || (turns->call.run && !blocking_call_poll(&turns->call)))
        return TASK_PENDING;
    if (!turns->left)
        return TASK_DONE;
    turns->left--;
    op_nop(&turns->op, task);
    return TASK_PENDING;
}

static bool turns_are_over(void *arg)
{
    const struct turns *turns = arg;

    return !task_is_live(&turns->task);
}

/* `blocking`: first a call behind all others that there are. */
static void turns_run(struct fake_machine *machine, unsigned turns, bool blocking)
{
    static const struct task_type type = {.name = "turns", .poll = turns_poll};
    struct turns counter = {.left = turns};

    task_spawn(&counter.task, machine->executor, &type);
    if (blocking)
        blocking_call_start(&counter.call, &counter.task, machine->blocking, nothing_run);
    fake_machine_run_until(machine, turns_are_over, &counter);
}

void fake_machine_run(struct fake_machine *machine, unsigned turns)
{
    turns_run(machine, 1, false); /* until those who are ready have started their calls */
    turns_run(machine, turns, blocking_pool_thread_count(machine->blocking));
}

struct vcpu_access {
    struct bus_access access;
    bool completed;
};

static void access_completed(struct bus_access *access)
{
    struct vcpu_access *vcpu = container_of(access, struct vcpu_access, access);

    cr_assert_not(vcpu->completed, "an access was answered twice");
    vcpu->completed = true;
}

static bool access_is_complete(void *arg)
{
    return ((struct vcpu_access *)arg)->completed;
}

static uint64_t bus_do(struct fake_machine *machine, struct bus *bus, struct vcpu_access *vcpu)
{
    vcpu->access.complete = access_completed;
    if (bus_dispatch(bus, &vcpu->access) == BUS_DEFER)
        fake_machine_run_until(machine, access_is_complete, vcpu);
    else
        cr_assert_not(vcpu->completed, "answered twice");
    return vcpu->access.value;
}

static uint64_t bus_read(struct fake_machine *machine, struct bus *bus, uint64_t addr, uint8_t size)
{
    struct vcpu_access vcpu = {.access = {.addr = addr, .size = size, .value = UINT64_MAX}};

    return bus_do(machine, bus, &vcpu) & (size < 8 ? (1ULL << 8 * size) - 1 : UINT64_MAX);
}

static void bus_write(struct fake_machine *machine, struct bus *bus, uint64_t addr, uint8_t size,
                      uint64_t value)
{
    struct vcpu_access vcpu = {
        .access = {.addr = addr, .size = size, .value = value, .is_write = true}};
    const uint64_t one = 1;

    for (size_t i = 0; i < array_count(machine->doorbells); i++) {
        const struct doorbell *doorbell = &machine->doorbells[i];

        if (doorbell->eventfd >= 0 && doorbell->addr == addr &&
            doorbell->is_port == (bus == machine->port_bus) &&
            (!doorbell->len || doorbell->len == size) &&
            (!doorbell->match || doorbell->value == value)) {
            cr_assert_eq(write(doorbell->eventfd, &one, sizeof(one)), (ssize_t)sizeof(one));
            return;
        }
    }
    bus_do(machine, bus, &vcpu);
}

uint64_t fake_mmio_read(struct fake_machine *machine, uint64_t addr, uint8_t size)
{
    return bus_read(machine, machine->mmio_bus, addr, size);
}

void fake_mmio_write(struct fake_machine *machine, uint64_t addr, uint8_t size, uint64_t value)
{
    bus_write(machine, machine->mmio_bus, addr, size, value);
}

uint64_t fake_machine_port_read(struct fake_machine *machine, uint64_t addr, uint8_t size)
{
    return bus_read(machine, machine->port_bus, addr, size);
}

void fake_machine_port_write(struct fake_machine *machine, uint64_t addr, uint8_t size,
                             uint64_t value)
{
    bus_write(machine, machine->port_bus, addr, size, value);
}

struct fake_buffer fake_buffer(struct fake_machine *machine, uint32_t len)
{
    struct fake_buffer buffer = {.len = len};

    buffer.addr = gpa(align_up(machine->alloc_next, len >= 4096 ? 4096 : 16));
    machine->alloc_next = buffer.addr.addr + len;
    buffer.host = gmem_ptr(machine->mem, buffer.addr, len);
    cr_assert_not_null(buffer.host, "out of guest memory");
    return buffer;
}
