/*
 * What the fuzz targets of the virtio transports share: executor, memory, a doorbell chip, vCPUs
 * that make accesses, and a device with two queues that gives back what it reads. The target brings
 * the transport, and interrupts.
 */
#pragma once
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "exec/op.h"
#include "virtio/device.h"

enum {
    RAM_SIZE = 0x10000,
    QUEUE_COUNT = 2,
    QUEUE_SIZE = 8,
    RING_STEP = 0x400, /* each queue's rings in RAM; buffers may be anywhere */
    DOORBELL_COUNT = 2 * QUEUE_COUNT,
    VCPU_COUNT = 3,
    CONFIG_LEN = 12,
    STEP_SIZE = 8,
    TURNS_MAX = 4,
};

struct vcpu {
    struct bus_access access;
    bool waits;
};

struct machine {
    struct executor *executor;
    struct gmem *mem;
    struct bus *mmio_bus;
    struct virtio_device device;
    uint8_t config[CONFIG_LEN];
    struct doorbell doorbells[DOORBELL_COUNT]; /* eventfd -1: free */
    struct vcpu vcpus[VCPU_COUNT];
    unsigned live; /* requests */
    bool stopped;
};

static inline void require(bool condition)
{
    if (!condition)
        abort();
}

/* ---- doorbells ---- */

static inline int doorbell_add(void *chip, const struct doorbell *doorbell)
{
    struct machine *machine = chip;

    for (int i = 0; i < DOORBELL_COUNT; i++) {
        if (machine->doorbells[i].eventfd >= 0) {
            require(machine->doorbells[i].is_port != doorbell->is_port ||
                    machine->doorbells[i].addr != doorbell->addr ||
                    (doorbell->match && machine->doorbells[i].value != doorbell->value));
            continue;
        }
        machine->doorbells[i] = *doorbell;
        return 0;
    }
    abort();
}

static inline void doorbell_remove(void *chip, const struct doorbell *doorbell)
{
    struct machine *machine = chip;
    int i = 0;

    while (machine->doorbells[i].eventfd != doorbell->eventfd ||
           machine->doorbells[i].is_port != doorbell->is_port)
        require(++i < DOORBELL_COUNT);
    require(machine->doorbells[i].addr == doorbell->addr);
    machine->doorbells[i].eventfd = -1;
}

static const struct doorbell_chip_ops doorbell_ops = {doorbell_add, doorbell_remove};

/* ---- the device: gives back what it reads; a request takes a turn and an operation ---- */

struct request {
    struct virtio_request base;
    struct op op;
};

static inline enum task_verdict request_poll(struct task *task)
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

static inline void request_cancel(struct virtio_request *base)
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

static inline void device_reset(struct virtio_device *device)
{
    struct machine *machine = container_of(device, struct machine, device);

    require(machine->live == 0);
    memset(machine->config, 0, sizeof(machine->config));
}

static inline void device_config_write(struct virtio_device *device, uint32_t offset,
                                       const void *data, uint32_t len)
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

static inline void machine_create(struct machine *machine)
{
    const struct gmem_range ranges[] = {{gpa(0), RAM_SIZE}};
    struct virtio_context context;

    if (!machine->executor && (executor_create(&machine->executor, NULL, NULL) ||
                               gmem_create(&machine->mem, ranges, 1, NULL)))
        abort();
    context = (struct virtio_context){machine->executor, machine->mem, .packed_queue = true};
    memset(gmem_ptr(machine->mem, gpa(0), RAM_SIZE), 0, RAM_SIZE);
    memset(machine->vcpus, 0, sizeof(machine->vcpus));
    machine->stopped = false;
    for (int i = 0; i < DOORBELL_COUNT; i++)
        machine->doorbells[i].eventfd = -1;
    if (bus_create(&machine->mmio_bus, "memory", NULL))
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
    if (virtio_device_init(&machine->device, &context, NULL))
        abort();
}

/* Given to the transport's shutdown, which machine_await_stop waits for. */
static inline void machine_stopped(void *arg)
{
    ((struct machine *)arg)->stopped = true;
}

static inline bool machine_is_stopped(void *arg)
{
    return ((struct machine *)arg)->stopped;
}

/* Every access was answered by then. */
static inline void machine_await_stop(struct machine *machine)
{
    while (!machine->stopped)
        require(executor_run_until(machine->executor, machine_is_stopped, machine) == 0);
    for (int i = 0; i < VCPU_COUNT; i++)
        require(!machine->vcpus[i].waits);
}

/* The transport is gone. */
static inline void machine_destroy(struct machine *machine)
{
    virtio_device_free(&machine->device);
    for (int i = 0; i < DOORBELL_COUNT; i++)
        require(machine->doorbells[i].eventfd < 0);
    bus_destroy(machine->mmio_bus);
}

struct turns {
    struct task task;
    struct op op;
    unsigned left;
};

static inline enum task_verdict turns_poll(struct task *task)
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

static inline bool turns_are_over(void *arg)
{
    return !task_is_live(&((struct turns *)arg)->task);
}

static inline void machine_run(struct machine *machine, unsigned count)
{
    static const struct task_type type = {.name = "turns", .poll = turns_poll};
    struct turns turns = {.left = count};

    task_spawn(&turns.task, machine->executor, &type);
    while (!turns_are_over(&turns))
        require(executor_run_until(machine->executor, turns_are_over, &turns) == 0);
}

/* ---- accesses ---- */

static inline void access_completed(struct bus_access *access)
{
    struct vcpu *vcpu = container_of(access, struct vcpu, access);

    require(vcpu->waits);
    vcpu->waits = false;
}

static inline bool doorbell_ring(struct machine *machine, const struct bus_access *access,
                                 bool is_port)
{
    const uint64_t one = 1;

    for (int i = 0; i < DOORBELL_COUNT; i++) {
        const struct doorbell *doorbell = &machine->doorbells[i];

        if (doorbell->eventfd >= 0 && doorbell->is_port == is_port &&
            doorbell->addr == access->addr && (!doorbell->len || doorbell->len == access->size) &&
            (!doorbell->match || doorbell->value == access->value)) {
            require(write(doorbell->eventfd, &one, sizeof(one)) == sizeof(one));
            return true;
        }
    }
    return false;
}

/* By the first vCPU that does not wait for an answer; nothing happens when all do. */
static inline uint64_t machine_access(struct machine *machine, struct bus_access access)
{
    struct vcpu *vcpu = machine->vcpus;

    while (vcpu->waits)
        if (++vcpu == &machine->vcpus[VCPU_COUNT])
            return 0;
    if (access.is_write && doorbell_ring(machine, &access, false))
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

static inline void write_at(struct machine *machine, uint64_t addr, uint8_t size, uint64_t value)
{
    machine_access(
        machine, (struct bus_access){.addr = addr, .size = size, .value = value, .is_write = true});
}

/* ---- chains ---- */

/* A chain of one readable and one writable buffer made available, without a kick. */
static inline void chain_add(struct machine *machine, unsigned queue, uint32_t value)
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
static inline void packed_chain_add(struct machine *machine, unsigned queue, uint32_t value)
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
