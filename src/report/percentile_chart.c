#include "report/percentile_chart.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "report/quantity.h"
#include "report/svg.h"

/* In pixels. A panel is a heading of figures above a plot. */
enum {
    MARGIN = 40,
    AXIS_WIDTH = 52, /* left of the first column: the scale of time */
    HEADER_HEIGHT = 124,
    FOOTER_HEIGHT = 76,
    COLUMN_COUNT_MAX = 3,
    PANEL_WIDTH = 350,
    PANEL_GAP = 34,
    HEADING_HEIGHT = 62,
    PLOT_HEIGHT = 168,
    ROW_HEIGHT = HEADING_HEIGHT + PLOT_HEIGHT + 44,
};

static const char style[] =
    "text{font-family:Inter,ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica "
    "Neue',Arial,sans-serif;font-variant-numeric:tabular-nums;fill:#1d2126;font-size:13px}"
    ".page{fill:#fdfdfc}.h1{font-size:27px;font-weight:650;letter-spacing:-.4px}"
    ".h2{font-size:15px;font-weight:600}.muted{fill:#6a717a}.small{font-size:11.5px}"
    ".end{text-anchor:end}.middle{text-anchor:middle}"
    ".grid{stroke:#e9eae8;stroke-width:1;fill:none}.base{stroke:#c4c8cc;stroke-width:1;fill:none}"
    ".ghost{stroke:#d8dbde;stroke-width:1.1;fill:none}"
    ".c0,.c1{fill:none;stroke-width:2.1;stroke-linejoin:round;stroke-linecap:round}"
    ".c0{stroke:#1769e0}.c1{stroke:#e2610b}.t0{fill:#1257bd}.t1{fill:#b84a00}"
    ".d0{fill:#1769e0}.d1{fill:#e2610b}.d0,.d1{stroke:#fdfdfc;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e8eaed}.page{fill:#14171b}.muted{fill:#969ea8}"
    ".grid{stroke:#252a30}.base{stroke:#48505a}.ghost{stroke:#363d45}.c0{stroke:#5aa2ff}"
    ".c1{stroke:#ff9447}.t0{fill:#7db5ff}.t1{fill:#ffab6e}.d0{fill:#5aa2ff}.d1{fill:#ff9447}"
    ".d0,.d1{stroke:#14171b}}";

/* Room to the right of the last sample, for its dot. */
#define NINES_BEYOND 0.12

/* What both axes of all plots show: powers of ten. */
struct scale {
    double nines;        /* to the right: 1 / (1 - p) up to 10 to this power */
    unsigned decade_min; /* upwards: nanoseconds */
    unsigned decade_max;
};

/* Ours starts at 1 ns: a logarithm of less is no use. */
static double log10_of(uint64_t value)
{
    return value ? log10((double)value) : 0;
}

static bool is_drawn(const struct histogram *histogram)
{
    return histogram && histogram_count(histogram);
}

static struct scale scale_of(const struct percentile_chart *chart)
{
    struct scale scale = {.nines = 0.5, .decade_min = UINT32_MAX, .decade_max = 0};

    for (unsigned i = 0; i < chart->panel_count; i++)
        for (unsigned c = 0; c < PERCENTILE_CURVE_COUNT; c++) {
            const struct histogram *histogram = chart->panels[i].histograms[c];
            unsigned low, high;

            if (!is_drawn(histogram))
                continue;
            low = (unsigned)floor(log10_of(histogram_min(histogram)));
            high = (unsigned)ceil(log10_of(histogram_max(histogram)));
            scale.nines = fmax(scale.nines, log10_of(histogram_count(histogram)) + NINES_BEYOND);
            scale.decade_min = low < scale.decade_min ? low : scale.decade_min;
            scale.decade_max = high > scale.decade_max ? high : scale.decade_max;
        }
    if (scale.decade_min >= scale.decade_max) {
        scale.decade_min = scale.decade_max ? scale.decade_max - 1 : 0;
        scale.decade_max = scale.decade_min + 1;
    }
    return scale;
}

/* From the left end and the top of a plot. */
static double x_of(const struct scale *scale, uint64_t beyond, uint64_t count)
{
    return PANEL_WIDTH * log10((double)count / (double)beyond) / scale->nines;
}

static double y_of(const struct scale *scale, uint64_t value)
{
    double decades = log10_of(value) - scale->decade_min;

    return PLOT_HEIGHT * (1 - decades / (scale->decade_max - scale->decade_min));
}

/*
 * The percentiles as steps: each value from where its first sample is to where its last one is. The
 * largest ends where one sample of all is.
 */
