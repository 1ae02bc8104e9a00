#include "bench/disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"

static int parse(char *line, struct disk_options *options, struct err *err)
{
    char verb[] = "disk";
    char *words[32] = {verb};
    int count = 1;

    for (char *word; (word = strsep(&line, " "));)
        if (*word)
            words[count++] = word;
    return disk_options_parse(count, words, options, err);
}

static void refused(const char *line, int code, const char *words)
{
    struct disk_options options;
    struct err err = {""};
    char *copy = strdup(line);

    cr_assert_not_null(copy);
    cr_assert_eq(parse(copy, &options, &err), code, "%s: %s", line, err.text);
    cr_assert_not_null(strstr(err.text, words), "'%s' lacks '%s'", err.text, words);
    free(copy);
}

Test(bench_disk_options, without_any_it_reads_4_kib_at_several_depths)
{
    struct disk_options options;
    struct err err = {""};
    char line[] = "", text[64];

    cr_assert_eq(parse(line, &options, &err), 0, "%s", err.text);
    number_list_print(&options.depths, text, sizeof(text));
    cr_assert_str_eq(text, "1,2,4,8,16,32");
    cr_assert_eq(number_list_max(&options.blocks), 4096);
    cr_assert_eq(number_list_min(&options.reads), 100);
    cr_assert(options.polls);
    cr_assert_not(options.sleeps);
    cr_assert_eq(options.common.duration_ns, NS_PER_S);
}

Test(bench_disk_options, each_sets_what_it_says)
{
    char line[] = "--depth 1,256 --block 512,1048576 --read 0,70,100 --wait both --direct "
                  "--directory /d --size 8 --duration 50ms --rounds 2 --poll-us 0 --seed 7 "
                  "--json j --svg s --iops-svg i --kvm-device k";
    struct disk_options options;
    struct err err = {""};
    char text[64];

    cr_assert_eq(parse(line, &options, &err), 0, "%s", err.text);
    number_list_print(&options.reads, text, sizeof(text));
    cr_assert_str_eq(text, "0,70,100");
    cr_assert_eq(number_list_min(&options.blocks), 512);
    cr_assert_eq(number_list_max(&options.depths), 256);
    cr_assert(options.polls && options.sleeps && options.direct);
    cr_assert_eq(options.size, 8 << 20);
    cr_assert_eq(options.common.duration_ns, 50 * NS_PER_MS);
    cr_assert_eq(options.common.rounds, 2);
    cr_assert_eq(options.seed, 7);
    cr_assert_str_eq(options.directory, "/d");
    cr_assert_str_eq(options.common.poll_us, "0");
    cr_assert_str_eq(options.common.json_path, "j");
    cr_assert_str_eq(options.common.svg_path, "s");
    cr_assert_str_eq(options.iops_svg_path, "i");
    cr_assert_str_eq(options.common.kvm_path, "k");
}

Test(bench_disk_options, mistakes_are_told_by_their_option)
{
    refused("--depth 0", -ERANGE, "--depth: 0");
    refused("--depth 1,,2", -EINVAL, "--depth: ''");
    refused("--depth 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", -EINVAL, "--depth: more than 16");
    refused("--block 1000", -EINVAL, "--block: 1000 is not a multiple");
    refused("--read 101", -ERANGE, "--read: 101");
    refused("--wait never", -EINVAL, "--wait");
    refused("--size 512K", -ERANGE, "--size: 512K");
    refused("--duration 1", -EINVAL, "--duration");
    refused("--rounds 0", -ERANGE, "--rounds: 0");
    refused("--file disk --read 50", -EINVAL, "--file: only reads");
    refused("--block 512,1024,2048,4096,8192,16384 --wait both", -EINVAL, "72 cases; at most 64");
    refused("disk.img", -EINVAL, "unexpected argument 'disk.img'");
}
