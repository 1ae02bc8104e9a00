/* The verb as a whole: what it prints, and its verdict. */
#include "stress/stress.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char output[1 << 16];

/* Runs the verb with a stream of this process led into `output`. */
static enum stress_verdict run_with(FILE *stream, const char *words)
{
    char text[256], *argv[24], *rest;
    int argc = 0;
    enum stress_verdict verdict;
    FILE *file = tmpfile();
    size_t length;
    int saved;

    cr_assert_not_null(file);
    fflush(stream);
    snprintf(text, sizeof(text), "stress %s", words);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    saved = dup(fileno(stream));
    cr_assert_geq(saved, 0);
    cr_assert_geq(dup2(fileno(file), fileno(stream)), 0);
    verdict = stress_command(argc, argv);
    fflush(stream);
    cr_assert_geq(dup2(saved, fileno(stream)), 0);
    close(saved);
    rewind(file);
    length = fread(output, 1, sizeof(output) - 1, file);
    output[length] = '\0';
    fclose(file);
    return verdict;
}

/* A hold of half a second is no lost wake-up, but with this bound it counts as one. */
Test(stress_verb, a_failure_shows_seed_and_state_and_is_the_verdict)
{
    cr_assert_eq(
        run_with(stderr, "-p mutex -t 8 -e 1 --hold 500ms --bound 10ms --seed 31337 -n 4000"),
        STRESS_FAILED);
    cr_assert(strstr(output, "lost wake-up: worker "), "%s", output);
    cr_assert(strstr(output, "\nseed: 31337\n"), "%s", output);
    cr_assert(strstr(output, "\nmutex: state 0x"), "%s", output);
    cr_assert(strstr(output, "waits in amutex_lock"), "%s", output);
    cr_assert(strstr(output, "ringvm: something did not hold, with seed 31337"), "%s", output);
}

Test(stress_verb, results_are_a_table)
{
    cr_assert_eq(run_with(stdout, "-p mutex,channel -t 8 -n 1000 --bound 60s"), STRESS_HELD);
    cr_assert(strstr(output, "primitive "), "%s", output);
    cr_assert(strstr(output, "\nmutex "), "%s", output);
    cr_assert(strstr(output, "\nchannel "), "%s", output);
    cr_assert(strstr(output, "held"), "%s", output);
}

Test(stress_verb, results_as_json)
{
    json_t *root, *results;

    cr_assert_eq(run_with(stdout, "-p once,barrier -t 8 -n 1000 --bound 60s --json - --seed 5"),
                 STRESS_HELD);
    root = json_loads(output, 0, NULL);
    cr_assert_not_null(root, "%s", output);
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

Test(stress_verb, bad_arguments_are_a_verdict_of_their_own)
{
    cr_assert_eq(run_with(stderr, "--tasks many"), STRESS_BAD_ARGUMENTS);
    cr_assert(!strncmp(output, "ringvm: --tasks: ", 17), "%s", output);
    cr_assert(!strchr(strchr(output, '\n') + 1, '\n'), "%s", output);
}
