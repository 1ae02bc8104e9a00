/*
 * A virtio device behind its MMIO transport, driven by the fuzzer as a guest does: registers and
 * configuration space of any offset and width, doorbells, ring memory, and turns of the executor in
 * between, in any order. One step sets the device up as a driver would, so that short inputs get to
 * a running queue. Whatever happened, the interrupt line is high exactly while InterruptStatus is
 * not 0, and the device stops, answers every access once and leaves nothing behind.
 */
#include "virtio/mmio.h"

#include <linux/virtio_mmio.h>

#include "virtio_machine.h"

#define MMIO_BASE 0xfeb00000ULL

struct mmio_machine {
    struct machine base;
    struct virtio_mmio *mmio;
    bool level;
};

static void line_set(void *chip, uint32_t gsi, bool level)
{
    (void)gsi;
    ((struct mmio_machine *)chip)->level = level;
}

static const struct irq_line_ops line_ops = {.set = line_set};

static void transport_create(struct mmio_machine *machine)
{
    const struct virtio_mmio_config config = {
        .bus = machine->base.mmio_bus,
        .base = MMIO_BASE,
        .irq = {&line_ops, machine, 0},
        .doorbells = {&doorbell_ops, &machine->base},
    };

    if (virtio_mmio_create(&machine->mmio, &machine->base.device, &config, NULL))
        abort();
}

static void transport_destroy(struct mmio_machine *machine)
{
    virtio_mmio_shutdown(machine->mmio, machine_stopped, &machine->base);
    machine_await_stop(&machine->base);
    virtio_mmio_destroy(machine->mmio);
    require(!machine->level);
}

/* ---- steps ---- */

static void register_write(struct machine *machine, uint32_t offset, uint32_t value)
{
    write_at(machine, MMIO_BASE + offset, 4, value);
}

/* 3.1.1, with `features` of the lower word. */
static void driver_start(struct machine *machine, uint32_t features, bool packed)
{
    register_write(machine, VIRTIO_MMIO_STATUS, 0);
    machine_run(machine, TURNS_MAX);
    register_write(machine, VIRTIO_MMIO_STATUS, 3);
    register_write(machine, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    register_write(machine, VIRTIO_MMIO_DRIVER_FEATURES, features & 0x30000005);
    register_write(machine, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    register_write(machine, VIRTIO_MMIO_DRIVER_FEATURES, packed ? 5 : 1);
    register_write(machine, VIRTIO_MMIO_STATUS, 11);
    for (unsigned i = 0; i < QUEUE_COUNT; i++) {
        register_write(machine, VIRTIO_MMIO_QUEUE_SEL, i);
        register_write(machine, VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
        register_write(machine, VIRTIO_MMIO_QUEUE_DESC_LOW, i * RING_STEP);
        register_write(machine, VIRTIO_MMIO_QUEUE_AVAIL_LOW, i * RING_STEP + 0x100);
        register_write(machine, VIRTIO_MMIO_QUEUE_USED_LOW, i * RING_STEP + 0x200);
        register_write(machine, VIRTIO_MMIO_QUEUE_READY, 1);
    }
    register_write(machine, VIRTIO_MMIO_STATUS, 15);
}

/* 4.2.2: a queue that is not ready is none. */
static void queues_check(const struct machine *machine)
{
    for (unsigned i = 0; i < QUEUE_COUNT; i++)
        require(machine->device.state.queues[i].enabled || !machine->device.queues[i].vq.size);
}

static void step_run(struct machine *machine, const uint8_t *step)
{
    uint8_t size = (uint8_t)(1U << (step[1] & 3));
    uint32_t offset = step[2] | (uint32_t)step[3] << 8, value;

    memcpy(&value, step + 4, sizeof(value));
    switch (step[0] % 8) {
    case 0:
        driver_start(machine, value, step[1] & 1);
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
        register_write(machine, VIRTIO_MMIO_QUEUE_NOTIFY, value % (QUEUE_COUNT + 1));
        return;
    case 5: /* a register as it wants to be accessed */
        if (step[1] & 4)
            register_write(machine, offset % 0x110 & ~3U, value % (step[1] & 8 ? 2 : UINT32_MAX));
        else
            machine_access(machine, (struct bus_access){.addr = MMIO_BASE + (offset % 0x110 & ~3U),
                                                        .size = 4});
        return;
    default:
        machine_access(machine, (struct bus_access){.addr = MMIO_BASE + offset % VIRTIO_MMIO_LEN,
                                                    .size = size,
                                                    .is_write = step[1] & 4,
                                                    .value = value | (uint64_t)value << 32});
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mmio_machine machine;

    log_set_level(LOG_ERROR);
    machine_create(&machine.base);
    transport_create(&machine);
    for (; size >= STEP_SIZE; data += STEP_SIZE, size -= STEP_SIZE) {
        step_run(&machine.base, data);
        require(machine.level == !!machine.base.device.state.isr);
        queues_check(&machine.base);
    }
    transport_destroy(&machine);
    machine_destroy(&machine.base);
    return 0;
}
