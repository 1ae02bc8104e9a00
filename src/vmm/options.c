#include "vmm/options.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "cli/keyval.h"
#include "cli/option.h"
#include "vmm/device_options.h"

enum {
    MEM_SIZE_DEFAULT_MIB = 256,
    MEM_SIZE_MIN_MIB = 16,
    POLL_US_DEFAULT = 20,
    POLL_US_MAX = 10000,
};

/* crosvm has keys in what is one number here: `-m size=512`, `-c num-cores=2`. */
static const char *without_key(const char *value, const char *key)
{
    size_t len = strlen(key);

    return !strncmp(value, key, len) && value[len] == '=' ? value + len + 1 : value;
}

static int apply_mem(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    const char *size = without_key(value, "size");
    int ret = keyval_mem_size("--mem", size, &config->mem_size, err);

    if (ret)
        return ret;
    if (config->mem_size < (uint64_t)MEM_SIZE_MIN_MIB << 20 || config->mem_size % (1 << 20))
        return err_set(err, -ERANGE, "--mem: %s must be whole MiB, at least %d", size,
                       MEM_SIZE_MIN_MIB);
    return 0;
}

static int apply_cpus(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    uint64_t count = 0;
    int ret = keyval_u64("--cpus", without_key(value, "num-cores"), 1, VCPU_COUNT_MAX, &count, err);

    config->vcpu_count = (uint32_t)count;
    return ret;
}

static int apply_params(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    if (config->param_count == CONFIG_PARAM_COUNT_MAX)
        return err_set(err, -EINVAL, "--params: given more than %d times", CONFIG_PARAM_COUNT_MAX);
    config->params[config->param_count++] = value;
    return 0;
}

static int apply_initrd(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    (void)err;
    config->initrd_path = value;
    return 0;
}

static int apply_poll_us(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    uint64_t number = 0;
    int ret = keyval_u64("--poll-us", value, 0, POLL_US_MAX, &number, err);

    config->poll_us = (uint32_t)number;
    return ret;
}

static int apply_log_level(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    if (log_level_parse(value, &config->log_level))
        return err_set(err, -EINVAL, "--log-level: '%s' is not one of error, warn, info, debug",
                       value);
    return 0;
}

static int apply_kvm_device(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    (void)err;
    config->kvm_path = value;
    return 0;
}

static int apply_no_rng(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    (void)value;
    (void)err;
    config->no_rng = true;
    return 0;
}

static int apply_no_notify_ports(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    (void)value;
    (void)err;
    config->no_notify_ports = true;
    return 0;
}

static int apply_exit_on_reset(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    (void)value;
    (void)err;
    config->exit_on_reset = true;
    return 0;
}

static int apply_register_memory(void *arg, char *value, struct err *err)
{
    struct run_config *config = arg;
    (void)value;
    (void)err;
    config->register_memory = true;
    return 0;
}

