#include "latency/session.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "latency/result.h"

/* What takes long is another test's business: wake and nop. */
static struct latency_options quick(void)
{
    struct latency_options options = {.duration_ns = 60 * NS_PER_S,
                                      .samples_max = 100,
                                      .seed = 3,
                                      .load = {.threads = 1, .tasks = 2},
                                      .poll_us = 0,
                                      .directory = "/nowhere"};

    for (unsigned i = 0; i < PROBE_COUNT; i++)
        options.selected[i] = !strcmp(probes[i].name, "wake") || !strcmp(probes[i].name, "nop");
    return options;
}

static struct session measured(const struct latency_options *options)
{
    struct session session;
    struct err err = {""};

    cr_assert_eq(session_run(&session, options, NULL, &err), 0, "%s", err.text);
    return session;
}

static char *printed(const struct session *session)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    cr_assert_eq(result_print(session, out, false), 0);
    fclose(out);
    return text;
}

Test(session, measures_what_was_asked_for_with_and_without_load)
{
    struct latency_options options = quick();
    struct session session = measured(&options);

    for (unsigned i = 0; i < PROBE_COUNT; i++)
        for (unsigned condition = 0; condition < SESSION_CONDITION_COUNT; condition++) {
            const struct session_case *one = &session.cases[i][condition];

            if (!options.selected[i]) {
                cr_assert_null(one->histogram);
                continue;
            }
            cr_assert_eq(histogram_count(one->histogram), 100);
            cr_assert_gt(one->wall_ns, 0);
        }
    cr_assert_gt(session.clock_ns, 0);
    session_destroy(&session);
}

Test(session, where_there_is_no_load_there_is_no_measurement_with_load)
{
    struct latency_options options = quick();
    struct session session;

    options.load = (struct load_size){0};
    session = measured(&options);
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        cr_assert_null(session.cases[i][SESSION_LOADED].histogram);
    session_destroy(&session);
}

/* Not 0 for 3, and not 5; nor 5 for 7. */
Test(session, takes_as_many_samples_as_were_asked_for)
{
    static const unsigned counts[] = {1, 3, 7, 103};
    struct latency_options options = quick();

    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        struct session session;

        options.samples_max = counts[i];
        session = measured(&options);
        for (unsigned condition = 0; condition < SESSION_CONDITION_COUNT; condition++)
            cr_assert_eq(histogram_count(session.cases[0][condition].histogram), counts[i]);
        session_destroy(&session);
    }
}

/* Tasks that compute stand between a wake-up and the run: as many as were asked for, each for
 * longer than a wake-up takes. */
Test(session, the_load_is_in_the_executor_too)
{
    struct latency_options options = quick();
    struct session session;
    const struct session_case *cases = session.cases[0];

    options.load = (struct load_size){.tasks = 8};
    session = measured(&options);
    cr_assert_gt(histogram_percentile(cases[SESSION_LOADED].histogram, 90000),
                 histogram_percentile(cases[SESSION_QUIET].histogram, 50000));
    session_destroy(&session);
}

Test(session, a_measurement_that_cannot_be_made_is_an_error)
{
    struct latency_options options = quick();
    struct session session;
    struct err err = {""};

    for (unsigned i = 0; i < PROBE_COUNT; i++)
        options.selected[i] |= !strcmp(probes[i].name, "disk");
    cr_assert_eq(session_run(&session, &options, NULL, &err), -ENOENT);
    cr_assert_not_null(strstr(err.text, "/nowhere"), "%s", err.text);
}

Test(session, progress_names_the_round_and_clears_its_line)
{
    struct latency_options options = quick();
    struct session session;
    struct err err = {""};
    char *text = NULL;
    size_t size = 0;
    FILE *progress = open_memstream(&text, &size);

    cr_assert_not_null(progress);
    cr_assert_eq(session_run(&session, &options, progress, &err), 0, "%s", err.text);
    fclose(progress);
    cr_assert_not_null(strstr(text, "round 1 of 5, without load: wake to run"), "%s", text);
    cr_assert_not_null(strstr(text, "round 5 of 5, with load: I/O: no-op"), "%s", text);
    cr_assert_str_eq(text + strlen(text) - 4, "\r\033[K");
    free(text);
    session_destroy(&session);
}

Test(session, only_waiting_without_load_of_ours_is_a_disturbance)
{
    struct session_case one = {.wall_ns = 1000, .run_delay_ns = 10};

    cr_assert_not(session_case_is_disturbed(&one, SESSION_QUIET));
    one.run_delay_ns = 11;
    cr_assert(session_case_is_disturbed(&one, SESSION_QUIET));
    cr_assert_not(session_case_is_disturbed(&one, SESSION_LOADED));
}

