/*
 * The schedule explorer: every execution of small scenarios of production code that the C11 memory
 * model allows. See explore.h.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "scenarios/scenarios.h"
#include "search.h"
#include "self.h"

struct options {
    const char *filter;
    const char *replay;
    uint64_t limit;
    bool list;
};

static bool matches(const struct scenario *scenario, const struct options *options)
{
    size_t length;

    if (!options->filter)
        return true;
    length = strlen(options->filter);
    if (length && options->filter[length - 1] == '*')
        return !strncmp(scenario->name, options->filter, length - 1);
    return !strcmp(scenario->name, options->filter);
}

static const char *verdict(const struct scenario *scenario, const struct exploration *result)
{
    if (scenario->fails_with) {
        if (!result->failed)
            return "FAIL: this canary has to be found out";
        if (!strstr(failure_text(), scenario->fails_with))
            return "FAIL: found for another reason than it should";
        return "found out";
    }
    if (result->failed)
        return "FAIL";
    if (scenario->executions && !result->bounded && scenario->executions != result->executions)
        return "FAIL: not as many as there are";
    return result->bounded ? "ok so far" : "ok";
}

static bool run_scenario(const struct scenario *scenario, const struct options *options)
{
    uint64_t begin_ns = clock_now_ns();
    struct exploration result = explore(scenario, options->limit);
    double seconds = (double)(clock_now_ns() - begin_ns) / NS_PER_S;
    const char *text = verdict(scenario, &result);
    bool passed = strncmp(text, "FAIL", 4) != 0;

    printf("%-34s %9llu executions %8llu dropped %7.2f s  %-8s %s\n", scenario->name,
           (unsigned long long)result.executions, (unsigned long long)result.discarded, seconds,
           result.bounded ? "bounded" : "all", text);
    if (!passed && result.failed) {
        report_failure();
        printf("    to see it again: --replay %s:%s\n", scenario->name, seed_write());
    }
    fflush(stdout);
    return passed;
}

static const struct scenario *find(const char *name, size_t length)
{
    for (unsigned i = 0; scenario_sets[i]; i++)
        for (const struct scenario *scenario = scenario_sets[i]; scenario->name; scenario++)
            if (strlen(scenario->name) == length && !strncmp(scenario->name, name, length))
                return scenario;
    return NULL;
}

static int replay(const char *text)
{
    static struct seed seed;
    const char *colon = strrchr(text, ':');
    const struct scenario *scenario = colon ? find(text, (size_t)(colon - text)) : NULL;

    if (!scenario || !seed_read(colon + 1, &seed)) {
        fprintf(stderr, "model: --replay wants SCENARIO:SEED, as a failure prints it\n");
        return 2;
    }
    if (explore_replay(scenario, &seed)) {
        printf("%s: this schedule is fine\n", scenario->name);
        return 0;
    }
    printf("%s\n", scenario->name);
    report_failure();
    return 1;
}

static int run_all(const struct options *options)
{
    unsigned count = 0, failed = 0;

    for (unsigned i = 0; scenario_sets[i]; i++)
        for (const struct scenario *scenario = scenario_sets[i]; scenario->name; scenario++) {
            if (!matches(scenario, options))
                continue;
            count++;
            if (options->list)
                printf("%-34s %s\n", scenario->name, scenario->about);
            else
                failed += !run_scenario(scenario, options);
        }
    if (!count) {
        fprintf(stderr, "model: no scenario is called %s\n", options->filter);
        return 2;
    }
    if (!options->list)
        printf("model: %u of %u scenarios as they should be\n", count - failed, count);
    return failed != 0;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"list", no_argument, NULL, 'l'},

        {"limit", required_argument, NULL, 'n'},
        {"replay", required_argument, NULL, 'r'},
        {"self", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options options = {.limit = UINT64_MAX};
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'l':
            options.list = true;
            break;
        case 'n':
            options.limit = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            return replay(optarg);
        case 's':
            return !self_check((unsigned)strtoul(optarg, NULL, 10));
        default:
            printf("model [--list] [--limit RUNS] [SCENARIO | PREFIX*]\n"
                   "model --replay SCENARIO:SEED\n"
                   "model --self PROGRAMS\n");
            return option == 'h' ? 0 : 2;
        }
    }
    options.filter = argv[optind];
    return run_all(&options);
}
