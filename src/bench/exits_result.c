#include <stdio.h>

#include "bench/exits.h"
#include "bench/host.h"
#include "bench/percentiles.h"
#include "report/percentile_chart.h"
#include "report/quantity.h"
#include "report/table.h"

int exits_result_print(const struct exits_session *session, FILE *out, bool styled)
{
    static const struct table_column columns[] = {
        {"", TABLE_LEFT}, PERCENTILE_COLUMNS, {"samples", TABLE_RIGHT}};
    struct host host = host_get();
    struct table *table;
    int ret = table_create(&table, columns, array_count(columns));

    if (ret)
        return ret;
    for (unsigned i = 0; i < EXIT_KIND_COUNT; i++) {
        table_row(table, TABLE_PLAIN);
        table_cell(table, "%s", exit_kinds[i].title);
        percentiles_print(table, session->histograms[i]);
        table_cell(table, "%s", quantity_of_count(histogram_count(session->histograms[i])).text);
    }
    fprintf(out, "%s, %ld cpu%s; %u rounds\n\n", host.kernel, host.cpus, host.cpus == 1 ? "" : "s",
            session->options->rounds);
    table_print(table, out, styled);
    table_destroy(table);
    return 0;
}

json_t *exits_result_to_json(const struct exits_session *session)
{
    struct host host = host_get();
    json_t *exits = json_array();

    for (unsigned i = 0; i < EXIT_KIND_COUNT; i++)
        if (json_array_append_new(exits, json_pack("{s:s, s:s, s:o}", "name", exit_kinds[i].name,
                                                   "title", exit_kinds[i].title, "latency_ns",
                                                   percentiles_to_json(session->histograms[i])))) {
            json_decref(exits);
            return NULL;
        }
    return json_pack("{s:s, s:i, s:i, s:o}", "kernel", host.kernel, "cpus", (int)host.cpus,
                     "rounds", (int)session->options->rounds, "exits", exits);
}

int exits_result_draw(const struct exits_session *session, const char *path, struct err *err)
{
    struct percentile_panel panels[EXIT_KIND_COUNT];
    struct host host = host_get();
    char subtitle[192];
    const struct percentile_chart chart = {
        .title = "What it costs to leave the guest",
        .subtitle = subtitle,
        .curve_names = {"as the guest sees it", NULL},
        .footnote = "",
        .panels = panels,
        .panel_count = EXIT_KIND_COUNT,
    };

    snprintf(subtitle, sizeof(subtitle), "ringvm bench exits on %s, %ld cpu%s", host.kernel,
             host.cpus, host.cpus == 1 ? "" : "s");
    for (unsigned i = 0; i < EXIT_KIND_COUNT; i++)
        panels[i] = (struct percentile_panel){
            .title = exit_kinds[i].title, .note = "", .histograms = {session->histograms[i]}};
    return percentile_chart_write(&chart, path, err);
}
