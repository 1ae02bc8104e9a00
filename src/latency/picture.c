/* The picture of result.h. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "latency/result.h"
#include "report/percentile_chart.h"
#include "report/quantity.h"

_Static_assert((int)SESSION_CONDITION_COUNT == (int)PERCENTILE_CURVE_COUNT,
               "a curve for each condition");

int result_draw(const struct session *session, const char *path, struct err *err)
{
    const struct latency_options *options = session->options;
    struct result_host host = result_host_get();
    struct percentile_panel panels[PROBE_COUNT];
    char notes[PROBE_COUNT][64], subtitle[256], loaded[96], footnote[160];
    struct percentile_chart chart = {
        .title = "Latency: the usual case, and the rare ones",
        .subtitle = subtitle,
        .curve_names = {"without load", load_size_is_zero(&options->load) ? NULL : loaded},
        .footnote = footnote,
        .panels = panels,
    };

    snprintf(subtitle, sizeof(subtitle),
             "ringvm latency on %s, %ld cpu%s: %g s each, seed %" PRIu64, host.kernel, host.cpus,
             host.cpus == 1 ? "" : "s", (double)options->duration_ns / (double)NS_PER_S,
             options->seed);
    snprintf(loaded, sizeof(loaded), "with %s", result_load_get(&options->load).text);
    snprintf(footnote, sizeof(footnote), "One read of the clock, %.0f ns, is in every figure.%s",
             session->clock_ns,
             session_is_disturbed(session)
                 ? " *: the machine was busy with something else; measure again."
                 : "");
    for (unsigned i = 0; i < PROBE_COUNT; i++) {
        const struct session_case *cases = session->cases[i];
        unsigned index = chart.panel_count;

        if (!cases[SESSION_QUIET].histogram)
            continue;
        snprintf(notes[index], sizeof(notes[index]), "%s%s samples%s",
                 probes[i].measure == disk_measure && !session->disk_is_direct
                     ? "through the page cache, "
                     : "",
                 quantity_of_count(histogram_count(cases[SESSION_QUIET].histogram)).text,
                 session_case_is_disturbed(&cases[SESSION_QUIET], SESSION_QUIET) ? " *" : "");
        panels[index] = (struct percentile_panel){
            .title = probes[i].title,
            .note = notes[index],
            .histograms = {cases[SESSION_QUIET].histogram, cases[SESSION_LOADED].histogram},
        };
        chart.panel_count++;
    }
    return percentile_chart_write(&chart, path, err);
}
