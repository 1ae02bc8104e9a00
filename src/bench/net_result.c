#include <stdio.h>

#include "bench/host.h"
#include "bench/net.h"
#include "bench/percentiles.h"
#include "report/percentile_chart.h"
#include "report/quantity.h"
#include "report/table.h"

static double share(uint64_t count, uint64_t frames)
{
    return frames ? (double)count / (double)frames : 0;
}

static void case_print(struct table *table, const struct net_case *one)
{
    table_row(table, TABLE_PLAIN);
    table_cell(table, "%s", net_kind_names[one->kind]);
    table_cell(table, "%u", one->size);
    if (one->kind == NET_ECHO)
        table_cell(table, "%u", one->depth);
    else
        table_cell(table, "–");
    table_cell(table, "%s", one->sleeps ? "interrupt" : "poll");
    table_cell(table, "%s", quantity_of_count((uint64_t)report_median(&one->rate)).text);
    percentiles_print(table, one->round_trip);
    table_cell(table, "%llu", (unsigned long long)one->lost);
    table_cell(table, "%.3f", share(one->kicks, one->frames));
    table_cell(table, "%.3f", share(one->interrupts, one->frames));
}

int net_result_print(const struct net_session *session, FILE *out, bool styled)
{
    static const struct table_column columns[] = {
        {"", TABLE_LEFT},         {"bytes", TABLE_RIGHT},       {"depth", TABLE_RIGHT},
        {"waits by", TABLE_LEFT}, {"frames/s", TABLE_RIGHT},    PERCENTILE_COLUMNS,
        {"lost", TABLE_RIGHT},    {"kicks/frame", TABLE_RIGHT}, {"irqs/frame", TABLE_RIGHT}};
    struct host host = host_get();
    struct table *table;
    int ret = table_create(&table, columns, array_count(columns));

    if (ret)
        return ret;
    for (unsigned i = 0; i < session->count; i++)
        case_print(table, &session->cases[i]);
    fprintf(out, "%s, %ld cpu%s; %u rounds\n\n", host.kernel, host.cpus, host.cpus == 1 ? "" : "s",
            session->options->common.rounds);
    table_print(table, out, styled);
    table_destroy(table);
    return 0;
}

json_t *net_result_to_json(const struct net_session *session)
{
    struct host host = host_get();
    json_t *cases = json_array();

    for (unsigned i = 0; i < session->count; i++) {
        const struct net_case *one = &session->cases[i];

        if (json_array_append_new(cases,
                                  json_pack("{s:s, s:i, s:i, s:b, s:f, s:o, s:I, s:f, s:f}", "kind",
                                            net_kind_names[one->kind], "size", (int)one->size,
                                            "depth", (int)one->depth, "interrupts", one->sleeps,
                                            "frames_per_second", report_median(&one->rate),
                                            "round_trip_ns", percentiles_to_json(one->round_trip),
                                            "lost", (json_int_t)one->lost, "kicks_per_frame",
                                            share(one->kicks, one->frames), "interrupts_per_frame",
                                            share(one->interrupts, one->frames)))) {
            json_decref(cases);
            return NULL;
        }
    }
    return json_pack("{s:s, s:i, s:i, s:o}", "kernel", host.kernel, "cpus", (int)host.cpus,
                     "rounds", (int)session->options->common.rounds, "cases", cases);
}

int net_result_draw(const struct net_session *session, const char *path, struct err *err)
{
    struct percentile_panel panels[PERCENTILE_PANEL_COUNT_MAX];
    char titles[PERCENTILE_PANEL_COUNT_MAX][64], subtitle[192];
    struct host host = host_get();
    struct percentile_chart chart = {
        .title = "There and back, as the guest sees it",
        .subtitle = subtitle,
        .curve_names = {"virtio-net of ringvm", NULL},
        .footnote = "",
        .panels = panels,
    };

    snprintf(subtitle, sizeof(subtitle), "ringvm bench net on %s, %ld cpu%s", host.kernel,
             host.cpus, host.cpus == 1 ? "" : "s");
    for (unsigned i = 0; i < session->count && chart.panel_count < PERCENTILE_PANEL_COUNT_MAX;
         i++) {
        const struct net_case *one = &session->cases[i];
        unsigned index = chart.panel_count;

        if (one->kind != NET_ECHO)
            continue;
        snprintf(titles[index], sizeof(titles[index]), "%u bytes, %u at a time%s", one->size,
                 one->depth, one->sleeps ? ", interrupts" : "");
        panels[index] = (struct percentile_panel){
            .title = titles[index], .note = "", .histograms = {one->round_trip}};
        chart.panel_count++;
    }
    return percentile_chart_write(&chart, path, err);
}
