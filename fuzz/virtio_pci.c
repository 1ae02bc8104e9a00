/*
 * A virtio device behind its PCI transport, driven by the fuzzer as a guest does: registers in the
 * BAR and through the PCI_CFG window, config space, doorbells, ring memory, and turns of the
 * executor in between, in any order. One step sets the device up as a driver would, so that short
 * inputs get to a running queue. Whatever happened, the device stops, answers every access once and
 * leaves nothing behind.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "exec/op.h"
#include "virtio/pci.h"

enum {
    RAM_SIZE = 0x10000,
    QUEUE_COUNT = 2,
    QUEUE_SIZE = 8,
    RING_STEP = 0x400, /* each queue's rings in RAM; buffers may be anywhere */
    VECTOR_COUNT = QUEUE_COUNT + 1,
    DOORBELL_COUNT = QUEUE_COUNT,
    VCPU_COUNT = 3,
    CONFIG_LEN = 12,
    STEP_SIZE = 8,
    TURNS_MAX = 4,
};

#define ECAM_BASE  0xe0000000ULL
#define MEM32_BASE 0xc0000000ULL
#define MEM32_LEN  0x20000000ULL

struct vcpu {
    struct bus_access access;
    bool waits;
};

struct machine {
    struct executor *executor;
    struct gmem *mem;
    struct bus *port_bus, *mmio_bus;
    struct pci_root *root;
    struct virtio_device device;
    struct virtio_pci *pci;
    uint8_t config[CONFIG_LEN];
    unsigned lines;
    bool routed[VECTOR_COUNT];
    uint32_t vector_count;
    struct doorbell doorbells[DOORBELL_COUNT]; /* eventfd -1: free */
    struct vcpu vcpus[VCPU_COUNT];
    unsigned live; /* requests */
    bool stopped;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* ---- chips ---- */

static void line_set(void *chip, uint32_t gsi, bool level)
{
    struct machine *machine = chip;

    require((machine->lines >> gsi & 1) != level);
    machine->lines ^= 1U << gsi;
}

static int vector_alloc(void *chip, uint32_t *vector)
{
    *vector = ((struct machine *)chip)->vector_count++;
    return 0;
}

static void vector_free(void *chip, uint32_t vector)
{
    (void)vector;
    ((struct machine *)chip)->vector_count--;
}

static int vector_route(void *chip, uint32_t vector, const struct msi_message *message)
{
    (void)message;
    ((struct machine *)chip)->routed[vector] = true;
    return 0;
}

static void vector_signal(void *chip, uint32_t vector)
{
    require(((struct machine *)chip)->routed[vector]);
}

static int doorbell_add(void *chip, const struct doorbell *doorbell)
{
    struct machine *machine = chip;

    for (int i = 0; i < DOORBELL_COUNT; i++) {
        if (machine->doorbells[i].eventfd >= 0) {
            require(machine->doorbells[i].addr != doorbell->addr);
            continue;
        }
        machine->doorbells[i] = *doorbell;
        return 0;
    }
    abort();
}

static void doorbell_remove(void *chip, const struct doorbell *doorbell)
{
    struct machine *machine = chip;
    int i = 0;

    while (machine->doorbells[i].eventfd != doorbell->eventfd)
        require(++i < DOORBELL_COUNT);
    require(machine->doorbells[i].addr == doorbell->addr);
    machine->doorbells[i].eventfd = -1;
}

static const struct irq_line_ops line_ops = {.set = line_set};
static const struct msi_chip_ops msi_ops = {
    .alloc = vector_alloc,
    .free = vector_free,
    .route = vector_route,
    .signal = vector_signal,
};
static const struct doorbell_chip_ops doorbell_ops = {doorbell_add, doorbell_remove};

/* ---- the device: gives back what it reads; a request takes a turn and an operation ---- */

struct request {
    struct virtio_request base;
    struct op op;
};

static enum task_verdict request_poll(struct task *task)
{
    struct virtio_request *const base = container_of(task, struct virtio_request, task);
    struct request *const request = container_of(base, struct request, base);
    struct machine *const machine = container_of(base->queue->device, struct machine, device);
    struct virtq_chain *const chain = &base->chain;
    uint8_t piece[64];

