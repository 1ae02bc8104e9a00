#include "contestant.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/payload.h"

const char *const contestant_names[CONTESTANT_COUNT] = {
    [RINGVM] = "ringvm",
    [QEMU_Q35] = "QEMU q35",
    [QEMU_MICROVM] = "QEMU microvm",
};

struct arguments {
    const char *list[MONITOR_ARGS_MAX];
    unsigned count;
    char mem[16], disk[192], net[48];
};

static void add(struct arguments *arguments, const char *option, const char *value)
{
    CHECK_CMP(arguments->count, <, MONITOR_ARGS_MAX - 2U);
    arguments->list[arguments->count++] = option;
    if (value)
        arguments->list[arguments->count++] = value;
}

static void ringvm_add(struct arguments *arguments, const struct contestant_config *config)
{
    add(arguments, "build/ringvm", "run");
    add(arguments, "--mem", arguments->mem);
    add(arguments, "--no-rng", NULL);
    add(arguments, "--serial", "type=stdout");
    if (config->disk) {
        snprintf(arguments->disk, sizeof(arguments->disk), "path=%s,ro,queues=1", config->disk);
        add(arguments, "--block", arguments->disk);
    }
    if (config->tap_fd >= 0) {
        snprintf(arguments->net, sizeof(arguments->net), "tap-fd=%d", config->tap_fd);
        add(arguments, "--net", arguments->net);
    }
    add(arguments, "--params", config->params);
}

static void qemu_disk_add(struct arguments *arguments, const char *disk, bool is_q35)
{
    snprintf(arguments->disk, sizeof(arguments->disk),
             "driver=file,node-name=disk,aio=io_uring,read-only=on,locking=off,filename=%s", disk);
    add(arguments, "-object", "iothread,id=thread");
    add(arguments, "-blockdev", arguments->disk);
    add(arguments, "-device",
        is_q35 ? "virtio-blk-pci,drive=disk,iothread=thread,disable-legacy=on"
               : "virtio-blk-device,drive=disk,iothread=thread");
}

static void qemu_net_add(struct arguments *arguments, int tap_fd, bool is_q35)
{
    snprintf(arguments->net, sizeof(arguments->net), "tap,id=net,fd=%d", tap_fd);
    add(arguments, "-netdev", arguments->net);
    add(arguments, "-device",
        is_q35 ? "virtio-net-pci,netdev=net,disable-legacy=on,romfile="
               : "virtio-net-device,netdev=net");
}

static void qemu_add(struct arguments *arguments, const struct contestant_config *config,
                     bool is_q35)
{
    add(arguments, "tools/qemu.sh", NULL);
    add(arguments, "-accel", "kvm");
    /* Of an MSR that not every KVM has. */
    add(arguments, "-cpu", "host,-arch-capabilities");
    add(arguments, "-M", is_q35 ? "q35" : "microvm,acpi=off");
    add(arguments, "-bios", "qboot.rom");
    add(arguments, "-m", arguments->mem);
    add(arguments, "-nodefaults", "-no-user-config");
    add(arguments, "-no-reboot", NULL);
    add(arguments, "-display", "none");
    add(arguments, "-serial", "stdio");
    add(arguments, "-global", "virtio-mmio.force-legacy=false");
    if (config->disk)
        qemu_disk_add(arguments, config->disk, is_q35);
    if (config->tap_fd >= 0)
        qemu_net_add(arguments, config->tap_fd, is_q35);
    add(arguments, "-append", config->params);
    add(arguments, "-kernel", NULL);
}

int contestant_run(enum contestant contestant, const struct contestant_config *config,
                   struct monitor_config *monitor, struct err *err)
{
    struct arguments arguments = {.count = 0};
    char kernel[32];
    int fd, ret = payload_open(&fd, err);

    if (ret)
        return ret;
    snprintf(arguments.mem, sizeof(arguments.mem), "%d", CONTESTANT_MEM_MIB);
    if (contestant == RINGVM)
        ringvm_add(&arguments, config);
    else
        qemu_add(&arguments, config, contestant == QEMU_Q35);
    snprintf(kernel, sizeof(kernel), "/proc/self/fd/%d", fd);
    add(&arguments, kernel, NULL);
    /* posix_spawn does not write to them. */
    monitor->argv = (char *const *)(uintptr_t)arguments.list;
    ret = monitor_run(monitor, err);
    close(fd);
    return ret;
}
