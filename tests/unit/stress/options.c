#include "stress/options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "stress/workload.h"

/* Parses a command line given as one string of words. */
struct parsed {
    char text[256];
    char *argv[32];
    int argc;
    bool wants_help;
    int ret;
    struct err err;
    struct stress_options options;
};

static struct parsed *parse(const char *words)
{
    static struct parsed p;
    char *rest;

    memset(&p, 0, sizeof(p));
    snprintf(p.text, sizeof(p.text), "stress %s", words);
    for (char *word = strtok_r(p.text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        p.argv[p.argc++] = word;
    p.ret = stress_options_parse(workloads, p.argc, p.argv, &p.options, &p.wants_help, &p.err);
    return &p;
}

static void refused(const char *words, int ret, const char *says)
{
    struct parsed *p = parse(words);

    cr_assert_eq(p->ret, ret, "'%s' gave %d", words, p->ret);
    cr_assert(strstr(p->err.text, says), "'%s' said: %s", words, p->err.text);
}

Test(stress_options, defaults_stress_everything)
{
    struct parsed *p = parse("");
    unsigned count = 0;

    while (workloads[count])
        count++;
    cr_assert_eq(p->ret, 0);
    cr_assert_eq(p->options.workload_count, count);
    cr_assert_eq(p->options.config.tasks, 64);
    cr_assert_eq(p->options.config.executors, 2);
    cr_assert_eq(p->options.config.threads, 2);
    cr_assert_eq(p->options.config.operations, 0);
    cr_assert_eq(p->options.config.duration_ns, 5 * NS_PER_S);
    cr_assert_eq(p->options.config.bound_ns, 10 * NS_PER_S);
    cr_assert_neq(p->options.config.seed, 0);
    cr_assert_null(p->options.json_path);
    cr_assert_not(p->options.shows_progress);
}

Test(stress_options, everything_at_once)
{
    struct parsed *p = parse("-p channel,mutex -t 1000 -e 3 --threads 0 --hold 50us --cancel 60 "
                             "--readers 1 --poll-us 20 -d 2min -n 5 --bound 1s");
    const struct stress_config *c = &p->options.config;

    cr_assert_eq(p->ret, 0, "%s", p->err.text);
    cr_assert_eq(p->options.workload_count, 2);
    cr_assert_eq(p->options.workloads[0], &workload_mutex);
    cr_assert_eq(p->options.workloads[1], &workload_channel);
    cr_assert(c->tasks == 1000 && c->executors == 3 && c->threads == 0 && c->hold_us == 50);
    cr_assert(c->cancel_percent == 60 && c->reader_percent == 1 && c->poll_us == 20);
    cr_assert(c->duration_ns == 120 * NS_PER_S && c->operations == 5 && c->bound_ns == NS_PER_S);
}

Test(stress_options, classes_of_primitives)
{
    struct parsed *p = parse("-p pthread,mutex");

    cr_assert_eq(p->ret, 0);
    cr_assert_eq(p->options.workload_count, 4);
    cr_assert_eq(p->options.workloads[0], &workload_mutex);
    cr_assert(p->options.workloads[3]->is_blocking);
    cr_assert_eq(parse("-p async")->options.workload_count, 10);
    p = parse("--primitive pthread-rwlock");
    cr_assert_eq(p->options.workload_count, 1);
    cr_assert_eq(p->options.workloads[0], &workload_pthread_rwlock);
}

Test(stress_options, a_seed_of_0_is_a_seed)
{
    struct parsed *p = parse("--seed 0 --json -");

    cr_assert_eq(p->ret, 0);
    cr_assert_eq(p->options.config.seed, 0);
    cr_assert_str_eq(p->options.json_path, "-");
}

Test(stress_options, what_makes_no_sense_is_refused_in_one_line)
{
    refused("-p mutex,lock", -EINVAL, "--primitives: there is no 'lock'");
    refused("-t 0 --threads 1", -EINVAL, "two or more");
    refused("-t 2 -e 3", -EINVAL, "--executors: 3 executors are more than the 2 tasks");
    refused("-t 100001", -ERANGE, "--tasks");
    refused("--cancel 101", -ERANGE, "--cancel");
    refused("--hold 2s", -ERANGE, "--hold");
    refused("--bound 1", -EINVAL, "--bound");
    refused("--hold 500ms --bound 500ms", -EINVAL, "--bound: a wait may be as long as a hold");
    refused("mutex", -EINVAL, "unexpected argument 'mutex'");
    refused("--fault", -EINVAL, "unknown option --fault");
}

Test(stress_options, help_names_every_primitive_and_option)
{
    static const char *const names[] = {
        "-p, --primitives LIST",
        "-t, --tasks COUNT",
        "-e, --executors COUNT",
        "--threads COUNT",
        "--hold TIME",
        "--cancel PERCENT",
        "--readers PERCENT",
        "--poll-us COUNT",
        "-d, --duration TIME",
        "--bound TIME",
        "-n, --operations COUNT",
        "-s, --seed NUMBER",
        "--json FILE",
        "--progress",
        "exit status",
    };
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    cr_assert(parse("--help")->wants_help);
    stress_options_print_help(workloads, out);
    cr_assert_eq(fclose(out), 0);
    for (unsigned i = 0; workloads[i]; i++)
        cr_assert(strstr(text, workloads[i]->name), "%s", workloads[i]->name);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        cr_assert(strstr(text, names[i]), "%s", names[i]);
    free(text);
}