    if (task->state == 0) {
        machine->live++;
        task->state = 1;
        request->op = (struct op){0};
        op_nop(&request->op, task);
        return TASK_PENDING;
    }
    if (op_is_in_flight(&request->op))
        return TASK_PENDING;
    for (int i = 0; i < 16 && chain->writable_len && chain->readable_len; i++) {
        uint32_t len = chain->readable_len < sizeof(piece) ? (uint32_t)chain->readable_len
                                                           : (uint32_t)sizeof(piece);

        require(virtq_chain_pull(chain, piece, len));
        base->used_len += virtq_chain_put(chain, piece, len);
    }
    machine->live--;
    return TASK_DONE;
}

static void request_cancel(struct virtio_request *base)
{
    op_cancel(&container_of(base, struct request, base)->op);
}

static const struct virtio_request_type request_type = {
    .task = {.name = "fuzz request", .poll = request_poll, .done = virtio_request_done},
    .frame_size = sizeof(struct request),
    .count = QUEUE_SIZE / 2,
    .cancel = request_cancel,
};
static const struct virtio_queue_spec queue_specs[QUEUE_COUNT] = {
    {.name = "first", .size_max = QUEUE_SIZE, .requests = &request_type},
    {.name = "second", .size_max = QUEUE_SIZE, .chain_max = 3, .requests = &request_type},
};

static void device_reset(struct virtio_device *device)
{
    struct machine *machine = container_of(device, struct machine, device);

    require(machine->live == 0);
    memset(machine->config, 0, sizeof(machine->config));
}

static void device_config_write(struct virtio_device *device, uint32_t offset, const void *data,
                                uint32_t len)
{
    struct machine *machine = container_of(device, struct machine, device);

    require(offset < CONFIG_LEN && len <= CONFIG_LEN - offset);
    memcpy(machine->config + offset, data, len);
}

static const struct virtio_device_ops device_ops = {
    .reset = device_reset,
    .config_write = device_config_write,
};

/* ---- the machine; its executor and memory serve every input ---- */

static void machine_create(struct machine *machine)
{
    const struct gmem_range ranges[] = {{gpa(0), RAM_SIZE}};
    struct pci_root_config config = {
        .ecam_base = ECAM_BASE,
        .ecam_len = 1 << 20,
        .mem32_base = MEM32_BASE,
        .mem32_len = MEM32_LEN,
    };
    struct virtio_context context;
    struct virtio_pci_config pci = {
        .msi = {&msi_ops, machine},
        .doorbells = {&doorbell_ops, machine},
    };

    if (!machine->executor && (executor_create(&machine->executor, NULL, NULL) ||
                               gmem_create(&machine->mem, ranges, 1, NULL)))
        abort();
    context = (struct virtio_context){machine->executor, machine->mem, .packed_queue = true};
    memset(gmem_ptr(machine->mem, gpa(0), RAM_SIZE), 0, RAM_SIZE);
    memset(machine->routed, 0, sizeof(machine->routed));
    memset(machine->vcpus, 0, sizeof(machine->vcpus));
    machine->stopped = false;
    for (int i = 0; i < DOORBELL_COUNT; i++)
        machine->doorbells[i].eventfd = -1;
    for (uint32_t i = 0; i < PCI_INTX_COUNT; i++)
        config.intx[i] = (struct irq_line){&line_ops, machine, i};
    if (bus_create(&machine->port_bus, "port", NULL) ||
        bus_create(&machine->mmio_bus, "memory", NULL))
        abort();
    config.port_bus = machine->port_bus;
    config.mmio_bus = machine->mmio_bus;
    if (pci_root_create(&machine->root, &config, NULL))
        abort();
    machine->device = (struct virtio_device){
        .ops = &device_ops,
        .name = "fuzz",
        .id = 42,
        .features = 5,
        .config = machine->config,
        .config_len = CONFIG_LEN,
        .queue_specs = queue_specs,
        .queue_count = QUEUE_COUNT,
    };
    pci.root = machine->root;
    if (virtio_device_init(&machine->device, &context, NULL) ||
        virtio_pci_create(&machine->pci, &machine->device, &pci, NULL))
        abort();
}

static void machine_stopped(void *arg)
{
    ((struct machine *)arg)->stopped = true;
}

static bool machine_is_stopped(void *arg)
{
    return ((struct machine *)arg)->stopped;
}

static void machine_destroy(struct machine *machine)
{
    virtio_pci_shutdown(machine->pci, machine_stopped, machine);
    while (!machine->stopped)
        require(executor_run_until(machine->executor, machine_is_stopped, machine) == 0);
    for (int i = 0; i < VCPU_COUNT; i++)
        require(!machine->vcpus[i].waits);
    virtio_pci_destroy(machine->pci);
    virtio_device_free(&machine->device);
    for (int i = 0; i < DOORBELL_COUNT; i++)
        require(machine->doorbells[i].eventfd < 0);
    require(!machine->vector_count && !machine->lines);
    pci_root_destroy(machine->root);
    bus_destroy(machine->port_bus);
    bus_destroy(machine->mmio_bus);
}

struct turns {
    struct task task;
    struct op op;
    unsigned left;
};

static enum task_verdict turns_poll(struct task *task)
{
    struct turns *turns = container_of(task, struct turns, task);

