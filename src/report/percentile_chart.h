/*
 * A picture of histograms of nanoseconds: for each of several panels the curves of percentiles, on
 * axes that all panels share. Both are logarithmic: upwards each line is ten times as long, to the
 * right each is ten times as rare (HdrHistogram's axis of 1 / (1 - p)), so that the one in ten
 * thousand has as much room as the usual case. Light or dark as the viewer likes it.
 */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "report/histogram.h"

enum { PERCENTILE_CURVE_COUNT = 2, PERCENTILE_PANEL_COUNT_MAX = 32 };

struct percentile_panel {
    const char *title;
    const char *note; /* beside the title, or "" */
    /* By curve; NULL or empty: none. In each panel the first ones of the others are seen in grey.
     */
    const struct histogram *histograms[PERCENTILE_CURVE_COUNT];
};

/* Texts and histograms are the caller's. */
struct percentile_chart {
    const char *title;
    const char *subtitle;
    const char *curve_names[PERCENTILE_CURVE_COUNT]; /* NULL: no panel has it */
    const char *footnote;                            /* or "" */
    const struct percentile_panel *panels;
    unsigned panel_count; /* at most PERCENTILE_PANEL_COUNT_MAX (asserted) */
};

/* Draws it to a file. 0, or a negative errno with a line that names the file. */
must_check int percentile_chart_write(const struct percentile_chart *chart, const char *path,
                                      struct err *err);
