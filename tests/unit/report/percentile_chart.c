#include "report/percentile_chart.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report/svg.h"

enum { DEPTH_MAX = 16, NAME_SIZE = 32 };

/*
 * Whether it is a well-formed document, as far as ours go: one root, tags that nest and are closed,
 * attributes in quotes, no stray "<" or "&".
 */
static bool is_well_formed(const char *text)
{
    char open[DEPTH_MAX][NAME_SIZE];
    unsigned depth = 0, roots = 0;

    while (*text) {
        char name[NAME_SIZE] = "";
        size_t length;

        if (*text == '&') {
            text += 1 + strcspn(text + 1, ";<& \n");
            if (*text != ';')
                return false;
            continue;
        }
        if (*text++ != '<')
            continue;
        if (*text == '/') {
            length = strcspn(++text, ">");
            if (!depth || strlen(open[depth - 1]) != length ||
                strncmp(open[--depth], text, length) != 0)
                return false;
            text += length + 1;
            continue;
        }
        length = strcspn(text, " />\n");
        if (!length || length >= NAME_SIZE || depth == DEPTH_MAX)
            return false;
        memcpy(name, text, length);
        roots += !depth;
        for (text += length; *text != '>' && *text != '/'; text++) {
            if (*text == '<' || !*text)
                return false;
            if (*text == '"') {
                text += strcspn(text + 1, "\"<") + 1;
                if (*text != '"')
                    return false;
            }
        }
        if (*text == '>')
            memcpy(open[depth++], name, NAME_SIZE);
    }
    return depth == 0 && roots == 1;
}

static struct histogram *spread(uint64_t count, uint64_t factor)
{
    struct histogram *histogram;

    cr_assert_eq(histogram_create(&histogram), 0);
    for (uint64_t i = 0; i < count; i++)
        histogram_record(histogram, 100 + i * factor);
    return histogram;
}

/* The document, the caller's to free. */
static char *draw(const struct percentile_panel *panels, unsigned panel_count)
{
    const struct percentile_chart chart = {.title = "a <title> & more",
                                           .subtitle = "sub",
                                           .curve_names = {"quiet", "loaded"},
                                           .footnote = "foot",
                                           .panels = panels,
                                           .panel_count = panel_count};
    char path[] = "/tmp/ringvm-chart-XXXXXX";
    int fd = mkstemp(path);
    struct err err = {""};
    char *text = calloc(1, 1 << 20);
    FILE *in;

    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_not_null(text);
    cr_assert_eq(percentile_chart_write(&chart, path, &err), 0, "%s", err.text);
    in = fopen(path, "r");
    cr_assert_not_null(in);
    cr_assert_gt(fread(text, 1, (1 << 20) - 1, in), 0);
    fclose(in);
    unlink(path);
    return text;
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;

    for (text = strstr(text, what); text; text = strstr(text + 1, what))
        count++;
    return count;
}

Test(percentile_chart, is_a_well_formed_document_of_all_panels_and_curves)
{
    struct histogram *histograms[] = {spread(100000, 7), spread(5000, 1000), spread(1, 1)};
    const struct percentile_panel panels[] = {
        {"first", "1 & 2", {histograms[0], histograms[1]}},
        {"second", "", {histograms[1], NULL}},
        {"third", "", {histograms[2], histograms[0]}},
        {"fourth", "", {histograms[2], histograms[0]}},
    };
    char *text = draw(panels, 4);

    cr_assert(is_well_formed(text));
    cr_assert_not_null(strstr(text, "a &lt;title&gt; &amp; more"));
    cr_assert_not_null(strstr(text, ">fourth<"));
    cr_assert_not_null(strstr(text, "prefers-color-scheme:dark"));
    cr_assert_eq(count_of(text, "<path id="), 7);
    cr_assert_eq(count_of(text, "class=\"c0\"/>"), 4 + 1); /* and the legend's */
    cr_assert_eq(count_of(text, "class=\"c1\"/>"), 3 + 1);
    /* The others, in each of four panels. */
    cr_assert_eq(count_of(text, "class=\"ghost\"/>"), 4 * 3 + 1);
    cr_assert_null(strstr(text, "nan"));
    cr_assert_null(strstr(text, "inf"));
    free(text);
    for (unsigned i = 0; i < 3; i++)
        histogram_destroy(histograms[i]);
}

