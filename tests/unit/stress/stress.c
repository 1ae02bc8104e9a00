/* The verb as a whole: what it prints, and its verdict. */
#include <jansson.h>

#include "stress/workload.h"
#include "verb.h"

Test(stress_verb, results_are_a_table)
{
    const struct verb_output *output =
        verb_run(workloads, stdout, "-p mutex,channel -t 8 -n 1000 --bound 60s");

    cr_assert_eq(output->verdict, STRESS_HELD);
    cr_assert(strstr(output->text, "primitive "), "%s", output->text);
    cr_assert(strstr(output->text, "\nmutex "), "%s", output->text);
    cr_assert(strstr(output->text, "\nchannel "), "%s", output->text);
    cr_assert(strstr(output->text, "held"), "%s", output->text);
}

Test(stress_verb, results_as_json)
{
    const struct verb_output *output =
        verb_run(workloads, stdout, "-p once,barrier -t 8 -n 1000 --bound 60s --json - --seed 5");
    json_t *root = json_loads(output->text, 0, NULL);
    json_t *results;

    cr_assert_eq(output->verdict, STRESS_HELD);
    cr_assert_not_null(root, "%s", output->text);
    cr_assert_eq(json_integer_value(json_object_get(root, "seed")), 5);
    results = json_object_get(root, "results");
    cr_assert_eq(json_array_size(results), 2);
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(results, 0), "name")),
                     "barrier");
    cr_assert(json_is_true(json_object_get(json_array_get(results, 0), "held")));
    cr_assert_geq(json_integer_value(json_object_get(json_array_get(results, 0), "operations")),
                  1000);
    json_decref(root);
}

/* Without an option, one line says what is run; it states the bound and the seed. */
Test(stress_verb, where_there_is_no_terminal_progress_is_silent)
{
    const struct verb_output *output =
        verb_run(workloads, stderr, "-p mutex -t 8 --threads 0 -d 1200ms --bound 60s --seed 9");

    cr_assert_eq(output->verdict, STRESS_HELD);
    cr_assert_str_eq(output->text,
                     "stress: 8 tasks on 2 executors, 0 threads, bound 60.0 s, seed 9\n");
}

Test(stress_verb, progress_can_be_asked_for)
{
    const struct verb_output *output =
        verb_run(workloads, stderr, "-p mutex -t 8 -d 1200ms --bound 60s --progress");

    cr_assert_eq(output->verdict, STRESS_HELD);
    cr_assert(strstr(output->text, "\nmutex  "), "%s", output->text);
    cr_assert(strstr(output->text, " operations "), "%s", output->text);
    cr_assert(strstr(output->text, " cancelled\n"), "%s", output->text);
    cr_assert_null(strchr(output->text, '\r'), "%s", output->text);
}

Test(stress_verb, bad_arguments_are_a_verdict_of_their_own)
{
    const struct verb_output *output = verb_run(workloads, stderr, "--tasks many");

    cr_assert_eq(output->verdict, STRESS_BAD_ARGUMENTS);
    cr_assert(!strncmp(output->text, "ringvm: --tasks: ", 17), "%s", output->text);
    cr_assert(!strchr(strchr(output->text, '\n') + 1, '\n'), "%s", output->text);
}
