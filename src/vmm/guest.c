/*
 * The wiring of the machine: one table of parts, made in its order, unmade in reverse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "mem/layout.h"
#include "vmm/cmdline.h"
#include "vmm/guest_private.h"

/* vCPUs spin for a reply as long as the executor polls for their exits. */
static int vcpus_create(struct guest *guest, struct err *err)
{
    const struct run_config *config = guest->host.config;
    const struct vm_config vm_config = {
        .kvm = guest->host.kvm,
        .mem = guest->mem,
        .executor = guest->host.executor,
        .port_bus = guest->port_bus,
        .mmio_bus = guest->mmio_bus,
        .vcpu_count = config->vcpu_count,
        .spin_us_max = config->poll_us,
        .events = &lifecycle_vm_events,
        .arg = guest,
    };

    return vm_create(&guest->vm, &vm_config, err);
}

static void vcpus_destroy(struct guest *guest)
{
    vm_destroy(guest->vm);
}

static int vcpus_reset(struct guest *guest, struct err *err)
{
    return vm_reset(guest->vm, err);
}

/* What an operation on registered memory saves is no reason not to run: it goes on without. */
static void memory_register(const struct guest *guest)
{
    struct iovec regions[GMEM_REGION_COUNT_MAX];
    size_t count = gmem_region_count(guest->mem);
    struct rlimit limit = {0};
    int ret;

    for (size_t i = 0; i < count; i++) {
        const struct gmem_region *region = gmem_region(guest->mem, i);

        regions[i] = (struct iovec){region->host, region->range.size};
    }
    ret = executor_register_memory(guest->host.executor, regions, (uint32_t)count);
    if (!ret) {
        log_info("--register-memory: %llu MiB are pinned and registered",
                 (unsigned long long)gmem_size(guest->mem) >> 20);
        return;
    }
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (ret == -ENOMEM && limit.rlim_cur < gmem_size(guest->mem))
        log_warn("--register-memory: the limit on locked memory, %llu KiB, is below --mem; goes on "
                 "without; raise it with ulimit -l",
                 (unsigned long long)limit.rlim_cur >> 10);
    else
        log_warn("--register-memory: %s; goes on without", strerror(-ret));
}

static int memory_create(struct guest *guest, struct err *err)
{
    struct gmem_range ranges[LAYOUT_RAM_RANGE_COUNT_MAX];
    uint64_t size = guest->host.config->mem_size;
    struct sysinfo info;
    size_t count;
    int ret;

    if (sysinfo(&info))
        return err_set(err, -errno, "--mem: cannot learn the host's memory: %s", strerror(errno));
    if (size > ((uint64_t)info.totalram + info.totalswap) * info.mem_unit)
        return err_set(err, -ENOMEM,
                       "--mem: %llu MiB is more than this host has (%llu MiB); choose less",
                       (unsigned long long)size >> 20,
                       ((unsigned long long)info.totalram + info.totalswap) * info.mem_unit >> 20);
    ret = layout_ram_ranges(size, ranges, &count, err);
    if (ret)
        return ret;
    ret = gmem_create(&guest->mem, ranges, count, err);
    if (!ret && guest->host.config->register_memory)
        memory_register(guest);
    return ret;
}

static void memory_destroy(struct guest *guest)
{
    gmem_destroy(guest->mem);
}

static int buses_create(struct guest *guest, struct err *err)
{
    int ret = LAYOUT_HAS_PORTS ? bus_create(&guest->port_bus, "port", err) : 0;

    return ret ? ret : bus_create(&guest->mmio_bus, "memory", err);
}

static void buses_destroy(struct guest *guest)
{
    bus_destroy(guest->mmio_bus);
    bus_destroy(guest->port_bus);
}

static int cmdline_create_part(struct guest *guest, struct err *err)
{
    return cmdline_create(&guest->cmdline, guest->host.config, err);
}

static void cmdline_destroy_part(struct guest *guest)
{
    free(guest->cmdline);
}

/* destroy is called for each part whose create was called, also where that failed: it takes what is
 * there. */
struct guest_part {
    int (*create)(struct guest *guest, struct err *err);
    void (*destroy)(struct guest *guest);
    /* Optional: back to the state after create, for a reboot; the guest is parked, virtio drained.
     */
    int (*reset)(struct guest *guest, struct err *err);
};

static const struct guest_part parts[] = {
    {cmdline_create_part, cmdline_destroy_part, NULL},
    {memory_create, memory_destroy, NULL},
    {buses_create, buses_destroy, NULL},
    {vcpus_create, vcpus_destroy, vcpus_reset},
    {streams_create, streams_destroy, NULL},
    {chips_create, chips_destroy, chips_reset},
    {slots_create, slots_destroy, slots_reset},
    {loader_create, loader_destroy, NULL},
};

static void parts_destroy(struct guest *guest, size_t count)
{
    while (count-- > 0)
        parts[count].destroy(guest);
}

int guest_create(struct guest **out, const struct guest_host *host, struct err *err)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    int ret;

    if (!guest)
        return err_set(err, -ENOMEM, "out of memory");
    guest->host = *host;
    for (size_t i = 0; i < array_count(parts); i++) {
        ret = parts[i].create(guest, err);
        if (ret) {
            parts_destroy(guest, i + 1);
            free(guest);
            return ret;
        }
    }
    *out = guest;
    return 0;
}

void guest_destroy(struct guest *guest)
{
    if (!guest)
        return;
    parts_destroy(guest, array_count(parts));
    free(guest);
}

int guest_reset(struct guest *guest, struct err *err)
{
    for (size_t i = 0; i < array_count(parts); i++) {
        int ret = parts[i].reset ? parts[i].reset(guest, err) : 0;

        if (ret)
            return ret;
    }
    return 0;
}

void guest_dump(const struct guest *guest, FILE *out)
{
    executor_dump(guest->host.executor, out);
    vm_dump(guest->vm, out);
}
