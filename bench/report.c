#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

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

void report_print_row(const struct report_row *row, FILE *out)
{
    struct summary ours = summarize(&row->ours);

    fprintf(out, "%-22s %12.2f %12.2f %12.2f  %-12s", row->name, ours.median, ours.min, ours.max,
            row->unit);
    if (row->reference && row->other.count)
        fprintf(out, " %7.2f of %s (%.2f)", ours.median / report_median(&row->other),
                row->reference, report_median(&row->other));
    fputc('\n', out);
}

int report_write_json(const struct report *report, const char *path)
{
    FILE *out = fopen(path, "w");

    if (!out)
        return -errno;
    fputs("[\n", out);
    for (unsigned i = 0; i < report->count; i++) {
        const struct report_row *row = &report->rows[i];
        struct summary ours = summarize(&row->ours);

        fprintf(out,
                "  {\"name\": \"%s\", \"unit\": \"%s\", \"median\": %.4f, \"min\": %.4f, "
                "\"max\": %.4f, \"runs\": %u, ",
                row->name, row->unit, ours.median, ours.min, ours.max, row->ours.count);
        if (row->reference && row->other.count)
            fprintf(out, "\"reference\": \"%s\", \"ratio\": %.4f}", row->reference,
                    ours.median / report_median(&row->other));
        else
            fputs("\"reference\": null, \"ratio\": null}", out);
        fputs(i + 1 < report->count ? ",\n" : "\n", out);
    }
    fputs("]\n", out);
    return fclose(out) ? -errno : 0;
}

uint64_t report_run_delay_ns(void)
{
    char text[128] = "";
    char *end = text;
    FILE *in = fopen("/proc/thread-self/schedstat", "r");

    if (!in)
        return 0;
    if (!fgets(text, sizeof(text), in))
        text[0] = '\0';
    fclose(in);
    strtoull(text, &end, 10); /* time on a cpu */
    return strtoull(end, NULL, 10);
}
