#include "vmm/options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/limits.h"
#include "vmm/keyval.h"

enum {
    MEM_SIZE_DEFAULT_MIB = 256,
    MEM_SIZE_MIN_MIB = 16,
    POLL_US_DEFAULT = 20,
    POLL_US_MAX = 10000,
    DISK_ID_LEN_MAX = 20,
    DISK_QUEUE_COUNT_MAX = 16,
    NET_PAIR_COUNT_MAX = 8,
    MTU_MIN = 68,
    MTU_MAX = 65521, /* 65535 less the Ethernet header */
};

struct option_def {
    char short_name; /* 0: none */
    const char *name;
    const char *metavar; /* NULL: takes no value */
    const char *help;    /* lines after the first are indented when printed */
    int (*apply)(struct run_config *config, char *value, struct err *err);
};

static int apply_mem(struct run_config *config, char *value, struct err *err)
{
    int ret = keyval_mem_size("--mem", value, &config->mem_size, err);

    if (ret)
        return ret;
    if (config->mem_size < (uint64_t)MEM_SIZE_MIN_MIB << 20 || config->mem_size % (1 << 20))
        return err_set(err, -ERANGE, "--mem: %s must be whole MiB, at least %d", value,
                       MEM_SIZE_MIN_MIB);
    return 0;
}

static int apply_cpus(struct run_config *config, char *value, struct err *err)
{
    uint64_t count;
    int ret = keyval_u64("--cpus", value, 1, VCPU_COUNT_MAX, &count, err);

    config->vcpu_count = (uint32_t)count;
    return ret;
}

static int apply_params(struct run_config *config, char *value, struct err *err)
{
    if (config->param_count == CONFIG_PARAM_COUNT_MAX)
        return err_set(err, -EINVAL, "--params: given more than %d times", CONFIG_PARAM_COUNT_MAX);
    config->params[config->param_count++] = value;
    return 0;
}

static int apply_initrd(struct run_config *config, char *value, struct err *err)
{
    if (config->initrd_path)
        return err_set(err, -EINVAL, "--initrd: given twice");
    config->initrd_path = value;
    return 0;
}

static int disk_key(struct disk_option *disk, const struct keyval *entry, struct err *err)
{
    uint64_t number;
    int ret;

    if (!strcmp(entry->key, "path")) {
        disk->path = entry->value;
        return entry->value ? 0 : err_set(err, -EINVAL, "--block: path needs a value");
    }
    if (!strcmp(entry->key, "ro"))
        return keyval_bool("--block: ro", entry->value, &disk->read_only, err);
    if (!strcmp(entry->key, "root"))
        return keyval_bool("--block: root", entry->value, &disk->root, err);
    if (!strcmp(entry->key, "direct"))
        return keyval_bool("--block: direct", entry->value, &disk->direct, err);
    if (!strcmp(entry->key, "id")) {
        disk->id = entry->value;
        if (!entry->value || strlen(entry->value) > DISK_ID_LEN_MAX)
            return err_set(err, -EINVAL, "--block: id needs a value of at most %d bytes",
                           DISK_ID_LEN_MAX);
        return 0;
    }
    if (!strcmp(entry->key, "queues")) {
        ret = keyval_u64("--block: queues", entry->value, 1, DISK_QUEUE_COUNT_MAX, &number, err);
        disk->queue_count = (uint16_t)number;
        return ret;
    }
    if (!strcmp(entry->key, "block-size")) {
        ret = keyval_u64("--block: block-size", entry->value, 512, 4096, &number, err);
        if (!ret && (number & (number - 1)))
            ret = err_set(err, -EINVAL, "--block: block-size must be 512, 1024, 2048 or 4096");
        disk->block_size = (uint32_t)number;
        return ret;
    }
    return err_set(err, -EINVAL,
                   "--block: unknown key '%s'; known are path, ro, root, direct, id, queues, "
                   "block-size",
                   entry->key);
}