/* Many samples with the largest value: the curve goes on to the dot, where one of all is. */
Test(percentile_chart, a_curve_ends_at_the_dot_of_its_maximum)
{
    struct histogram *histogram = spread(1000, 0);
    const struct percentile_panel panel = {"only", "", {histogram, NULL}};
    char *text, *path, *dot;

    histogram_record(histogram, 50);
    text = draw(&panel, 1);
    path = strstr(text, "<path id=");
    cr_assert_not_null(path);
    path = strstr(path, "\"/>");
    while (*path != 'H')
        path--;
    dot = strstr(text, "<circle cx=");
    cr_assert_not_null(dot, "the median's");
    dot = strstr(dot + 1, "<circle cx=");
    cr_assert_not_null(dot, "the maximum's");
    cr_assert_eq(strtod(path + 1, NULL), strtod(dot + strlen("<circle cx=\""), NULL));
    free(text);
    histogram_destroy(histogram);
}

Test(percentile_chart, figures_that_no_sample_lies_beyond_are_left_out)
{
    struct histogram *histogram = spread(200, 1);
    const struct percentile_panel panel = {"only", "", {histogram, NULL}};
    char *text = draw(&panel, 1);

    /* Of p50, p99, p99.9 and the maximum the third. */
    cr_assert_eq(count_of(text, "–"), 1);
    cr_assert_not_null(strstr(text, "199 ns"), "the median");
    cr_assert_not_null(strstr(text, "299 ns"), "the maximum");
    free(text);
    histogram_destroy(histogram);
}

Test(percentile_chart, survives_zeros_single_values_and_nothing_at_all)
{
    struct histogram *zeros, *nothing = spread(0, 0), *largest;
    struct percentile_panel panels[3] = {{"zeros", "", {NULL, NULL}}};
    char *text;

    cr_assert_eq(histogram_create(&zeros), 0);
    histogram_record(zeros, 0);
    cr_assert_eq(histogram_create(&largest), 0);
    histogram_record(largest, UINT64_MAX);
    panels[0] = (struct percentile_panel){"zeros", "", {zeros, nothing}};
    panels[1] = (struct percentile_panel){"nothing", "", {nothing, NULL}};
    panels[2] = (struct percentile_panel){"largest", "", {largest, NULL}};
    for (unsigned count = 0; count <= 3; count++) {
        text = draw(panels, count);
        cr_assert(is_well_formed(text), "%u panels", count);
        cr_assert_null(strstr(text, "nan"), "%u panels", count);
        cr_assert_null(strstr(text, "inf"), "%u panels", count);
        free(text);
    }
    histogram_destroy(zeros);
    histogram_destroy(nothing);
    histogram_destroy(largest);
}

Test(percentile_chart, an_error_names_the_file)
{
    const struct percentile_chart chart = {.title = "", .subtitle = "", .footnote = ""};
    struct err err = {""};

    cr_assert_eq(percentile_chart_write(&chart, "/nowhere/x.svg", &err), -ENOENT);
    cr_assert_str_eq(err.text, "/nowhere/x.svg: cannot write: No such file or directory");
    if (!access("/dev/full", W_OK))
        cr_assert_eq(percentile_chart_write(&chart, "/dev/full", &err), -ENOSPC);
}

Test(svg, text_is_escaped_and_control_characters_are_dropped)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    svg_escape(out, "a<b>&\"c\"\n\033µ");
    fclose(out);
    cr_assert_str_eq(text, "a&lt;b&gt;&amp;&quot;c&quot;µ");
    free(text);
}

/* Labels of percentiles are centred, at 6.7 pixels a character. */
static unsigned assert_labels_are_apart(const char *text)
{
    static const char tail[] = "class=\"muted small middle\">";
    unsigned count = 0;
    double end = -100;

    for (const char *at = strstr(text, tail); at; at = strstr(at + 1, tail)) {
        const char *label = at + sizeof(tail) - 1, *begin = at;
        double width = 6.7 * (double)strcspn(label, "<"), x;

        while (strncmp(begin, "<text x=\"", 9) != 0)
            begin--;
        x = strtod(begin + 9, NULL);
        cr_assert_geq(x - width / 2, end, "%.20s", label);
        end = x + width / 2;
        count++;
    }
    return count;
}

Test(percentile_chart, labels_of_percentiles_do_not_touch)
{
    static const uint64_t counts[] = {3, 30, 4000, 10000000};
    static const unsigned labels[] = {1, 2, 4, 7}; /* the last one has no room for 99.9999 */

    for (unsigned i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        struct histogram *histogram = spread(counts[i], 1);
        const struct percentile_panel panel = {"only", "", {histogram, NULL}};
        char *text = draw(&panel, 1);

        cr_assert_not_null(strstr(text, ">50 %<"));
        cr_assert_eq(assert_labels_are_apart(text), labels[i], "%u", i);
        free(text);
        histogram_destroy(histogram);
    }
}
