#include "bench/options.h"

#include <errno.h>

#include "base/clock.h"
#include "cli/keyval.h"

enum { ROUNDS_DEFAULT = 5, ROUNDS_MAX = 100, DURATION_MAX_S = 3600, POLL_US_MAX = 10000 };

const struct bench_options bench_options_default = {
    .duration_ns = NS_PER_S,
    .rounds = ROUNDS_DEFAULT,
    .kvm_path = "/dev/kvm",
};

int bench_option_duration(void *config, char *value, struct err *err)
{
    struct bench_options *options = config;

    return keyval_duration("--duration", value, NS_PER_MS, DURATION_MAX_S * NS_PER_S,
                           &options->duration_ns, err);
}

int bench_option_rounds(void *config, char *value, struct err *err)
{
    struct bench_options *options = config;
    uint64_t rounds = 0;
    int ret = keyval_u64("--rounds", value, 1, ROUNDS_MAX, &rounds, err);

    options->rounds = (unsigned)rounds;
    return ret;
}

int bench_option_ring(void *config, char *value, struct err *err)
{
    static const char *const names[] = {"split", "packed"};
    struct bench_options *options = config;
    unsigned choice = 0;
    int ret = keyval_choice("--ring", value, names, array_count(names), &choice, err);

    options->packed = choice == 1;
    return ret;
}

int bench_option_transport(void *config, char *value, struct err *err)
{
    static const char *const names[] = {"pci", "mmio"};
    struct bench_options *options = config;
    unsigned choice = 0;
    int ret = keyval_choice("--transport", value, names, array_count(names), &choice, err);

    options->mmio = choice == 1;
    return ret;
}

int bench_wait_parse(const char *value, bool *polls, bool *sleeps, struct err *err)
{
    static const char *const names[] = {"poll", "interrupt", "both"};
    unsigned choice = 0;
    int ret = keyval_choice("--wait", value, names, array_count(names), &choice, err);

    *polls = choice != 1;
    *sleeps = choice != 0;
    return ret;
}

const char *bench_wait_words(bool polls, bool sleeps)
{
    if (!sleeps)
        return "0";
    return polls ? "0,1" : "1";
}

/* Checked here, so that a mistake is one of our own command line. */
int bench_option_poll_us(void *config, char *value, struct err *err)
{
    struct bench_options *options = config;
    uint64_t poll_us;

    options->poll_us = value;
    return keyval_u64("--poll-us", value, 0, POLL_US_MAX, &poll_us, err);
}

int bench_option_kvm_device(void *config, char *value, struct err *err)
{
    struct bench_options *options = config;

    (void)err;
    options->kvm_path = value;
    return 0;
}

int bench_option_json(void *config, char *value, struct err *err)
{
    struct bench_options *options = config;

    (void)err;
    options->json_path = value;
    return 0;
}

int bench_option_svg(void *config, char *value, struct err *err)
{
    struct bench_options *options = config;

    (void)err;
    options->svg_path = value;
    return 0;
}

int bench_options_parse(const struct option_table *table, int argc, char **argv,
                        struct bench_options *config, struct err *err)
{
    int first, ret = option_parse(table, argc, argv, config, &config->wants_help, &first, err);

    if (!ret && !config->wants_help && first < argc)
        ret = err_set(err, -EINVAL, "unexpected argument '%s'; see %s --help", argv[first],
                      table->command);
    return ret;
}
