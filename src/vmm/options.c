#include "vmm/options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "base/limits.h"
#include "vmm/device_options.h"
#include "vmm/keyval.h"

enum {
    MEM_SIZE_DEFAULT_MIB = 256,
    MEM_SIZE_MIN_MIB = 16,
    POLL_US_DEFAULT = 20,
    POLL_US_MAX = 10000,
};

struct option_def {
    char short_name; /* 0: none */
    const char *name;
    const char *metavar; /* NULL: takes no value */
    bool repeats;        /* each one adds something */
    const char *help;    /* lines after the first are indented when printed */
    int (*apply)(struct run_config *config, char *value, struct err *err);
};

/* crosvm has keys in what is one number here: `-m size=512`, `-c num-cores=2`. */
static const char *without_key(const char *value, const char *key)
{
    size_t len = strlen(key);

    return !strncmp(value, key, len) && value[len] == '=' ? value + len + 1 : value;
}

static int apply_mem(struct run_config *config, char *value, struct err *err)
{
    const char *size = without_key(value, "size");
    int ret = keyval_mem_size("--mem", size, &config->mem_size, err);

    if (ret)
        return ret;
    if (config->mem_size < (uint64_t)MEM_SIZE_MIN_MIB << 20 || config->mem_size % (1 << 20))
        return err_set(err, -ERANGE, "--mem: %s must be whole MiB, at least %d", size,
                       MEM_SIZE_MIN_MIB);
    return 0;
}

static int apply_cpus(struct run_config *config, char *value, struct err *err)
{
    uint64_t count = 0;
    int ret = keyval_u64("--cpus", without_key(value, "num-cores"), 1, VCPU_COUNT_MAX, &count, err);

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
    (void)err;
    config->initrd_path = value;
    return 0;
}

static int apply_poll_us(struct run_config *config, char *value, struct err *err)
{
    uint64_t number = 0;
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
    {'m', "mem", "SIZE", false,
     "guest memory in MiB, or with K, M or G; at least 16 MiB\n(default 256)", apply_mem},
    {'c', "cpus", "COUNT", false, "virtual CPUs, 1 to 64 (default 1)", apply_cpus},
    {'p', "params", "TEXT", true, "added to the kernel's command line; may be repeated",
     apply_params},
    {'i', "initrd", "PATH", false, "initial RAM disk (default: none)", apply_initrd},
    {'b', "block", "PATH[,KEY...]", true,
     "a raw disk image or block device as virtio-blk; may be repeated\n"
     "  path=PATH       the same, as a key\n"
     "  ro              read-only\n"
     "  root            root=/dev/vdX is added to the command line\n"
     "  direct          bypass the host's page cache (O_DIRECT)\n"
     "  id=TEXT         serial number that the guest sees, at most 20 bytes\n"
     "                  (default: none)\n"
     "  queues=COUNT    request queues, 1 to 16 (default: one per CPU)\n"
     "  block-size=SIZE logical block size in bytes, 512 to 4096\n"
     "                  (default: the host's)",
     block_option_apply},
    {0, "net", "tap-name=NAME|tap-fd=FD[,KEY...]", true,
     "a tap interface as virtio-net; may be repeated\n"
     "  tap-name=NAME   an interface, which is created if it does not exist\n"
     "  tap-fd=FD       or a tap that the caller has opened\n"
     "  mac=ADDRESS     the guest's address (default: derived from the tap's name)\n"
     "  vq-pairs=COUNT  queue pairs, 1 to 8 (default 1)\n"
     "  mtu=BYTES       of guest and tap, 68 to 65521 (default: the tap's, and the\n"
     "                  guest is not told)",
     net_option_apply},
    {0, "serial", "type=TYPE[,KEY...]", true,
     "a serial port or console; may be repeated\n"
     "  (default: type=stdout,console)\n"
     "  type=TYPE       stdout, file, sink or pty\n"
     "  hardware=NAME   serial (default), virtio-console or debugcon\n"
     "  num=NUMBER      1 to 4: COM1 to COM4 (default 1)\n"
     "  path=PATH       of type=file, which is appended to\n"
     "  console         console=... is added to the command line\n"
     "  stdin           takes the terminal's input (default for the first on stdout)",
     serial_option_apply},
    {0, "no-rng", NULL, false, "no virtio-rng device", apply_no_rng},
    {0, "exit-on-reset", NULL, false,
     "end when the guest reboots, instead of restarting it in place", apply_exit_on_reset},
    {0, "poll-us", "MICROSECONDS", false,
     "upper bound of polling before the executor sleeps, 0 to 10000;\n"
     "0 turns it off (default 20)",
     apply_poll_us},
    {0, "kvm-device", "PATH", false, "the KVM device (default /dev/kvm)", apply_kvm_device},
    {0, "log-level", "LEVEL", false, "error, warn (default), info or debug", apply_log_level},
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

/* optopt is the character of a short option, the value of a long one that is known, and else 0. */
static int getopt_refused(int found, char **argv, struct err *err)
{
    char name[64];

    if (optopt > HELP_VALUE)
        snprintf(name, sizeof(name), "-%c", optopt);
    else
        snprintf(name, sizeof(name), "%s", argv[optind - 1]);
    if (found == ':')
        return err_set(err, -EINVAL, "%s needs a value; see ringvm run --help", name);
    if (optopt && optopt <= HELP_VALUE)
        return err_set(err, -EINVAL, "%s: this option takes no value", name);
    return err_set(err, -EINVAL, "unknown option %s; see ringvm run --help", name);
}

static int option_apply(const struct option_def *option, struct run_config *config, bool *given,
                        struct err *err)
{
    if (*given && option->metavar && !option->repeats)
        return err_set(err, -EINVAL, "--%s: given twice", option->name);
    *given = true;
    if (option->metavar && !*optarg && option->apply != apply_params)
        return err_set(err, -EINVAL, "--%s needs a value; see ringvm run --help", option->name);
    return option->apply(config, optarg, err);
}

static int kernel_take(struct run_config *config, int argc, char **argv, struct err *err)
{
    if (optind == argc || !*argv[optind])
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
    bool given[OPTION_COUNT] = {false};
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
        ret = option_apply(&options[index], config, &given[index], err);
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
    fputs("  -h, --help                 this text\n"
          "\n"
          "exit status:\n"
          "   0  powered off by the guest\n"
          "   1  the host could not start or continue it; one line says why\n"
          "  31  stopped from outside: SIGTERM, SIGINT, Ctrl-A x\n"
          "  33  a vCPU stopped in a way that no guest asks for\n"
          "  34  the guest panicked\n"
          "  35  bad arguments\n"
          "  32, 36, 37, 38  with --exit-on-reset: reset through the keyboard controller,\n"
          "                  port 0xcf9, the ACPI reset register, a triple fault\n",
          out);
}