static int apply_block(struct run_config *config, char *value, struct err *err)
{
    struct disk_option disk = {0};
    struct keyval entry;
    bool first = true;
    int ret;

    if (config->disk_count == CONFIG_DISK_COUNT_MAX)
        return err_set(err, -EINVAL, "--block: more than %d disks", CONFIG_DISK_COUNT_MAX);
    for (char *rest = value; keyval_next(&rest, &entry); first = false) {
        if (first && !entry.value) {
            disk.path = entry.key;
            continue;
        }
        ret = disk_key(&disk, &entry, err);
        if (ret)
            return ret;
    }
    if (!disk.path || !*disk.path)
        return err_set(err, -EINVAL, "--block: no path; write --block PATH[,ro,...]");
    for (size_t i = 0; disk.root && i < config->disk_count; i++)
        if (config->disks[i].root)
            return err_set(err, -EINVAL, "--block: both %s and %s are root; only one disk can be",
                           config->disks[i].path, disk.path);
    config->disks[config->disk_count++] = disk;
    return 0;
}

static int net_key(struct net_option *net, const struct keyval *entry, struct err *err)
{
    uint64_t number;
    int ret;

    if (!strcmp(entry->key, "tap-name")) {
        net->tap_name = entry->value;
        return entry->value && *entry->value
                   ? 0
                   : err_set(err, -EINVAL, "--net: tap-name needs a value");
    }
    if (!strcmp(entry->key, "tap-fd")) {
        ret = keyval_u64("--net: tap-fd", entry->value, 0, INT32_MAX, &number, err);
        net->tap_fd = ret ? -1 : (int)number;
        return ret;
    }
    if (!strcmp(entry->key, "mac")) {
        net->has_mac = true;
        return keyval_mac("--net: mac", entry->value, net->mac, err);
    }
    if (!strcmp(entry->key, "vq-pairs")) {
        ret = keyval_u64("--net: vq-pairs", entry->value, 1, NET_PAIR_COUNT_MAX, &number, err);
        net->pair_count = (uint16_t)number;
        return ret;
    }
    if (!strcmp(entry->key, "mtu")) {
        ret = keyval_u64("--net: mtu", entry->value, MTU_MIN, MTU_MAX, &number, err);
        net->mtu = (uint16_t)number;
        return ret;
    }
    return err_set(err, -EINVAL,
                   "--net: unknown key '%s'; known are tap-name, tap-fd, mac, vq-pairs, mtu",
                   entry->key);
}

static int apply_net(struct run_config *config, char *value, struct err *err)
{
    struct net_option net = {.tap_fd = -1, .pair_count = 1};
    struct keyval entry;
    int ret;

    if (config->net_count == CONFIG_NET_COUNT_MAX)
        return err_set(err, -EINVAL, "--net: more than %d interfaces", CONFIG_NET_COUNT_MAX);
    for (char *rest = value; keyval_next(&rest, &entry);) {
        ret = net_key(&net, &entry, err);
        if (ret)
            return ret;
    }
    if (!net.tap_name == (net.tap_fd < 0))
        return err_set(err, -EINVAL, "--net: give exactly one of tap-name=NAME and tap-fd=NUMBER");
    config->nets[config->net_count++] = net;
    return 0;
}

static const char *const serial_type_names[SERIAL_TYPE_COUNT] = {
    [SERIAL_STDOUT] = "stdout",
    [SERIAL_FILE] = "file",
    [SERIAL_SINK] = "sink",
    [SERIAL_PTY] = "pty",
};
static const char *const serial_hardware_names[SERIAL_HW_COUNT] = {
    [SERIAL_HW_16550] = "serial",
    [SERIAL_HW_VIRTIO_CONSOLE] = "virtio-console",
    [SERIAL_HW_DEBUGCON] = "debugcon",
};

