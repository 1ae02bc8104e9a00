/* IOPS over depth: a curve for each kind of request, and above each what the bare loop does. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/disk.h"
#include "bench/host.h"
#include "report/quantity.h"
#include "report/svg.h"

/* In pixels. */
enum {
    LEFT = 84,
    TOP = 112,
    PLOT_WIDTH = 560,
    PLOT_HEIGHT = 320,
    LEGEND_WIDTH = 230,
    BOTTOM = 70,
    LINE_COUNT_MIN = 4, /* across the plot */
    CURVE_COLORS = 4,
    LEGEND_STEP = 40,
};

static const char style[] =
    "text{font-family:Inter,ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica "
    "Neue',Arial,sans-serif;font-variant-numeric:tabular-nums;fill:#1d2126;font-size:13px}"
    ".page{fill:#fdfdfc}.h1{font-size:27px;font-weight:650;letter-spacing:-.4px}"
    ".muted{fill:#6a717a}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".grid{stroke:#e9eae8;stroke-width:1}.base{stroke:#c4c8cc;stroke-width:1}"
    ".c0,.c1,.c2,.c3{fill:none;stroke-width:2.1;stroke-linecap:round}"
    ".bare{stroke-dasharray:5 5;stroke-opacity:.55}"
    ".c0{stroke:#1769e0}.c1{stroke:#e2610b}.c2{stroke:#158052}.c3{stroke:#9339c4}"
    ".d0{fill:#1769e0}.d1{fill:#e2610b}.d2{fill:#158052}.d3{fill:#9339c4}"
    "@media(prefers-color-scheme:dark){text{fill:#e8eaed}.page{fill:#14171b}.muted{fill:#969ea8}"
    ".grid{stroke:#252a30}.base{stroke:#48505a}}";

struct plot {
    FILE *out;
    const struct disk_session *session;
    double depth_max, step, top; /* IOPS from one line to the next, and of the last */
};

static double x_of(const struct plot *plot, double depth)
{
    return LEFT + (plot->depth_max > 1 ? PLOT_WIDTH * log2(depth) / log2(plot->depth_max) : 0);
}

static double y_of(const struct plot *plot, double iops)
{
    return TOP + PLOT_HEIGHT * (1 - iops / plot->top);
}

/* 1, 2 or 5 times a power of ten, so that there are a few lines. */
static void scale_choose(struct plot *plot)
{
    double max = 1;

    plot->depth_max = (double)number_list_max(&plot->session->options->depths);
    for (unsigned i = 0; i < plot->session->count; i++) {
        max = fmax(max, report_median(&plot->session->cases[i].iops));
        max = fmax(max, report_median(&plot->session->cases[i].bare_iops));
    }
    plot->step = pow(10, floor(log10(max / LINE_COUNT_MIN)));
    if (max / plot->step >= 5 * LINE_COUNT_MIN)
        plot->step *= 5;
    else if (max / plot->step >= 2 * LINE_COUNT_MIN)
        plot->step *= 2;
    plot->top = ceil(max / plot->step) * plot->step;
}

static void grid_draw(const struct plot *plot)
{
    const struct number_list *depths = &plot->session->options->depths;

    unsigned line_count = (unsigned)lround(plot->top / plot->step);

    for (unsigned i = 0; i <= line_count; i++) {
        double iops = i * plot->step, y = y_of(plot, iops);

        svg_line(plot->out, LEFT, y, LEFT + PLOT_WIDTH, y, i ? "grid" : "base");
        svg_text(plot->out, LEFT - 10, y + 4, "muted end", "%s",
                 quantity_of_count((uint64_t)iops).text);
    }
    for (unsigned i = 0; i < depths->count; i++)
        svg_text(plot->out, x_of(plot, (double)depths->values[i]), TOP + PLOT_HEIGHT + 22,
                 "muted middle", "%llu", (unsigned long long)depths->values[i]);
    svg_text(plot->out, LEFT + PLOT_WIDTH / 2.0, TOP + PLOT_HEIGHT + 46, "muted middle",
             "requests at a time");
}

static const struct report_series *series_of(const struct disk_case *one, bool is_bare)
{
    return is_bare ? &one->bare_iops : &one->iops;
}

/* Cases `first` to `first` + count - 1 differ by depth. */
static void curve_draw(const struct plot *plot, unsigned first, unsigned color, bool is_bare)
{
    const struct disk_case *cases = &plot->session->cases[first];
    unsigned count = plot->session->options->depths.count;
    char classes[16], dots[8];

    snprintf(classes, sizeof(classes), "c%u%s", color, is_bare ? " bare" : "");
    snprintf(dots, sizeof(dots), "d%u", color);
    for (unsigned i = 0; i < count; i++) {
        const struct report_series *series = series_of(&cases[i], is_bare);
        double x = x_of(plot, cases[i].depth), y = y_of(plot, report_median(series));

        if (!series->count)
            return;
        if (!is_bare)
            svg_dot(plot->out, x, y, 3.5, dots);
        if (i)
            svg_line(plot->out, x_of(plot, cases[i - 1].depth),
                     y_of(plot, report_median(series_of(&cases[i - 1], is_bare))), x, y, classes);
    }
}

static void legend_draw(const struct plot *plot, const struct disk_case *one, unsigned index,
                        unsigned color)
{
    double x = LEFT + PLOT_WIDTH + 30, y = TOP + 10 + index * LEGEND_STEP;
    char classes[16];

    snprintf(classes, sizeof(classes), "c%u", color);
    svg_line(plot->out, x, y - 4, x + 22, y - 4, classes);
    svg_text(plot->out, x + 30, y, "", "%u bytes, %u %% reads", one->block, one->read_percent);
    svg_text(plot->out, x + 30, y + 16, "muted", "%s",
             one->sleeps ? "by interrupt" : "polled; dashed: without a guest");
}

static void chart_draw(FILE *out, const struct disk_session *session)
{
    struct plot plot = {.out = out, .session = session};
    unsigned depths = session->options->depths.count;
    struct host host = host_get();
    unsigned curves = session->count / depths;
    double height = fmax(TOP + PLOT_HEIGHT + BOTTOM, TOP + curves * LEGEND_STEP);

    scale_choose(&plot);
    svg_begin(out, LEFT + PLOT_WIDTH + LEGEND_WIDTH + 30, height, "IOPS over depth", style);
    fputs("<rect width=\"100%\" height=\"100%\" class=\"page\"/>\n", out);
    svg_text(out, 40, 52, "h1", "Disk requests a second");
    svg_text(out, 40, 75, "muted", "ringvm bench disk on %s, %ld cpu%s: medians of %u rounds",
             host.kernel, host.cpus, host.cpus == 1 ? "" : "s", session->options->common.rounds);
    grid_draw(&plot);
    for (unsigned i = 0; i < session->count; i += depths) {
        unsigned color = i / depths % CURVE_COLORS;

        curve_draw(&plot, i, color, true);
        curve_draw(&plot, i, color, false);
        legend_draw(&plot, &session->cases[i], i / depths, color);
    }
    svg_end(out);
}

int disk_result_draw_iops(const struct disk_session *session, const char *path, struct err *err)
{
    FILE *out = fopen(path, "we");
    int ret = out ? 0 : -errno;

    if (out) {
        chart_draw(out, session);
        errno = EIO;
        if (fflush(out) || ferror(out))
            ret = -errno;
        if (fclose(out) && !ret)
            ret = -errno;
    }
    return ret ? err_set(err, ret, "%s: cannot write: %s", path, strerror(-ret)) : 0;
}
