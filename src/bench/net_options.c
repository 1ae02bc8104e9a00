#include <errno.h>

#include "bench/net.h"

enum { FRAME_MIN = 60, FRAME_MAX = 1514, DEPTH_MAX = 128 };

static int apply_size(void *config, char *value, struct err *err)
{
    struct net_options *options = config;

    return number_list_parse("--size", value, FRAME_MIN, FRAME_MAX, &options->sizes, err);
}

static int apply_depth(void *config, char *value, struct err *err)
{
    struct net_options *options = config;

    return number_list_parse("--depth", value, 1, DEPTH_MAX, &options->depths, err);
}

static int apply_wait(void *config, char *value, struct err *err)
{
    struct net_options *options = config;

    return bench_wait_parse(value, &options->polls, &options->sleeps, err);
}

static const struct option_def defs[] = {
    {0, "size", "LIST", false, false, "bytes of a frame, 60 to 1514 (default 60,1514)", apply_size},
    {0, "depth", "LIST", false, false, "echoes at a time, 1 to 128 (default 1,32)", apply_depth},
    {0, "wait", "HOW", false, false,
     "poll (default), interrupt or both: what the guest does\nwhile nothing is done", apply_wait},
    BENCH_OPTION_RING,
    BENCH_OPTION_TRANSPORT,
    BENCH_OPTION_DURATION,
    BENCH_OPTION_ROUNDS,
    BENCH_OPTION_POLL_US,
    BENCH_OPTION_KVM_DEVICE,
    BENCH_OPTION_JSON,
    BENCH_OPTION_SVG,
};

static const struct option_table table = {
    .command = "ringvm bench net",
    .intro = "usage: ringvm bench net [OPTIONS]\n"
             "\n"
             "Frames through virtio-net and a tap, in a network of its own with a peer on the\n"
             "host: sent as fast as the device takes them, received as fast as the peer can\n"
             "send, and there and back. Needs root or user namespaces, and /dev/net/tun.\n",
    .options = defs,
    .count = array_count(defs),
    .outro = "how to read it:\n"
             "  tx counts what the device is done with, rx what the guest has seen; both in\n"
             "  frames a second. echo is the time from making a frame to seeing it come back.\n"
             "  The peer takes a cpu as well: with fewer than three it takes the guest's.\n"
             "\n"
             "examples:\n"
             "  ringvm bench net\n"
             "  ringvm bench net --size 60 --depth 1,8,64 --wait both --svg round-trip.svg\n",
};

static int check(const struct net_options *options, struct err *err)
{
    unsigned count = options->sizes.count * (2 + options->depths.count) *
                     (1 + (options->polls && options->sleeps));

    if (count > NET_CASES_MAX)
        return err_set(err, -EINVAL, "the lists make %u cases; at most %d", count, NET_CASES_MAX);
    if (options->common.mmio && options->sleeps)
        return err_set(err, -EINVAL,
                       "--transport mmio: the guest has no interrupts there; leave "
                       "out --wait");
    return 0;
}

int net_options_parse(int argc, char **argv, struct net_options *options, struct err *err)
{
    int ret;

    *options = (struct net_options){
        .common = bench_options_default,
        .sizes = {.values = {FRAME_MIN, FRAME_MAX}, .count = 2},
        .depths = {.values = {1, 32}, .count = 2},
        .polls = true,
    };
    ret = bench_options_parse(&table, argc, argv, &options->common, err);
    return ret || options->common.wants_help ? ret : check(options, err);
}

void net_options_print_help(FILE *out)
{
    option_print_help(&table, out);
}
