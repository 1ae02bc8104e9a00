#include "bench/net.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int parse(char *line, struct net_options *options, struct err *err)
{
    char verb[] = "net";
    char *words[32] = {verb};
    int count = 1;

    for (char *word; (word = strsep(&line, " "));)
        if (*word)
            words[count++] = word;
    return net_options_parse(count, words, options, err);
}

static void refused(const char *line, int code, const char *words)
{
    struct net_options options;
    struct err err = {""};
    char *copy = strdup(line);

    cr_assert_not_null(copy);
    cr_assert_eq(parse(copy, &options, &err), code, "%s: %s", line, err.text);
    cr_assert_not_null(strstr(err.text, words), "'%s' lacks '%s'", err.text, words);
    free(copy);
}

Test(bench_net_options, without_any_it_sends_the_smallest_and_the_largest_frames)
{
    struct net_options options;
    struct err err = {""};
    char line[] = "", text[64];

    cr_assert_eq(parse(line, &options, &err), 0, "%s", err.text);
    number_list_print(&options.sizes, text, sizeof(text));
    cr_assert_str_eq(text, "60,1514");
    number_list_print(&options.depths, text, sizeof(text));
    cr_assert_str_eq(text, "1,32");
    cr_assert(options.polls);
    cr_assert_not(options.sleeps);
    cr_assert_not(options.common.packed);
    cr_assert_not(options.common.mmio);
}

Test(bench_net_options, each_sets_what_it_says)
{
    char line[] = "--size 60,100 --depth 128 --wait interrupt --ring packed --rounds 3 --json j";
    struct net_options options;
    struct err err = {""};

    cr_assert_eq(parse(line, &options, &err), 0, "%s", err.text);
    cr_assert_eq(number_list_max(&options.sizes), 100);
    cr_assert_eq(number_list_min(&options.depths), 128);
    cr_assert_not(options.polls);
    cr_assert(options.sleeps);
    cr_assert(options.common.packed);
    cr_assert_eq(options.common.rounds, 3);
    cr_assert_str_eq(options.common.json_path, "j");
}

Test(bench_net_options, what_cannot_be_is_refused)
{
    refused("--size 59", -ERANGE, "--size");
    refused("--size 1515", -ERANGE, "--size");
    refused("--depth 129", -ERANGE, "--depth");
    refused("--ring round", -EINVAL, "--ring");
    refused("--transport usb", -EINVAL, "--transport");
    refused("--transport mmio --wait both", -EINVAL, "interrupts");
    refused("--size 60,61,62,63,64,65,66,67 --depth 1,2,3,4,5,6,7,8 --wait both", -EINVAL, "cases");
    refused("more", -EINVAL, "unexpected");
}
