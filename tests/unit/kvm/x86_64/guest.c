#include "guest.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/check.h"

static enum bus_verdict device_access(struct guest *guest, struct bus_access *access, bool is_port)
{
    bool is_done = is_port && access->addr == PORT_DONE;

    if (is_done && access->is_write) {
        guest->done_count++;
        return BUS_DONE;
    }
    if (!access->is_write)
        access->value = guest->read_value;
    cr_assert_lt(guest->record_count, RECORD_COUNT_MAX);
    guest->records[guest->record_count++] = (struct record){
        .addr = access->addr,
        .value = access->value,
        .size = access->size,
        .is_write = access->is_write,
        .is_port = is_port,
    };
    return guest->on_access ? guest->on_access(guest, access) : BUS_DONE;
}

static enum bus_verdict port_access(struct bus_range *range, struct bus_access *access)
{
    return device_access(container_of(range, struct guest, port_range), access, true);
}

static enum bus_verdict mmio_access(struct bus_range *range, struct bus_access *access)
{
    return device_access(container_of(range, struct guest, mmio_range), access, false);
}

static const struct bus_range_ops port_ops = {.access = port_access};
static const struct bus_range_ops mmio_ops = {.access = mmio_access};

static void guest_stopped(void *arg, uint32_t vcpu_index, enum vm_stop_reason reason,
                          const char *detail)
{
    struct guest *guest = arg;

    guest->stop_count++;
    guest->stop_vcpu = vcpu_index;
    guest->stop_reason = reason;
    strncpy(guest->stop_detail, detail, sizeof(guest->stop_detail) - 1);
}

static void guest_parked(void *arg)
{
    struct guest *guest = arg;

    guest->parked_count++;
}

static void guest_ended(void *arg)
{
    struct guest *guest = arg;

    guest->ended = true;
}

static const struct vm_events guest_events = {
    .stopped = guest_stopped,
    .parked = guest_parked,
    .ended = guest_ended,
};

void guest_open(struct guest *guest, uint32_t vcpu_count)
{
    const struct gmem_range ranges[] = {{{0}, GUEST_MEM_SIZE}};
    const struct executor_config executor_config = {.poll_us_max = 20};
    struct err err;
    int ret;

    memset(guest, 0, sizeof(*guest));
    ret = kvm_open(&guest->kvm, KVM_PATH_DEFAULT, &err);
    if (ret)
        cr_skip_test("%s", err.text);
    cr_assert_eq(gmem_create(&guest->mem, ranges, 1, &err), 0, "%s", err.text);
    cr_assert_eq(executor_create(&guest->executor, &executor_config, &err), 0, "%s", err.text);
    cr_assert_eq(bus_create(&guest->port_bus, "port", &err), 0);
    cr_assert_eq(bus_create(&guest->mmio_bus, "memory", &err), 0);
    guest->port_range = (struct bus_range){
        .ops = &port_ops, .name = "test ports", .base = PORT_BASE, .len = PORT_LEN};
    guest->mmio_range = (struct bus_range){
        .ops = &mmio_ops, .name = "test memory", .base = MMIO_BASE, .len = MMIO_LEN};
    cr_assert_eq(bus_add(guest->port_bus, &guest->port_range, &err), 0);
    cr_assert_eq(bus_add(guest->mmio_bus, &guest->mmio_range, &err), 0);

    const struct vm_config config = {
        .kvm = guest->kvm,
        .mem = guest->mem,
        .executor = guest->executor,
        .port_bus = guest->port_bus,
        .mmio_bus = guest->mmio_bus,
        .vcpu_count = vcpu_count,
        .spin_us_max = 20,
        .events = &guest_events,
        .arg = guest,
    };
    cr_assert_eq(vm_create(&guest->vm, &config, &err), 0, "%s", err.text);
    cr_assert_eq(vm_start(guest->vm, &err), 0, "%s", err.text);
}

static bool guest_has_ended(void *arg)
{
    return ((struct guest *)arg)->ended;
}

void guest_close(struct guest *guest)
{
    if (!guest->ended) {
        vm_stop(guest->vm);
        guest_run_until(guest, guest_has_ended);
    }
    vm_destroy(guest->vm);
    bus_destroy(guest->port_bus);
    bus_destroy(guest->mmio_bus);
    executor_destroy(guest->executor);
    gmem_destroy(guest->mem);
    kvm_close(guest->kvm);
}

