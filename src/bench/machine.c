#include "bench/machine.h"

#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/monitor.h"
#include "bench/payload.h"
#include "mem/layout.h"

struct arguments {
    const char *list[MONITOR_ARGS_MAX];
    unsigned count;
};

static void add(struct arguments *arguments, const char *option, const char *value)
{
    CHECK_CMP(arguments->count, <, MONITOR_ARGS_MAX - 2U);
    arguments->list[arguments->count++] = option;
    if (value)
        arguments->list[arguments->count++] = value;
}

/* What the device's option and the guest's command line have about its ring and transport. */
struct device_words {
    char option[MONITOR_LINE_SIZE];
    char params[128];
};

static void device_words_print(const struct machine_config *config, struct device_words *words)
{
    const char *device = config->disk ? config->disk : config->net;

    snprintf(words->option, sizeof(words->option), "%s%s%s", device ? device : "",
             config->packed ? ",packed-queue" : "", config->mmio ? ",transport=mmio" : "");
    snprintf(words->params, sizeof(words->params), "packed=%d", config->packed);
    if (config->mmio)
        snprintf(words->params, sizeof(words->params), "packed=%d virtio_mmio.device=%d@0x%llx:%d",
                 config->packed, LAYOUT_VIRTIO_MMIO_LEN, LAYOUT_VIRTIO_MMIO_BASE,
                 LAYOUT_GSI_VIRTIO_BASE);
}

int machine_run(const struct machine_config *config, struct reader *reader, struct err *err)
{
    struct arguments arguments = {.count = 0};
    struct monitor_config monitor = {
        .timeout_ns = config->timeout_ns, .line = reader_line, .arg = reader};
    struct device_words words;
    char kernel[32], mem[24];
    int fd, ret = payload_open(&fd, err);

    if (ret)
        return ret;
    snprintf(kernel, sizeof(kernel), "/proc/self/fd/%d", fd);
    snprintf(mem, sizeof(mem), "%llu", (unsigned long long)config->mem_mib);
    add(&arguments, "/proc/self/exe", "run");
    add(&arguments, "--mem", mem);
    add(&arguments, "--serial", "type=stdout");
    add(&arguments, "--no-rng", "--exit-on-reset");
    device_words_print(config, &words);
    add(&arguments, "--params", config->params);
    add(&arguments, "--params", words.params);
    add(&arguments, "--kvm-device", config->kvm_path);
    if (config->disk)
        add(&arguments, "--block", words.option);
    else if (config->net)
        add(&arguments, "--net", words.option);
    if (config->poll_us)
        add(&arguments, "--poll-us", config->poll_us);
    add(&arguments, kernel, NULL);
    /* posix_spawn does not write to them. */
    monitor.argv = (char *const *)(uintptr_t)arguments.list;
    ret = monitor_run(&monitor, err);
    close(fd);
    return ret ? ret : reader_finish(reader, err);
}
