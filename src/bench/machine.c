#include "bench/machine.h"

#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "bench/monitor.h"
#include "bench/payload.h"

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

int machine_run(const struct machine_config *config, struct reader *reader, struct err *err)
{
    struct arguments arguments = {.count = 0};
    struct monitor_config monitor = {
        .timeout_ns = config->timeout_ns, .line = reader_line, .arg = reader};
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
    add(&arguments, "--params", config->params);
    add(&arguments, "--kvm-device", config->kvm_path);
    if (config->disk)
        add(&arguments, "--block", config->disk);
    if (config->net)
        add(&arguments, "--net", config->net);
    if (config->poll_us)
        add(&arguments, "--poll-us", config->poll_us);
    add(&arguments, kernel, NULL);
    /* posix_spawn does not write to them. */
    monitor.argv = (char *const *)(uintptr_t)arguments.list;
    ret = monitor_run(&monitor, err);
    close(fd);
    return ret ? ret : reader_finish(reader, err);
}