static void write_u64(struct guest *guest, uint64_t addr, uint64_t value)
{
    cr_assert_eq(gmem_write(guest->mem, gpa(addr), &value, sizeof(value)), 0);
}

/* Identity map of 4 GiB in 2 MiB pages; 64-bit code at selector 8, flat data at 16. */
static void long_mode_tables(struct guest *guest)
{
    enum { PRESENT_WRITABLE = 3, LARGE = 1 << 7 };
    uint64_t level3 = PAGE_TABLE_ADDR + 0x1000, level2 = PAGE_TABLE_ADDR + 0x2000;

    write_u64(guest, PAGE_TABLE_ADDR, level3 | PRESENT_WRITABLE);
    for (uint64_t i = 0; i < 4; i++)
        write_u64(guest, level3 + 8 * i, (level2 + 0x1000 * i) | PRESENT_WRITABLE);
    for (uint64_t i = 0; i < 2048; i++)
        write_u64(guest, level2 + 8 * i, i << 21 | LARGE | PRESENT_WRITABLE);
    write_u64(guest, GDT_ADDR + 8, 0x00af9b000000ffff);
    write_u64(guest, GDT_ADDR + 16, 0x00cf93000000ffff);
}

void guest_load(struct guest *guest, enum vm_entry_mode mode, const uint8_t *start,
                const uint8_t *end)
{
    const struct vm_entry entry = {
        .mode = mode,
        .rip = PAYLOAD_ADDR,
        .rsp = STACK_ADDR,
        .rsi = DATA_ADDR,
        .cr3 = PAGE_TABLE_ADDR,
        .gdt = gpa(GDT_ADDR),
        .gdt_limit = 23,
        .code_selector = 8,
        .data_selector = 16,
    };
    struct err err;

    cr_assert_eq(gmem_write(guest->mem, gpa(PAYLOAD_ADDR), start, (size_t)(end - start)), 0);
    if (mode == VM_ENTRY_LONG)
        long_mode_tables(guest);
    cr_assert_eq(vm_set_entry(guest->vm, &entry, &err), 0, "%s", err.text);
}

void guest_set_handler(struct guest *guest, uint8_t vector, const uint8_t *start,
                       const uint8_t *handler)
{
    uint64_t addr = PAYLOAD_ADDR + (uint64_t)(handler - start);

    /* Interrupt gate, present, code selector 8. */
    write_u64(guest, IDT_ADDR + 16 * vector,
              (addr & 0xffff) | 8 << 16 | 0x8eULL << 40 | (addr >> 16 & 0xffff) << 48);
    write_u64(guest, IDT_ADDR + 16 * vector + 8, addr >> 32);
}

struct wait {
    struct guest *guest;
    bool (*until)(void *guest);
    uint32_t stop_count;
};

static bool is_over(void *arg)
{
    const struct wait *wait = arg;

    return wait->guest->stop_count != wait->stop_count || wait->until(wait->guest);
}

void guest_run_until(struct guest *guest, bool (*until)(void *guest))
{
    struct wait wait = {.guest = guest, .until = until, .stop_count = guest->stop_count};

    cr_assert_eq(executor_run_until(guest->executor, is_over, &wait), 0);
    cr_assert(until(guest), "vCPU stopped: %s", guest->stop_detail);
}

static bool is_done(void *arg)
{
    struct guest *guest = arg;

    return guest->done_count > guest->done_seen;
}

void guest_run(struct guest *guest)
{
    vm_resume(guest->vm);
    guest_run_until(guest, is_done);
    guest->done_seen++;
}

static bool is_parked(void *arg)
{
    struct guest *guest = arg;

    return guest->parked_count > guest->parked_seen;
}

void guest_pause(struct guest *guest)
{
    vm_pause(guest->vm);
    guest_run_until(guest, is_parked);
    guest->parked_seen++;
}

void guest_check_record(const struct guest *guest, uint32_t index, bool is_write, uint64_t addr,
                        uint8_t size, uint64_t value)
{
    const struct record *record = &guest->records[index];

    cr_assert_lt(index, guest->record_count, "only %u accesses", guest->record_count);
    cr_assert(record->is_write == is_write && record->addr == addr && record->size == size &&
                  record->value == value,
              "access %u is %s of %u bytes at 0x%llx: 0x%llx", index,
              record->is_write ? "write" : "read", record->size, (unsigned long long)record->addr,
              (unsigned long long)record->value);
}