static void curve_define(FILE *out, const struct scale *scale, const struct histogram *histogram,
                         unsigned panel, unsigned curve)
{
    uint64_t count = histogram_count(histogram), beyond = count;
    struct histogram_cursor cursor = {0};
    double last_x = 0, last_y = 0;
    bool is_first = true;

    fprintf(out, "<path id=\"p%uc%u\" d=\"", panel, curve);
    while (histogram_next(histogram, &cursor)) {
        double x = x_of(scale, beyond, count), y = y_of(scale, cursor.value);

        beyond = count - cursor.below_or_equal;
        /* What cannot be seen is not drawn; the last one always is. */
        if (!is_first && beyond && fabs(x - last_x) < 0.4 && fabs(y - last_y) < 0.4)
            continue;
        if (is_first)
            fprintf(out, "M%.1f %.1f", x, y);
        else
            fprintf(out, "H%.1fV%.1f", x, y);
        last_x = x;
        last_y = y;
        is_first = false;
    }
    fprintf(out, "H%.1f\"/>\n", x_of(scale, 1, count));
}

static void curves_define(FILE *out, const struct percentile_chart *chart,
                          const struct scale *scale)
{
    fputs("<defs>\n", out);
    for (unsigned i = 0; i < chart->panel_count; i++)
        for (unsigned c = 0; c < PERCENTILE_CURVE_COUNT; c++)
            if (is_drawn(chart->panels[i].histograms[c]))
                curve_define(out, scale, chart->panels[i].histograms[c], i, c);
    fputs("</defs>\n", out);
}

/* Which figures stand above a plot, and where. */
static const struct figure {
    const char *name;
    uint32_t milli_percent;
    double x;
} figures[] = {{"p50", 50000, 0}, {"p99", 99000, 83}, {"p99.9", 99900, 167}, {"max", 100000, 268}};

static void figures_draw(FILE *out, const struct histogram *histogram, unsigned curve, double y)
{
    char classes[16];

    snprintf(classes, sizeof(classes), "t%u", curve);
    for (unsigned i = 0; i < array_count(figures); i++) {
        uint32_t milli_percent = figures[i].milli_percent;
        bool is_resolved = milli_percent == 100000 || histogram_resolves(histogram, milli_percent);
        uint64_t value = histogram_percentile(histogram, milli_percent);

        fprintf(out, "<text x=\"%g\" y=\"%g\"><tspan class=\"muted small\">%s</tspan> ",
                figures[i].x, y, figures[i].name);
        fprintf(out, "<tspan class=\"%s\">%s</tspan></text>\n", classes,
                is_resolved ? quantity_of_ns(value).text : "–");
    }
}

static void dots_draw(FILE *out, const struct scale *scale, const struct histogram *histogram,
                      unsigned curve)
{
    uint64_t count = histogram_count(histogram);
    char classes[16];

    snprintf(classes, sizeof(classes), "d%u", curve);
    svg_dot(out, x_of(scale, 1, 2), y_of(scale, histogram_percentile(histogram, 50000)), 4,
            classes);
    svg_dot(out, x_of(scale, 1, count), y_of(scale, histogram_max(histogram)), 4, classes);
}

static void grid_draw(FILE *out, const struct scale *scale)
{
    for (unsigned decade = scale->decade_min; decade <= scale->decade_max; decade++) {
        double y = PLOT_HEIGHT * (double)(scale->decade_max - decade) /
                   (scale->decade_max - scale->decade_min);

        svg_line(out, 0, y, PANEL_WIDTH, y, decade == scale->decade_min ? "base" : "grid");
    }
    for (unsigned nine = 0; nine <= scale->nines; nine++) {
        double x = PANEL_WIDTH * nine / scale->nines;

        svg_line(out, x, 0, x, PLOT_HEIGHT, "grid");
    }
}

static void times_draw(FILE *out, const struct scale *scale)
{
    static const char *const names[] = {"1 ns", "10 ns", "100 ns", "1 µs", "10 µs", "100 µs",
                                        "1 ms", "10 ms", "100 ms", "1 s",  "10 s",  "100 s"};
    /* A label for each line or every other one, whichever is readable. */
    unsigned step = scale->decade_max - scale->decade_min > 5 ? 2 : 1;

    for (unsigned decade = scale->decade_min; decade <= scale->decade_max; decade += step)
        if (decade < array_count(names))
            svg_text(out, -10,
                     PLOT_HEIGHT * (double)(scale->decade_max - decade) /
                             (scale->decade_max - scale->decade_min) +
                         4,
                     "muted small end", "%s", names[decade]);
}

/* Of a character in any font that the style names, and between two labels. */
#define LABEL_CHARACTER_WIDTH 6.7
#define LABEL_GAP             7

/* The first one says the unit. One that would touch the last one that was drawn is left out. */
static void percentiles_draw(FILE *out, const struct scale *scale)
{
    double x = x_of(scale, 1, 2), end = x + 2 * LABEL_CHARACTER_WIDTH;

    svg_text(out, x, PLOT_HEIGHT + 18, "muted small middle", "50 %%");
    for (unsigned nine = 1; nine <= scale->nines; nine++) {
        char label[24];
        double width = LABEL_CHARACTER_WIDTH * snprintf(label, sizeof(label), "%.*f",
                                                        nine < 3 ? 0 : (int)nine - 2,
                                                        100 - 100 * pow(10, -(double)nine));

        x = PANEL_WIDTH * nine / scale->nines;
        if (x - width / 2 < end + LABEL_GAP)
            continue;
        svg_text(out, x, PLOT_HEIGHT + 18, "muted small middle", "%s", label);
        end = x + width / 2;
    }
}

