#include "report/report.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report/json_file.h"

static json_t *written_and_read(const struct report *report)
{
    char path[] = "/tmp/ringvm-report-XXXXXX";
    int fd = mkstemp(path);
    struct err err = {""};
    json_error_t error;
    json_t *root;

    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(report_write_json(report, path, &err), 0, "%s", err.text);
    root = json_load_file(path, 0, &error);
    cr_assert_not_null(root, "%s", error.text);
    unlink(path);
    return root;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

Test(report, json_has_medians_spread_and_the_ratio_to_the_reference)
{
    static struct report report;
    struct report_row *row = report_add(&report, "mutex \"x\"", "ns", "pthread");
    json_t *root, *object;

    report_sample(&row->ours, 30);
    report_sample(&row->ours, 10);
    report_sample(&row->ours, 20);
    report_sample(&row->other, 40);
    report_sample(&row->other, 60);
    root = written_and_read(&report);
    cr_assert_eq(json_array_size(root), 1);
    object = json_array_get(root, 0);
    cr_assert_str_eq(json_string_value(json_object_get(object, "name")), "mutex \"x\"");
    cr_assert_str_eq(json_string_value(json_object_get(object, "unit")), "ns");
    cr_assert_str_eq(json_string_value(json_object_get(object, "reference")), "pthread");
    cr_assert_eq(number(object, "median"), 20);
    cr_assert_eq(number(object, "min"), 10);
    cr_assert_eq(number(object, "max"), 30);
    cr_assert_eq(number(object, "runs"), 3);
    cr_assert_eq(number(object, "ratio"), 20.0 / 50.0);
    json_decref(root);
}

Test(report, a_small_ratio_is_printed_with_digits_that_count)
{
    static const struct {
        double ours;
        const char *printed;
    } cases[] = {
        {150, " 1.50 of x"}, {12, " 0.12 of x"}, {1.2, " 0.012 of x"}, {0.12, " 0.0012 of x"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        static struct report report;
        struct report_row *row = report_add(&report, "row", "ns", "x");
        char text[256] = "";
        FILE *out = fmemopen(text, sizeof(text), "w");

        cr_assert_not_null(out);
        report_sample(&row->ours, cases[i].ours);
        report_sample(&row->other, 100);
        report_print_row(row, out);
        fclose(out);
        cr_assert_not_null(strstr(text, cases[i].printed), "%s", text);
    }
}

Test(report, without_a_reference_there_is_no_ratio)
{
    static struct report report;
    json_t *root;

    report_sample(&report_add(&report, "a", "ns", NULL)->ours, 1);
    report_sample(&report_add(&report, "b", "ns", "never measured")->ours, 1);
    root = written_and_read(&report);
    cr_assert_eq(json_array_size(root), 2);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(json_is_null(json_object_get(json_array_get(root, i), "reference")));
        cr_assert(json_is_null(json_object_get(json_array_get(root, i), "ratio")));
    }
    json_decref(root);
}

Test(report, a_full_series_drops_further_samples)
{
    struct report_series series = {.count = 0};
    unsigned middle = REPORT_RUNS_MAX / 2;

    for (unsigned i = 0; i < 2 * REPORT_RUNS_MAX; i++)
        report_sample(&series, i);
    cr_assert_eq(series.count, REPORT_RUNS_MAX);
    cr_assert_eq(report_median(&series), middle);
}

Test(report, a_row_shows_its_ratio_and_what_it_is_measured_against)
{
    static struct report report;
    struct report_row *row = report_add(&report, "nop", "ns", "bare loop");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    report_sample(&row->ours, 110);
    report_sample(&row->other, 100);
    report_print_row(row, out);
    fclose(out);
    cr_assert_not_null(strstr(text, "1.10 of bare loop (100.00)"), "%s", text);
    free(text);
}

Test(report, a_reference_of_zero_gives_no_ratio)
{
    static struct report report;
    struct report_row *row = report_add(&report, "idle", "%", "somebody");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    json_t *root;

    cr_assert_not_null(out);
    report_sample(&row->ours, 1);
    report_sample(&row->other, 0);
    report_print_row(row, out);
    fclose(out);
    cr_assert_null(strstr(text, "of somebody"), "%s", text);
    root = written_and_read(&report);
    cr_assert(json_is_null(json_object_get(json_array_get(root, 0), "ratio")));
    json_decref(root);
    free(text);
}

Test(json_file, an_error_names_the_file)
{
    struct err err = {""};

    cr_assert_eq(json_file_write(json_array(), "/nowhere/x.json", &err), -ENOENT);
    cr_assert_str_eq(err.text, "/nowhere/x.json: cannot write: No such file or directory");
    cr_assert_eq(json_file_write(NULL, "x.json", &err), -ENOMEM);
    cr_assert_not_null(strstr(err.text, "x.json"));
}

Test(json_file, a_full_device_is_an_error)
{
    struct err err = {""};

    if (access("/dev/full", W_OK))
        cr_skip_test("no /dev/full");
    cr_assert_eq(json_file_write(json_pack("[s]", "text"), "/dev/full", &err), -ENOSPC, "%s",
                 err.text);
}