static int serial_key(struct serial_option *serial, const struct keyval *entry, struct err *err)
{
    uint64_t number;
    unsigned choice;
    int ret;

    if (!strcmp(entry->key, "type")) {
        ret = keyval_choice("--serial: type", entry->value, serial_type_names, SERIAL_TYPE_COUNT,
                            &choice, err);
        if (!ret)
            serial->type = (enum serial_type)choice;
        return ret;
    }
    if (!strcmp(entry->key, "hardware")) {
        ret = keyval_choice("--serial: hardware", entry->value, serial_hardware_names,
                            SERIAL_HW_COUNT, &choice, err);
        if (!ret)
            serial->hardware = (enum serial_hardware)choice;
        return ret;
    }
    if (!strcmp(entry->key, "num")) {
        ret = keyval_u64("--serial: num", entry->value, 1, CONFIG_COM_COUNT, &number, err);
        serial->num = (uint8_t)number;
        return ret;
    }
    if (!strcmp(entry->key, "path")) {
        serial->path = entry->value;
        return entry->value ? 0 : err_set(err, -EINVAL, "--serial: path needs a value");
    }
    if (!strcmp(entry->key, "console"))
        return keyval_bool("--serial: console", entry->value, &serial->console, err);
    if (!strcmp(entry->key, "stdin"))
        return keyval_bool("--serial: stdin", entry->value, &serial->takes_stdin, err);
    return err_set(err, -EINVAL,
                   "--serial: unknown key '%s'; known are type, hardware, num, path, console, "
                   "stdin",
                   entry->key);
}

static int serial_check(const struct run_config *config, const struct serial_option *serial,
                        struct err *err)
{
    if ((serial->type == SERIAL_FILE) != (serial->path != NULL))
        return err_set(err, -EINVAL, "--serial: type=file and path=PATH go together");
    if (serial->takes_stdin && serial->type != SERIAL_STDOUT)
        return err_set(err, -EINVAL, "--serial: stdin goes with type=stdout");
    if (serial->num > 1 && serial->hardware != SERIAL_HW_16550)
        return err_set(err, -EINVAL, "--serial: there is only num=1 of hardware=%s",
                       serial_hardware_names[serial->hardware]);
    for (size_t i = 0; i < config->serial_count; i++) {
        const struct serial_option *other = &config->serials[i];

        if (other->hardware == serial->hardware && other->num == serial->num)
            return err_set(err, -EINVAL, "--serial: two of hardware=%s have num=%d",
                           serial_hardware_names[serial->hardware], serial->num);
        if (other->takes_stdin && serial->takes_stdin)
            return err_set(err, -EINVAL, "--serial: only one can take stdin");
        if (other->console && serial->console && other->hardware == serial->hardware)
            return err_set(err, -EINVAL, "--serial: only one hardware=%s can be console",
                           serial_hardware_names[serial->hardware]);
    }
    return 0;
}

static int apply_serial(struct run_config *config, char *value, struct err *err)
{
    struct serial_option serial = {.type = SERIAL_TYPE_COUNT, .num = 1};
    struct keyval entry;
    bool stdin_given = false;
    int ret;

    if (config->serial_count == CONFIG_SERIAL_COUNT_MAX)
        return err_set(err, -EINVAL, "--serial: more than %d ports", CONFIG_SERIAL_COUNT_MAX);
    for (char *rest = value; keyval_next(&rest, &entry);) {
        stdin_given |= !strcmp(entry.key, "stdin");
        ret = serial_key(&serial, &entry, err);
        if (ret)
            return ret;
    }
    if (serial.type == SERIAL_TYPE_COUNT)
        return err_set(err, -EINVAL, "--serial: no type; write --serial type=stdout");
    /* The first port on stdout is the one a user types to, unless told otherwise. */
    if (!stdin_given && serial.type == SERIAL_STDOUT && serial.hardware != SERIAL_HW_DEBUGCON) {
        serial.takes_stdin = true;
        for (size_t i = 0; i < config->serial_count; i++)
            serial.takes_stdin &= !config->serials[i].takes_stdin;
    }
    ret = serial_check(config, &serial, err);
    if (ret)
        return ret;
    config->serials[config->serial_count++] = serial;
    return 0;
}

static int apply_poll_us(struct run_config *config, char *value, struct err *err)
{
    uint64_t number;
    int ret = keyval_u64("--poll-us", value, 0, POLL_US_MAX, &number, err);

    config->poll_us = (uint32_t)number;
    return ret;
}