static unsigned column_count(const struct percentile_chart *chart)
{
    return chart->panel_count < COLUMN_COUNT_MAX ? chart->panel_count : COLUMN_COUNT_MAX;
}

static void panel_draw(FILE *out, const struct percentile_chart *chart, const struct scale *scale,
                       unsigned index)
{
    const struct percentile_panel *panel = &chart->panels[index];
    unsigned column = index % column_count(chart), row = index / column_count(chart);
    bool is_lowest = index + column_count(chart) >= chart->panel_count;

    fprintf(out, "<g transform=\"translate(%d %d)\">\n",
            MARGIN + AXIS_WIDTH + (int)column * (PANEL_WIDTH + PANEL_GAP),
            HEADER_HEIGHT + (int)row * ROW_HEIGHT);
    svg_text(out, 0, 12, "h2", "%s", panel->title);
    svg_text(out, PANEL_WIDTH, 12, "muted small end", "%s", panel->note);
    for (unsigned c = 0, lines = 0; c < PERCENTILE_CURVE_COUNT; c++)
        if (is_drawn(panel->histograms[c]))
            figures_draw(out, panel->histograms[c], c, 32 + 17 * lines++);
    fprintf(out, "<g transform=\"translate(0 %d)\">\n", HEADING_HEIGHT);
    grid_draw(out, scale);
    if (!column)
        times_draw(out, scale);
    if (is_lowest)
        percentiles_draw(out, scale);
    for (unsigned i = 0; i < chart->panel_count; i++)
        if (i != index && is_drawn(chart->panels[i].histograms[0]))
            fprintf(out, "<use href=\"#p%uc0\" class=\"ghost\"/>\n", i);
    for (unsigned c = PERCENTILE_CURVE_COUNT; c-- > 0;)
        if (is_drawn(panel->histograms[c])) {
            fprintf(out, "<use href=\"#p%uc%u\" class=\"c%u\"/>\n", index, c, c);
            dots_draw(out, scale, panel->histograms[c], c);
        }
    fputs("</g>\n</g>\n", out);
}

static void header_draw(FILE *out, const struct percentile_chart *chart)
{
    double x = MARGIN;

    svg_text(out, MARGIN, 52, "h1", "%s", chart->title);
    svg_text(out, MARGIN, 75, "muted", "%s", chart->subtitle);
    for (unsigned c = 0; c < PERCENTILE_CURVE_COUNT; c++) {
        char classes[16];

        if (!chart->curve_names[c])
            continue;
        snprintf(classes, sizeof(classes), "c%u", c);
        svg_line(out, x + 1, 95, x + 21, 95, classes);
        snprintf(classes, sizeof(classes), "t%u", c);
        svg_text(out, x + 29, 99.5, classes, "%s", chart->curve_names[c]);
        x += 29 + 6.6 * (double)strlen(chart->curve_names[c]) + 24;
    }
    if (chart->panel_count > 1) {
        svg_line(out, x + 1, 95, x + 21, 95, "ghost");
        svg_text(out, x + 29, 99.5, "muted", "the others, for comparison");
    }
}

static void chart_draw(FILE *out, const struct percentile_chart *chart)
{
    struct scale scale = scale_of(chart);
    unsigned columns = column_count(chart);
    unsigned rows = columns ? (chart->panel_count + columns - 1) / columns : 0;
    double width = 2 * MARGIN + AXIS_WIDTH + columns * (PANEL_WIDTH + PANEL_GAP) - PANEL_GAP;
    double height = HEADER_HEIGHT + rows * ROW_HEIGHT + FOOTER_HEIGHT;

    svg_begin(out, width, height, chart->title, style);
    fputs("<rect width=\"100%\" height=\"100%\" class=\"page\"/>\n", out);
    header_draw(out, chart);
    curves_define(out, chart, &scale);
    for (unsigned i = 0; i < chart->panel_count; i++)
        panel_draw(out, chart, &scale, i);
    svg_text(out, MARGIN, height - 50, "muted small",
             "Across: percentiles, each line to the right ten times as rare. Up: time, each line "
             "ten times as long. Dots: median and maximum.");
    svg_text(out, MARGIN, height - 30, "muted small", "%s", chart->footnote);
    svg_end(out);
}

int percentile_chart_write(const struct percentile_chart *chart, const char *path, struct err *err)
{
    FILE *out = fopen(path, "we");
    int ret = out ? 0 : -errno;

    CHECK_CMP(chart->panel_count, <=, (unsigned)PERCENTILE_PANEL_COUNT_MAX);
    if (out) {
        chart_draw(out, chart);
        errno = EIO;
        if (fflush(out) || ferror(out))
            ret = -errno;
        if (fclose(out) && !ret)
            ret = -errno;
    }
    if (ret)
        return err_set(err, ret, "%s: cannot write: %s", path, strerror(-ret));
    return 0;
}