    if (op_is_in_flight(&turns->op))
        return TASK_PENDING;
    if (!turns->left)
        return TASK_DONE;
    turns->left--;
    op_nop(&turns->op, task);
    return TASK_PENDING;
}

static bool turns_are_over(void *arg)
{
    return !task_is_live(&((struct turns *)arg)->task);
}

static void machine_run(struct machine *machine, unsigned count)
{
    static const struct task_type type = {.name = "turns", .poll = turns_poll};
    struct turns turns = {.left = count};

    task_spawn(&turns.task, machine->executor, &type);
    while (!turns_are_over(&turns))
        require(executor_run_until(machine->executor, turns_are_over, &turns) == 0);
}

/* ---- accesses ---- */

static void access_completed(struct bus_access *access)
{
    struct vcpu *vcpu = container_of(access, struct vcpu, access);

    require(vcpu->waits);
    vcpu->waits = false;
}

static bool doorbell_ring(struct machine *machine, const struct bus_access *access)
{
    const uint64_t one = 1;

    for (int i = 0; i < DOORBELL_COUNT; i++) {
        if (machine->doorbells[i].eventfd >= 0 && machine->doorbells[i].addr == access->addr) {
            require(write(machine->doorbells[i].eventfd, &one, sizeof(one)) == sizeof(one));
            return true;
        }
    }
    return false;
}

/* By the first vCPU that does not wait for an answer; nothing happens when all do. */
static uint64_t machine_access(struct machine *machine, struct bus_access access)
{
    struct vcpu *vcpu = machine->vcpus;

    while (vcpu->waits)
        if (++vcpu == &machine->vcpus[VCPU_COUNT])
            return 0;
    if (access.is_write && doorbell_ring(machine, &access))
        return 0;
    vcpu->access = access;
    vcpu->access.complete = access_completed;
    vcpu->waits = true; /* the answer may come before bus_dispatch returns */
    if (bus_dispatch(machine->mmio_bus, &vcpu->access) == BUS_DONE) {
        require(vcpu->waits);
        vcpu->waits = false;
    }
    return vcpu->access.value;
}

static void write_at(struct machine *machine, uint64_t addr, uint8_t size, uint64_t value)
{
    machine_access(
        machine, (struct bus_access){.addr = addr, .size = size, .value = value, .is_write = true});
}

static uint64_t config_addr(uint32_t offset)
{
    return ECAM_BASE + (1ULL << 15) + offset;
}

static uint64_t bar_base(struct machine *machine)
{
    return (uint32_t)machine_access(
               machine, (struct bus_access){.addr = config_addr(PCI_BASE_ADDRESS_0), .size = 4}) &
           ~0xfULL;
}

/* 3.1.1, with `features` of the lower word. */
static void driver_start(struct machine *machine, uint32_t features, bool with_msix, bool packed)
{
    uint64_t bar;

    write_at(machine, config_addr(PCI_BASE_ADDRESS_0), 4, MEM32_BASE);
    write_at(machine, config_addr(PCI_COMMAND), 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    bar = bar_base(machine);
    write_at(machine, config_addr(0x40), 4, with_msix ? 0x80000000U : 0);
    write_at(machine, bar + VIRTIO_PCI_COMMON_STATUS, 1, 0);
    machine_run(machine, TURNS_MAX);
    write_at(machine, bar + VIRTIO_PCI_COMMON_STATUS, 1, 3);
    write_at(machine, bar + VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    write_at(machine, bar + VIRTIO_PCI_COMMON_GF, 4, features & 0x30000005);
    write_at(machine, bar + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    write_at(machine, bar + VIRTIO_PCI_COMMON_GF, 4, packed ? 5 : 1);
    write_at(machine, bar + VIRTIO_PCI_COMMON_STATUS, 1, 11);
    for (unsigned i = 0; i < QUEUE_COUNT; i++) {
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_DESCLO, 4, i * RING_STEP);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_AVAILLO, 4, i * RING_STEP + 0x100);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_USEDLO, 4, i * RING_STEP + 0x200);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_MSIX, 2, i);
        write_at(machine, bar + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    }
    write_at(machine, bar + VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

/* A chain of one readable and one writable buffer made available, without a kick. */
static void chain_add(struct machine *machine, unsigned queue, uint32_t value)
{
    uint8_t *ring = gmem_ptr(machine->mem, gpa(queue * RING_STEP), RING_STEP);
    uint16_t head = value % (QUEUE_SIZE - 1), next = head + 1, avail_idx;
    const struct {
        uint64_t addr;
        uint32_t len;
        uint16_t flags, next;
    } desc[2] = {{0x4000 + (value >> 8 & 0xfff), value >> 20 & 0xff, 1, next},
                 {0x8000, value >> 4 & 0x1ff, 2, 0}};

    memcpy(ring + head * sizeof(desc[0]), desc, sizeof(desc));
    memcpy(&avail_idx, ring + 0x102, 2);
    memcpy(ring + 0x104 + avail_idx % QUEUE_SIZE * 2, &head, 2);
    avail_idx++;
    memcpy(ring + 0x102, &avail_idx, 2);
}

/* The same in a packed ring, at any entry, as of any lap. */
static void packed_chain_add(struct machine *machine, unsigned queue, uint32_t value)
{
    uint8_t *ring = gmem_ptr(machine->mem, gpa(queue * RING_STEP), RING_STEP);
    uint16_t owner = value >> 31 ? 0x8000 : 0x80, at = value % (QUEUE_SIZE - 1);
    const struct {
        uint64_t addr;
        uint32_t len;
        uint16_t id, flags;
    } desc[2] = {{0x4000 + (value >> 8 & 0xfff), value >> 20 & 0xff, 0, 1 | owner},
                 {0x8000, value >> 4 & 0x1ff, at, 2 | owner}};

    memcpy(ring + at * sizeof(desc[0]), desc, sizeof(desc));
}

/* ---- steps ---- */

static void step_run(struct machine *machine, const uint8_t *step)
{
    static const uint16_t structures[] = {0, 0x1000, 0x2000, 0x3000, 0x4000, 0x4800, 0x38, 0x7ff8};
    uint8_t size = (uint8_t)(1U << (step[1] & 3));
    bool is_write = step[1] & 4;
    uint32_t offset = step[2] | (uint32_t)step[3] << 8, value;
    uint64_t addr;

    memcpy(&value, step + 4, sizeof(value));
    switch (step[0] % 8) {
    case 0:
        driver_start(machine, value, step[1] & 1, step[1] & 2);
        return;
    case 1:
        if (step[1] & 8)
            packed_chain_add(machine, step[1] % QUEUE_COUNT, value);
        else
            chain_add(machine, step[1] % QUEUE_COUNT, value);
        return;
    case 2:
        memcpy(gmem_ptr(machine->mem, gpa(offset % (2 * RING_STEP)), 4), &value, 4);
        return;
    case 3:
        machine_run(machine, 1 + step[1] % TURNS_MAX);
        return;
    case 4:
        addr = bar_base(machine) + 0x3000 + 4ULL * (step[2] % (QUEUE_COUNT + 1));
        is_write = true;
        break;
    case 5:
        addr = config_addr(offset % 0x110);
        break;
    default:
        addr = bar_base(machine) + structures[step[1] >> 5] + offset % 64;
        break;
    }
    machine_access(machine, (struct bus_access){.addr = addr,
                                                .size = size,
                                                .is_write = is_write,
                                                .value = value | (uint64_t)value << 32});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine machine;

    log_set_level(LOG_ERROR);
    machine_create(&machine);
    for (; size >= STEP_SIZE; data += STEP_SIZE, size -= STEP_SIZE)
        step_run(&machine, data);
    machine_destroy(&machine);
    return 0;
}
