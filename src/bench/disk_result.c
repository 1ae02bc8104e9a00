#include <stdio.h>

#include "base/clock.h"
#include "bench/disk.h"
#include "bench/host.h"
#include "bench/percentiles.h"
#include "report/percentile_chart.h"
#include "report/quantity.h"
#include "report/table.h"

static struct quantity rate(const struct report_series *series)
{
    return quantity_of_count((uint64_t)report_median(series));
}

/* Of each operation. */
static double share(uint64_t count, uint64_t operations)
{
    return operations ? (double)count / (double)operations : 0;
}

static void case_print(struct table *table, const struct disk_case *one)
{
    table_row(table, TABLE_PLAIN);
    table_cell(table, "%u", one->depth);
    table_cell(table, "%u", one->block);
    table_cell(table, "%u %%", one->read_percent);
    table_cell(table, "%s", one->sleeps ? "interrupt" : "poll");
    table_cell(table, "%s", rate(&one->iops).text);
    if (one->bare_iops.count)
        table_cell(table, "%.2f", disk_case_ratio(one));
    else
        table_cell(table, "–");
    percentiles_print(table, one->latency);
    table_cell(table, "%.3f", share(one->kicks, one->operations));
    table_cell(table, "%.3f", share(one->interrupts, one->operations));
}

int disk_result_print(const struct disk_session *session, FILE *out, bool styled)
{
    static const struct table_column columns[] = {
        {"depth", TABLE_RIGHT},   {"bytes", TABLE_RIGHT},    {"reads", TABLE_RIGHT},
        {"waits by", TABLE_LEFT}, {"IOPS", TABLE_RIGHT},     {"of bare", TABLE_RIGHT},
        PERCENTILE_COLUMNS,       {"kicks/op", TABLE_RIGHT}, {"irqs/op", TABLE_RIGHT}};
    const struct disk_options *options = session->options;
    struct host host = host_get();
    struct table *table;
    int ret = table_create(&table, columns, array_count(columns));

    if (ret)
        return ret;
    for (unsigned i = 0; i < session->count; i++)
        case_print(table, &session->cases[i]);
    fprintf(out, "%s, %ld cpu%s; %s%s; %u rounds, %g s for each case\n\n", host.kernel, host.cpus,
            host.cpus == 1 ? "" : "s", options->file ? options->file : options->directory,
            options->direct ? ", O_DIRECT" : "", options->common.rounds,
            (double)options->common.duration_ns / (double)NS_PER_S);
    table_print(table, out, styled);
    table_destroy(table);
    return 0;
}

static json_t *series_to_json(const struct report_series *series)
{
    json_t *samples = json_array();

    for (unsigned i = 0; i < series->count; i++)
        if (json_array_append_new(samples, json_real(series->samples[i]))) {
            json_decref(samples);
            return NULL;
        }
    return json_pack("{s:f, s:o}", "median", report_median(series), "samples", samples);
}

static json_t *case_to_json(const struct disk_case *one)
{
    return json_pack("{s:i, s:i, s:i, s:b, s:o, s:o, s:f, s:o, s:f, s:f}", "depth", (int)one->depth,
                     "block", (int)one->block, "read_percent", (int)one->read_percent, "interrupts",
                     one->sleeps, "iops", series_to_json(&one->iops), "bare_iops",
                     series_to_json(&one->bare_iops), "ratio", disk_case_ratio(one), "latency_ns",
                     percentiles_to_json(one->latency), "kicks_per_operation",
                     share(one->kicks, one->operations), "interrupts_per_operation",
                     share(one->interrupts, one->operations));
}

json_t *disk_result_to_json(const struct disk_session *session)
{
    const struct disk_options *options = session->options;
    struct host host = host_get();
    json_t *cases = json_array();

    for (unsigned i = 0; i < session->count; i++)
        if (json_array_append_new(cases, case_to_json(&session->cases[i]))) {
            json_decref(cases);
            return NULL;
        }
    return json_pack("{s:s, s:i, s:s, s:b, s:i, s:I, s:o}", "kernel", host.kernel, "cpus",
                     (int)host.cpus, "file", options->file ? options->file : options->directory,
                     "direct", options->direct, "rounds", (int)options->common.rounds, "seed",
                     (json_int_t)options->seed, "cases", cases);
}

/* Short: something else stands beside it. */
static void title_print(const struct disk_case *one, char *title, size_t size)
{
    bool is_kib = one->block % 1024 == 0;
    char share_of_reads[24] = " reads";

    if (!one->read_percent)
        snprintf(share_of_reads, sizeof(share_of_reads), " writes");
    else if (one->read_percent < 100)
        snprintf(share_of_reads, sizeof(share_of_reads), ", %u %% reads", one->read_percent);
    snprintf(title, size, "depth %u, %u %s%s%s", one->depth, one->block / (is_kib ? 1024 : 1),
             is_kib ? "KiB" : "bytes", share_of_reads, one->sleeps ? ", interrupts" : "");
}

int disk_result_draw(const struct disk_session *session, const char *path, struct err *err)
{
    struct percentile_panel panels[PERCENTILE_PANEL_COUNT_MAX];
    char titles[PERCENTILE_PANEL_COUNT_MAX][64], notes[PERCENTILE_PANEL_COUNT_MAX][48];
    char subtitle[192];
    struct host host = host_get();
    struct percentile_chart chart = {
        .title = "Disk latency as the guest sees it",
        .subtitle = subtitle,
        .curve_names = {"virtio-blk of ringvm", NULL},
        .footnote = session->count > PERCENTILE_PANEL_COUNT_MAX ? "The first cases only." : "",
        .panels = panels,
    };

    snprintf(subtitle, sizeof(subtitle), "ringvm bench disk on %s, %ld cpu%s", host.kernel,
             host.cpus, host.cpus == 1 ? "" : "s");
    for (unsigned i = 0; i < session->count && i < PERCENTILE_PANEL_COUNT_MAX; i++) {
        const struct disk_case *one = &session->cases[i];

        title_print(one, titles[i], sizeof(titles[i]));
        snprintf(notes[i], sizeof(notes[i]), "%s/s", rate(&one->iops).text);
        panels[i] = (struct percentile_panel){
            .title = titles[i], .note = notes[i], .histograms = {one->latency}};
        chart.panel_count++;
    }
    return percentile_chart_write(&chart, path, err);
}