Test(result, the_table_has_a_row_for_each_case_and_says_when_the_machine_was_busy)
{
    struct latency_options options = quick();
    struct session session = measured(&options);
    char *text;

    for (unsigned i = 0; i < PROBE_COUNT; i++)
        session.cases[i][SESSION_QUIET].run_delay_ns = 0;
    text = printed(&session);
    cr_assert_not_null(strstr(text, "\nwake to run "), "%s", text);
    cr_assert_not_null(strstr(text, "\nI/O: no-op "), "%s", text);
    cr_assert_not_null(strstr(text, "\n  with load "), "%s", text);
    cr_assert_not_null(strstr(text, "\nload: 1 busy thread, 2 busy tasks in each executor\n"), "%s",
                       text);
    cr_assert_null(strstr(text, "timer"), "%s", text);
    cr_assert_null(strstr(text, "busy:"), "%s", text);
    free(text);
    for (unsigned i = 0; i < PROBE_COUNT; i++)
        session.cases[i][SESSION_QUIET].run_delay_ns = session.cases[i][SESSION_QUIET].wall_ns / 2;
    text = printed(&session);
    cr_assert_not_null(strstr(text, "\nwake to run *"), "%s", text);
    cr_assert_not_null(strstr(text, "The machine was busy: "), "%s", text);
    cr_assert_not_null(strstr(text, "for 50.0 % of the time"), "%s", text);
    free(text);
    session_destroy(&session);
}

static void prints_of_the_disk(bool is_direct, bool was_named, const char *line)
{
    struct latency_options options = quick();
    struct session session;
    char *text;

    for (unsigned i = 0; i < PROBE_COUNT; i++)
        options.selected[i] = !strcmp(probes[i].name, "disk");
    options.directory = "/tmp";
    session = measured(&options);
    session.disk_is_direct = is_direct;
    session.disk_was_named = was_named;
    text = printed(&session);
    if (line)
        cr_assert_not_null(strstr(text, line), "%s", text);
    else
        cr_assert_null(strstr(text, "/tmp"), "%s", text);
    free(text);
    session_destroy(&session);
}

Test(result, what_a_directory_cannot_do_is_said_in_a_line)
{
    prints_of_the_disk(true, false, NULL);
    prints_of_the_disk(false, false, "\n/tmp cannot bypass the page cache (O_DIRECT): ");
    prints_of_the_disk(true, true, "\n/tmp has no files without a name (O_TMPFILE): ");
}

Test(result, json_has_what_the_table_has_and_a_curve_that_rises)
{
    struct latency_options options = quick();
    struct session session = measured(&options);
    json_t *root = result_to_json(&session);
    const json_t *cases = json_object_get(root, "measurements");

    cr_assert_not_null(root);
    cr_assert_eq(json_array_size(cases), 4);
    cr_assert_eq(json_integer_value(json_object_get(root, "seed")), 3);
    for (size_t i = 0; i < 4; i++) {
        const json_t *one = json_array_get(cases, i);
        const json_t *curve = json_object_get(one, "curve");
        const struct histogram *histogram =
            session.cases[i < 2 ? 0 : 3][i % 2 ? SESSION_LOADED : SESSION_QUIET].histogram;
        double percent = 0, value = -1;

        cr_assert_str_eq(json_string_value(json_object_get(one, "name")), i < 2 ? "wake" : "nop");
        cr_assert_eq(json_integer_value(json_object_get(one, "load_threads")), (int)i % 2);
        cr_assert_eq(json_integer_value(json_object_get(one, "load_tasks")), (int)i % 2 * 2);
        cr_assert_eq(json_integer_value(json_object_get(one, "samples")), 100);
        cr_assert_eq((uint64_t)json_integer_value(json_object_get(one, "p50")),
                     histogram_percentile(histogram, 50000));
        cr_assert_eq((uint64_t)json_integer_value(json_object_get(one, "max")),
                     histogram_max(histogram));
        cr_assert(json_is_null(json_object_get(one, "p99.99")));
        for (size_t point = 0; point < json_array_size(curve); point++) {
            const json_t *pair = json_array_get(curve, point);

            cr_assert_gt(json_number_value(json_array_get(pair, 0)), percent);
            cr_assert_gt(json_number_value(json_array_get(pair, 1)), value);
            percent = json_number_value(json_array_get(pair, 0));
            value = json_number_value(json_array_get(pair, 1));
        }
        cr_assert_eq(percent, 100);
        cr_assert_eq((uint64_t)value, histogram_max(histogram));
    }
    json_decref(root);
    session_destroy(&session);
}

Test(result, the_picture_has_a_panel_for_each_measurement)
{
    struct latency_options options = quick();
    struct session session = measured(&options);
    char path[] = "/tmp/ringvm-picture-XXXXXX";
    char text[1 << 16] = "";
    int fd = mkstemp(path);
    struct err err = {""};

    cr_assert_geq(fd, 0);
    cr_assert_eq(result_draw(&session, path, &err), 0, "%s", err.text);
    cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
    cr_assert_not_null(strstr(text, ">wake to run"));
    cr_assert_not_null(strstr(text, ">I/O: no-op"));
    cr_assert_not_null(strstr(text, ">with 1 busy thread, 2 busy tasks in each executor<"));
    cr_assert_null(strstr(text, "timer"));
    close(fd);
    unlink(path);
    cr_assert_eq(result_draw(&session, "/nowhere/x.svg", &err), -ENOENT);
    session_destroy(&session);
}
