#include <errno.h>
#include <string.h>

#include "bench/disk.h"
#include "cli/keyval.h"

enum { DEPTH_MAX = 256, BLOCK_MAX = 1 << 20, SECTOR_SIZE = 512 };

static int apply_depth(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;

    return number_list_parse("--depth", value, 1, DEPTH_MAX, &options->depths, err);
}

static int apply_block(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;
    int ret = number_list_parse("--block", value, SECTOR_SIZE, BLOCK_MAX, &options->blocks, err);

    for (unsigned i = 0; !ret && i < options->blocks.count; i++)
        if (options->blocks.values[i] % SECTOR_SIZE)
            ret = err_set(err, -EINVAL, "--block: %llu is not a multiple of %d",
                          (unsigned long long)options->blocks.values[i], SECTOR_SIZE);
    return ret;
}

static int apply_read(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;

    return number_list_parse("--read", value, 0, 100, &options->reads, err);
}

static int apply_wait(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;

    return bench_wait_parse(value, &options->polls, &options->sleeps, err);
}

static int apply_file(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;

    (void)err;
    options->file = value;
    return 0;
}

static int apply_directory(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;

    (void)err;
    options->directory = value;
    return 0;
}

static int apply_size(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;
    int ret = keyval_mem_size("--size", value, &options->size, err);

    if (!ret && (options->size < BLOCK_MAX || options->size % BLOCK_MAX))
        ret = err_set(err, -ERANGE, "--size: %s must be whole MiB, at least 1", value);
    return ret;
}

static int apply_direct(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;

    (void)value;
    (void)err;
    options->direct = true;
    return 0;
}

static int apply_seed(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;

    return keyval_u64("--seed", value, 1, UINT32_MAX, &options->seed, err);
}

static int apply_iops_svg(void *config, char *value, struct err *err)
{
    struct disk_options *options = config;

    (void)err;
    options->iops_svg_path = value;
    return 0;
}

static const struct option_def defs[] = {
    {0, "depth", "LIST", false, false, "requests at a time, 1 to 256 (default 1,2,4,8,16,32)",
     apply_depth},
    {0, "block", "LIST", false, false, "bytes of each, whole sectors up to 1 MiB (default 4096)",
     apply_block},
    {0, "read", "LIST", false, false, "percent that are reads, the others writes (default 100)",
     apply_read},
    {0, "wait", "HOW", false, false,
     "poll (default), interrupt or both: what the guest does\nwhile nothing is done", apply_wait},
    {0, "file", "PATH", false, false,
     "an existing file or block device, which is only read\n(default: a file of our own)",
     apply_file},
    {0, "directory", "PATH", false, false,
     "where our own file is made; it has no name\n(default /dev/shm)", apply_directory},
    {0, "size", "SIZE", false, false, "of our own file, in MiB, or with K, M or G (default 64)",
     apply_size},
    {0, "direct", NULL, false, false, "bypass the host's page cache (O_DIRECT)", apply_direct},
    BENCH_OPTION_RING,
    BENCH_OPTION_TRANSPORT,
    BENCH_OPTION_DURATION,
    BENCH_OPTION_ROUNDS,
    BENCH_OPTION_POLL_US,
    {0, "seed", "NUMBER", false, false, "of the places on the disk (default 1)", apply_seed},
    BENCH_OPTION_KVM_DEVICE,
    BENCH_OPTION_JSON,
    BENCH_OPTION_SVG,
    {0, "iops-svg", "FILE", false, false, "draw IOPS over depth", apply_iops_svg},
};

static const struct option_table table = {
    .command = "ringvm bench disk",
    .intro = "usage: ringvm bench disk [OPTIONS]\n"
             "\n"
             "Random requests on a virtio disk, as fast as a guest can make them that does\n"
             "nothing else, beside the same requests from a loop around io_uring without a\n"
             "guest: that is the limit. A LIST is 1,2,4; every combination is a case.\n",
    .options = defs,
    .count = array_count(defs),
    .outro = "how to read it:\n"
             "  The guest takes the time of each request, from when it makes it to when it sees\n"
             "  the answer; p99 of 5 us: one in a hundred took longer. Each round starts the\n"
             "  guest anew and measures guest and bare loop in turns; rates are the medians of\n"
             "  the rounds. `of bare` is the guest's rate divided by the loop's.\n"
             "\n"
             "examples:\n"
             "  ringvm bench disk\n"
             "  ringvm bench disk --depth 1,32 --wait both --iops-svg iops.svg --svg latency.svg\n"
             "  ringvm bench disk --directory /var/tmp --direct --read 100,70,0\n",
};

static bool writes(const struct disk_options *options)
{
    return number_list_min(&options->reads) < 100;
}

static int check(const struct disk_options *options, struct err *err)
{
    unsigned count = options->depths.count * options->blocks.count * options->reads.count *
                     (1 + (options->polls && options->sleeps));

    if (count > DISK_CASES_MAX)
        return err_set(err, -EINVAL, "the lists make %u cases; at most %d", count, DISK_CASES_MAX);
    if (options->common.mmio && options->sleeps)
        return err_set(err, -EINVAL,
                       "--transport mmio: the guest has no interrupts there; leave "
                       "out --wait");
    if (options->file && writes(options))
        return err_set(err, -EINVAL,
                       "--file: only reads, so that nothing on it is lost; leave out --read");
    return 0;
}

int disk_options_parse(int argc, char **argv, struct disk_options *options, struct err *err)
{
    int ret;

    *options = (struct disk_options){
        .common = bench_options_default,
        .depths = {.values = {1, 2, 4, 8, 16, 32}, .count = 6},
        .blocks = {.values = {4096}, .count = 1},
        .reads = {.values = {100}, .count = 1},
        .polls = true,
        .directory = "/dev/shm",
        .size = 64 << 20,
        .seed = 1,
    };
    ret = bench_options_parse(&table, argc, argv, &options->common, err);
    return ret || options->common.wants_help ? ret : check(options, err);
}

void disk_options_print_help(FILE *out)
{
    option_print_help(&table, out);
}