static const struct option_def options[] = {
    {'m', "mem", "SIZE", false, false,
     "guest memory in MiB, or with K, M or G; at least 16 MiB\n(default 256); with 1G and more, of "
     "huge pages where the\nhost has them",
     apply_mem},
    {'c', "cpus", "COUNT", false, false, "virtual CPUs, 1 to 64 (default 1)", apply_cpus},
    {'p', "params", "TEXT", true, true, "added to the kernel's command line; may be repeated",
     apply_params},
    {'i', "initrd", "PATH", false, false, "initial RAM disk (default: none)", apply_initrd},
    {'b', "block", "PATH[,KEY...]", true, false,
     "a raw disk image or block device as virtio-blk; may be repeated\n"
     "  path=PATH       the same, as a key\n"
     "  ro              read-only\n"
     "  root            root=/dev/vdX is added to the command line\n"
     "  direct          bypass the host's page cache (O_DIRECT)\n"
     "  iopoll          with direct: ask the device for completions, instead of being\n"
     "                  interrupted; takes a whole CPU while there are requests\n"
     "  id=TEXT         serial number that the guest sees, at most 20 bytes\n"
     "                  (default: none)\n"
     "  queues=COUNT    request queues, 1 to 16 (default: one per CPU)\n"
     "  packed-queue    offer packed virtqueues, too (default: split ones only)\n"
     "  in-order        offer to answer requests in their order, which is simpler for a\n"
     "                  driver that takes it, but makes them wait (default: no)\n"
     "  transport=NAME  pci (default) or mmio, which ACPI announces\n"
     "  block-size=SIZE logical block size in bytes, 512 to 4096\n"
     "                  (default: the host's)\n"
     "  bw=SIZE         limit of what is read and written in a second, all queues\n"
     "                  together, in MiB, or with K, M or G (default: none)\n"
     "  bw-burst=SIZE   so much at once, after a pause (default: a tenth of bw)\n"
     "  ops=COUNT       limit of requests in a second (default: none)\n"
     "  ops-burst=COUNT so many at once, after a pause (default: a tenth of ops)",
     block_option_apply},
    {0, "net", "tap-name=NAME|tap-fd=FD[,KEY...]", true, false,
     "a tap interface as virtio-net; may be repeated\n"
     "  tap-name=NAME   an interface, which is created if it does not exist\n"
     "  tap-fd=FD       or a tap that the caller has opened\n"
     "  mac=ADDRESS     the guest's address (default: derived from the tap's name)\n"
     "  vq-pairs=COUNT  queue pairs, 1 to 8 (default 1)\n"
     "  packed-queue    offer packed virtqueues, too (default: split ones only)\n"
     "  transport=NAME  pci (default) or mmio, which ACPI announces\n"
     "  vhost           the host's kernel moves the frames (vhost-net)\n"
     "  mtu=BYTES       of guest and tap, 68 to 65521 (default: the tap's, and the\n"
     "                  guest is not told)\n"
     "  rx-bw=SIZE      limit of what the guest gets in a second, in MiB, or with\n"
     "                  K, M or G (default: none); tx-bw of what it sends\n"
     "  rx-bw-burst=SIZE  so much at once, after a pause (default: a tenth of\n"
     "                  rx-bw); tx-bw-burst likewise\n"
     "  rx-packets=COUNT  limit of packets in a second (default: none); tx-packets\n"
     "  rx-packets-burst=COUNT  so many at once (default: a tenth); tx-packets-burst",
     net_option_apply},
    {0, "serial", "type=TYPE[,KEY...]", true, false,
     "a serial port or console; may be repeated\n"
     "  (default: type=stdout,console)\n"
     "  type=TYPE       stdout, file, sink or pty\n"
     "  hardware=NAME   serial (default), virtio-console or debugcon\n"
     "  num=NUMBER      1 to 4: COM1 to COM4 (default 1)\n"
     "  path=PATH       of type=file, which is appended to\n"
     "  console         console=... is added to the command line\n"
     "  stdin           takes the terminal's input (default for the first on stdout)\n"
     "  packed-queue    of hardware=virtio-console: offer packed virtqueues, too",
     serial_option_apply},
    {0, "rng", "KEY[,KEY...]", false, false,
     "about the virtio-rng device\n"
     "  packed-queue    offer packed virtqueues, too (default: split ones only)",
     rng_option_apply},
    {0, "no-rng", NULL, false, false, "no virtio-rng device", apply_no_rng},
    {0, "no-notify-ports", NULL, false, false,
     "virtio-pci queues are notified in memory only: for drivers that know no ports",
     apply_no_notify_ports},
    {0, "exit-on-reset", NULL, false, false,
     "end when the guest reboots, instead of restarting it in place", apply_exit_on_reset},
    {0, "poll-us", "MICROSECONDS", false, false,
     "upper bound of polling before the executor sleeps, 0 to 10000;\n"
     "0 turns it off (default 20)",
     apply_poll_us},
    {0, "register-memory", NULL, false, false,
     "pin all of the guest's memory and register it with io_uring, which makes\n"
     "requests of one buffer cheaper; where the limit on locked memory (ulimit -l)\n"
     "does not allow it, a warning says so, and the guest runs without",
     apply_register_memory},
    {0, "kvm-device", "PATH", false, false, "the KVM device (default /dev/kvm)", apply_kvm_device},
    {0, "log-level", "LEVEL", false, false, "error, warn (default), info or debug",
     apply_log_level},
};

static const struct option_table table = {
    .command = "ringvm run",
    .intro = "usage: ringvm run [OPTIONS] KERNEL\n"
             "\n"
             "Boots KERNEL (bzImage, Image, ELF or PVH image) and runs the guest until it ends.\n"
             "Ctrl-A x ends it from the terminal, Ctrl-A h lists the other keys.\n",
    .options = options,
    .count = array_count(options),
    .outro = "exit status:\n"
             "   0  powered off by the guest\n"
             "   1  the host could not start or continue it; one line says why\n"
             "  31  stopped from outside: SIGTERM, SIGINT, Ctrl-A x\n"
             "  33  a vCPU stopped in a way that no guest asks for\n"
             "  34  the guest panicked\n"
             "  35  bad arguments\n"
             "  40  told to end twice, or a disk of the host does not answer: not ended in order\n"
             "  32, 36, 37, 38, 39  with --exit-on-reset: reset through the keyboard controller,\n"
             "                      port 0xcf9, the ACPI reset register, a triple fault, PSCI\n"
             "\n"
             "signals:\n"
             "  SIGTERM, SIGINT  end the guest at once; a second one does not wait for what it\n"
             "                   asked of the host's disks, nor does the first for long\n"
             "  SIGPWR           presses the guest's power button\n"
             "  SIGUSR1          writes what every task and vCPU is doing to standard error\n",
};

/* `first` is the index of the first argument. */
static int kernel_take(struct run_config *config, int first, int argc, char **argv, struct err *err)
{
    if (first == argc || !*argv[first])
        return err_set(err, -EINVAL, "no kernel given; write ringvm run [OPTIONS] KERNEL");
    if (first + 1 < argc)
        return err_set(err, -EINVAL, "unexpected argument '%s' after the kernel %s",
                       argv[first + 1], argv[first]);
    config->kernel_path = argv[first];
    return 0;
}

int options_parse(int argc, char **argv, struct run_config *config, bool *wants_help,
                  struct err *err)
{
    int first, ret;

    *config = (struct run_config){
        .mem_size = (uint64_t)MEM_SIZE_DEFAULT_MIB << 20,
        .vcpu_count = 1,
        .kvm_path = "/dev/kvm",
        .poll_us = POLL_US_DEFAULT,
        .log_level = LOG_WARN,
    };
    ret = option_parse(&table, argc, argv, config, wants_help, &first, err);
    if (ret || *wants_help)
        return ret;
    if (!config->serial_count)
        config->serials[config->serial_count++] = (struct serial_option){
            .type = SERIAL_STDOUT, .num = 1, .console = true, .takes_stdin = true};
    return kernel_take(config, first, argc, argv, err);
}

void options_print_help(FILE *out)
{
    option_print_help(&table, out);
}
