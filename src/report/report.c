#include "report/report.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "report/json_file.h"

struct report_row *report_add(struct report *report, const char *name, const char *unit,
                              const char *reference)
{
    struct report_row *row;

    CHECK_CMP(report->count, <, (unsigned)REPORT_ROWS_MAX);
    row = &report->rows[report->count++];
    *row = (struct report_row){.name = name, .unit = unit, .reference = reference};
    return row;
}

void report_sample(struct report_series *series, double value)
{
    if (series->count < REPORT_RUNS_MAX)
        series->samples[series->count++] = value;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

struct summary {
    double median, min, max;
};

static struct summary summarize(const struct report_series *series)
{
    double sorted[REPORT_RUNS_MAX] = {0};
    unsigned count = series->count;

    if (!count)
        return (struct summary){0};
    memcpy(sorted, series->samples, count * sizeof(double));
    qsort(sorted, count, sizeof(double), compare);
    return (struct summary){
        .median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2,
        .min = sorted[0],
        .max = sorted[count - 1],
    };
}

double report_median(const struct report_series *series)
{
    return summarize(series).median;
}

void report_print_heading(FILE *out)
{
    fprintf(out, "%-22s %12s %12s %12s  %-12s %7s\n", "", "median", "min", "max", "unit", "ratio");
}

/* Two that count: also of a ratio that is next to nothing. */
static int decimals_of(double ratio)
{
    return ratio >= 0.1 || ratio <= 0 ? 2 : ratio >= 0.01 ? 3 : 4;
}

void report_print_row(const struct report_row *row, FILE *out)
{
    struct summary ours = summarize(&row->ours);

    fprintf(out, "%-22s %12.2f %12.2f %12.2f  %-12s", row->name, ours.median, ours.min, ours.max,
            row->unit);
    if (row->reference && report_median(&row->other) > 0) {
        double ratio = ours.median / report_median(&row->other);

        fprintf(out, " %7.*f of %s (%.2f)", decimals_of(ratio), ratio, row->reference,
                report_median(&row->other));
    }
    fputc('\n', out);
}

/* NULL when there is no memory. */
static json_t *row_to_json(const struct report_row *row)
{
    struct summary ours = summarize(&row->ours);
    json_t *object =
        json_pack("{s:s, s:s, s:f, s:f, s:f, s:i}", "name", row->name, "unit", row->unit, "median",
                  ours.median, "min", ours.min, "max", ours.max, "runs", (int)row->ours.count);
    double reference = report_median(&row->other);
    bool is_compared = row->reference && reference > 0;

    if (json_object_set_new(object, "reference",
                            is_compared ? json_string(row->reference) : json_null()) ||
        json_object_set_new(object, "ratio",
                            is_compared ? json_real(ours.median / reference) : json_null())) {
        json_decref(object);
        return NULL;
    }
    return object;
}

int report_write_json(const struct report *report, const char *path, struct err *err)
{
    json_t *rows = json_array();

    for (unsigned i = 0; i < report->count; i++)
        if (json_array_append_new(rows, row_to_json(&report->rows[i]))) {
            json_decref(rows);
            rows = NULL;
        }
    return json_file_write(rows, path, err);
}