static int apply_log_level(struct run_config *config, char *value, struct err *err)
{
    if (log_level_parse(value, &config->log_level))
        return err_set(err, -EINVAL, "--log-level: '%s' is not one of error, warn, info, debug",
                       value);
    return 0;
}

static int apply_kvm_device(struct run_config *config, char *value, struct err *err)
{
    (void)err;
    config->kvm_path = value;
    return 0;
}

static int apply_no_rng(struct run_config *config, char *value, struct err *err)
{
    (void)value;
    (void)err;
    config->no_rng = true;
    return 0;
}

static int apply_exit_on_reset(struct run_config *config, char *value, struct err *err)
{
    (void)value;
    (void)err;
    config->exit_on_reset = true;
    return 0;
}

static const struct option_def options[] = {
    {'m', "mem", "SIZE", "guest memory in MiB, or with K, M or G (default 256)", apply_mem},
    {'c', "cpus", "COUNT", "virtual CPUs, 1 to 64 (default 1)", apply_cpus},
    {'p', "params", "TEXT", "added to the kernel's command line; may be repeated", apply_params},
    {'i', "initrd", "PATH", "initial RAM disk", apply_initrd},
    {'b', "block", "PATH[,KEY...]",
     "a raw disk image or block device as virtio-blk; may be repeated\n"
     "  ro              read-only\n"
     "  root            root=/dev/vdX is added to the command line\n"
     "  direct          bypass the host's page cache (O_DIRECT)\n"
     "  id=TEXT         serial number that the guest sees, at most 20 bytes\n"
     "  queues=COUNT    request queues (default: one per CPU)\n"
     "  block-size=SIZE logical block size in bytes (default: the host's)",
     apply_block},
    {0, "net", "tap-name=NAME|tap-fd=FD[,KEY...]",
     "a tap interface as virtio-net; may be repeated\n"
     "  tap-name=NAME   an interface, which is created if it does not exist\n"
     "  tap-fd=FD       or a tap that the caller has opened\n"
     "  mac=ADDRESS     the guest's address (default: derived from the tap's name)\n"
     "  vq-pairs=COUNT  queue pairs, 1 to 8 (default 1)\n"
     "  mtu=BYTES       told to the guest",
     apply_net},
    {0, "serial", "type=TYPE[,KEY...]",
     "a serial port or console; may be repeated\n"
     "  (default: type=stdout,console)\n"
     "  type=TYPE       stdout, file, sink or pty\n"
     "  hardware=NAME   serial (default), virtio-console or debugcon\n"
     "  num=NUMBER      1 to 4: COM1 to COM4 (default 1)\n"
     "  path=PATH       of type=file\n"
     "  console         console=... is added to the command line\n"
     "  stdin           takes the terminal's input (default for the first on stdout)",
     apply_serial},
    {0, "no-rng", NULL, "no virtio-rng device", apply_no_rng},
    {0, "exit-on-reset", NULL, "end when the guest reboots, instead of restarting it in place",
     apply_exit_on_reset},
    {0, "poll-us", "MICROSECONDS",
     "upper bound of polling before the executor sleeps; 0 turns it off\n(default 20)",
     apply_poll_us},
    {0, "kvm-device", "PATH", "the KVM device (default /dev/kvm)", apply_kvm_device},
    {0, "log-level", "LEVEL", "error, warn (default), info or debug", apply_log_level},
};

enum { OPTION_COUNT = array_count(options), HELP_VALUE = OPTION_COUNT };
/* getopt's values: indices of long options, characters of short ones. */
_Static_assert(HELP_VALUE < ':', "an index must not look like an option character");

static void getopt_tables_fill(struct option longs[OPTION_COUNT + 2],
                               char shorts[2 * OPTION_COUNT + 4])
{
    size_t len = 0;

    /* A leading ':' makes getopt tell a missing value from an unknown option. */
    shorts[len++] = ':';
    for (int i = 0; i < OPTION_COUNT; i++) {
        longs[i] = (struct option){
            .name = options[i].name,
            .has_arg = options[i].metavar ? required_argument : no_argument,
            .val = i,
        };
        if (options[i].short_name) {
            shorts[len++] = options[i].short_name;
            if (options[i].metavar)
                shorts[len++] = ':';
        }
    }
    longs[OPTION_COUNT] = (struct option){.name = "help", .val = HELP_VALUE};
    longs[OPTION_COUNT + 1] = (struct option){0};
    shorts[len++] = 'h';
    shorts[len] = '\0';
}

