#include "bench/reader.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/record.h"

struct results {
    struct histogram *histogram;
    unsigned count;
};

static int take(void *arg, const char *line, struct histogram **histogram, struct err *err)
{
    struct results *results = arg;
    uint64_t depth;
    int ret = record_number(line, "depth", &depth);

    (void)err;
    results->count += !ret;
    *histogram = results->histogram;
    return ret;
}

/* Reads `lines` up to the first that is refused, then asks for the end if all were taken. */
static int read_all(const char *lines, struct results *results, struct err *err)
{
    struct reader reader = {.word = "case", .result = take, .arg = results};
    char *copy = strdup(lines), *rest = copy, *line;
    int ret = 0;

    cr_assert_not_null(copy);
    *results = (struct results){.count = 0};
    cr_assert_eq(histogram_create(&results->histogram), 0);
    while (!ret && (line = strsep(&rest, "\n")))
        ret = reader_line(&reader, line, err);
    free(copy);
    return ret ? ret : reader_finish(&reader, err);
}

Test(reader, results_get_the_buckets_that_follow_them)
{
    struct results results;
    struct err err = {""};

    cr_assert_eq(read_all("SeaBIOS\nh 1 1\nringvm-bench-guest 1\nclock cycles_per_ms=1\n"
                          "case depth=1\nh 100 3\nh 200 1\ncase depth=2\nend",
                          &results, &err),
                 0, "%s", err.text);
    cr_assert_eq(results.count, 2);
    cr_assert_eq(histogram_count(results.histogram), 4);
    cr_assert_eq(histogram_max(results.histogram), 200);
    histogram_destroy(results.histogram);
}

static void refused(const char *lines, int code, const char *words)
{
    struct results results;
    struct err err = {""};

    cr_assert_eq(read_all(lines, &results, &err), code, "%s", lines);
    cr_assert_not_null(strstr(err.text, words), "'%s' lacks '%s'", err.text, words);
    histogram_destroy(results.histogram);
}

Test(reader, error_of_the_guest_is_the_error)
{
    refused("ringvm-bench-guest 1\nerror no disk", -EIO, "no disk");
}

Test(reader, guest_that_does_not_come_to_its_end_is_an_error)
{
    refused("", -EIO, "never heard of");
    refused("end", -EIO, "never heard of");
    refused("ringvm-bench-guest 1\ncase depth=1", -EIO, "ended early");
}

Test(reader, lines_that_make_no_sense_are_refused)
{
    refused("ringvm-bench-guest 1\ncase deep=1\nend", -EPROTO, "case deep=1");
    refused("ringvm-bench-guest 1\nh 1 1\nend", -EPROTO, "h 1 1");
    refused("ringvm-bench-guest 1\ncase depth=1\nh 1\nend", -EPROTO, "h 1");
}
