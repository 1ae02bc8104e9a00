#include "latency/options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* `line` is cut at its spaces; the options point into it. */
static int parse(char *line, struct latency_options *options, struct err *err)
{
    char verb[] = "latency";
    char *words[32] = {verb};
    bool wants_help;
    int count = 1;
    char *rest;

    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    return latency_options_parse(count, words, options, &wants_help, err);
}

/* The line of a refusal, whose code is to be `code`. */
static struct err refused(const char *line, int code)
{
    struct latency_options options;
    struct err err = {""};
    char *copy = strdup(line);

    cr_assert_not_null(copy);
    cr_assert_eq(parse(copy, &options, &err), code, "%s: %s", line, err.text);
    free(copy);
    return err;
}

Test(latency_options, without_any_all_is_measured_for_a_second)
{
    char line[] = "";
    struct latency_options options;
    struct err err = {""};

    cr_assert_eq(parse(line, &options, &err), 0, "%s", err.text);
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        cr_assert(options.selected[i]);
    cr_assert_eq(options.duration_ns, NS_PER_S);
    cr_assert_eq(options.samples_max, UINT64_MAX);
    cr_assert_geq(options.load.threads, 1);
    cr_assert_geq(options.load.tasks, 1);
    cr_assert_null(options.json_path);
}

Test(latency_options, each_sets_what_it_says)
{
    char line[] = "--duration 250ms --samples=7 --seed 0 --load 3 --load-tasks 5 --poll-us 0 "
                  "--directory /d --json j timer --svg s wake";
    struct latency_options options;
    struct err err = {""};

    cr_assert_eq(parse(line, &options, &err), 0, "%s", err.text);
    cr_assert_eq(options.duration_ns, NS_PER_S / 4);
    cr_assert_eq(options.samples_max, 7);
    cr_assert_eq(options.seed, 0);
    cr_assert_eq(options.load.threads, 3);
    cr_assert_eq(options.load.tasks, 5);
    cr_assert_eq(options.poll_us, 0);
    cr_assert_str_eq(options.directory, "/d");
    cr_assert_str_eq(options.json_path, "j");
    cr_assert_str_eq(options.svg_path, "s");
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        cr_assert_eq(options.selected[i],
                     !strcmp(probes[i].name, "timer") || !strcmp(probes[i].name, "wake"));
}

Test(latency_options, an_error_names_the_option_and_the_value)
{
    cr_assert_str_eq(refused("--load many", -EINVAL).text, "--load: 'many' is not a number");
    refused("--load -1", -EINVAL);
    cr_assert_not_null(strstr(refused("--load 257", -ERANGE).text, "it must be 0 to 256"));
    cr_assert_not_null(strstr(refused("--load-tasks 1001", -ERANGE).text, "--load-tasks: 1001"));
    refused("--seed 9223372036854775808", -ERANGE);
    refused("--samples 0", -ERANGE);
    refused("--poll-us 1001", -ERANGE);
    cr_assert_not_null(strstr(refused("--duration 1", -EINVAL).text, "'1' is not a time"));
    refused("--duration=", -EINVAL);
    refused("--duration 0s", -ERANGE);
    refused("--duration 2h", -ERANGE);
    refused("--json=", -EINVAL);
    refused("--load 1 --load 2", -EINVAL);
}

Test(latency_options, what_is_unknown_is_named)
{
    struct err err = refused("waek", -EINVAL);

    cr_assert_not_null(strstr(err.text, "'waek'"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "post-asleep"), "%s", err.text);
    cr_assert_str_eq(refused("--bogus", -EINVAL).text,
                     "unknown option --bogus; see ringvm latency --help");
    cr_assert_str_eq(refused("--seed", -EINVAL).text,
                     "--seed needs a value; see ringvm latency --help");
}

Test(latency_options, help_names_every_measurement_and_option)
{
    static const char *const names[] = {
        "-d, --duration TIME", "-n, --samples COUNT", "--load COUNT",     "--load-tasks COUNT",
        "--poll-us COUNT",     "-s, --seed NUMBER",   "--directory PATH", "--json FILE",
        "--svg FILE",          "exit status",
    };
    char verb[] = "latency", word[] = "--help", *words[] = {verb, word, NULL};
    struct latency_options options;
    bool wants_help = false;
    struct err err = {""};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    cr_assert_eq(latency_options_parse(2, words, &options, &wants_help, &err), 0);
    cr_assert(wants_help);
    latency_options_print_help(out);
    fclose(out);
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        cr_assert_not_null(strstr(text, probes[i].name), "%s", probes[i].name);
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
        cr_assert_not_null(strstr(text, names[i]), "%s", names[i]);
    free(text);
}