/* What getopt returned to an index of `options`, or HELP_VALUE. */
static int option_index(int found)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (found == i || found == options[i].short_name)
            return i;
    return HELP_VALUE;
}

static int getopt_refused(int found, char **argv, struct err *err)
{
    char name[64];

    /* optopt is a character only of an unknown short option or of one that lacks its value. */
    if (optopt > HELP_VALUE)
        snprintf(name, sizeof(name), "-%c", optopt);
    else
        snprintf(name, sizeof(name), "%s", argv[optind - 1]);
    return err_set(err, -EINVAL, "%s %s; see ringvm run --help", name,
                   found == ':' ? "needs a value" : "is not an option, or takes no value");
}

static int kernel_take(struct run_config *config, int argc, char **argv, struct err *err)
{
    if (optind == argc)
        return err_set(err, -EINVAL, "no kernel given; write ringvm run [OPTIONS] KERNEL");
    if (optind + 1 < argc)
        return err_set(err, -EINVAL, "unexpected argument '%s' after the kernel %s",
                       argv[optind + 1], argv[optind]);
    config->kernel_path = argv[optind];
    return 0;
}

int options_parse(int argc, char **argv, struct run_config *config, bool *wants_help,
                  struct err *err)
{
    struct option longs[OPTION_COUNT + 2];
    char shorts[2 * OPTION_COUNT + 4];
    int found, ret;

    *wants_help = false;
    *config = (struct run_config){
        .mem_size = (uint64_t)MEM_SIZE_DEFAULT_MIB << 20,
        .vcpu_count = 1,
        .kvm_path = "/dev/kvm",
        .poll_us = POLL_US_DEFAULT,
        .log_level = LOG_WARN,
    };
    getopt_tables_fill(longs, shorts);
    opterr = 0;
    optind = 0;
    while ((found = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (found == ':' || found == '?')
            return getopt_refused(found, argv, err);
        int index = option_index(found);

        if (index == HELP_VALUE) {
            *wants_help = true;
            return 0;
        }
        ret = options[index].apply(config, optarg, err);
        if (ret)
            return ret;
    }
    if (!config->serial_count)
        config->serials[config->serial_count++] = (struct serial_option){
            .type = SERIAL_STDOUT, .num = 1, .console = true, .takes_stdin = true};
    return kernel_take(config, argc, argv, err);
}

static void help_print_option(FILE *out, const struct option_def *option)
{
    const char *line = option->help;
    char head[80];
    char short_part[] = {'-', option->short_name, ',', ' ', '\0'};

    snprintf(head, sizeof(head), "%s--%s%s%s", option->short_name ? short_part : "    ",
             option->name, option->metavar ? " " : "", option->metavar ? option->metavar : "");
    fprintf(out, "  %-26s", head);
    if (strlen(head) > 25)
        fprintf(out, "\n  %-26s", "");
    while (line) {
        const char *end = strchr(line, '\n');
        int len = end ? (int)(end - line) : (int)strlen(line);

        fprintf(out, " %.*s\n", len, line);
        line = end ? end + 1 : NULL;
        if (line)
            fprintf(out, "  %-26s", "");
    }
}

void options_print_help(FILE *out)
{
    fputs("usage: ringvm run [OPTIONS] KERNEL\n"
          "\n"
          "Boots KERNEL (bzImage, ELF vmlinux or PVH image) and runs the guest until it ends.\n"
          "Ctrl-A x ends it from the terminal, Ctrl-A h lists the other keys.\n"
          "\n"
          "options:\n",
          out);
    for (int i = 0; i < OPTION_COUNT; i++)
        help_print_option(out, &options[i]);
    fputs("  -h, --help                 this text\n", out);
}
