#include "latency/result.h"

#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "report/quantity.h"
#include "report/table.h"

const struct result_percentile result_percentiles[RESULT_PERCENTILE_COUNT] = {
    {"p50", 50000}, {"p90", 90000}, {"p99", 99000}, {"p99.9", 99900}, {"p99.99", 99990}};

struct result_host result_host_get(void)
{
    struct result_host host = {.cpus = sysconf(_SC_NPROCESSORS_ONLN)};
    struct utsname name;

    if (!uname(&name))
        snprintf(host.kernel, sizeof(host.kernel), "%.32s %.64s", name.sysname, name.release);
    return host;
}

struct result_load result_load_get(const struct load_size *size)
{
    struct result_load load = {""};
    size_t length = 0;

    if (size->threads)
        length = (size_t)snprintf(load.text, sizeof(load.text), "%u busy thread%s%s", size->threads,
                                  size->threads == 1 ? "" : "s", size->tasks ? ", " : "");
    if (size->tasks)
        snprintf(load.text + length, sizeof(load.text) - length, "%u busy task%s in each executor",
                 size->tasks, size->tasks == 1 ? "" : "s");
    return load;
}

static void row_print(struct table *table, const char *label, const struct session_case *one,
                      enum session_condition condition)
{
    const struct histogram *histogram = one->histogram;

    table_row(table, condition == SESSION_QUIET ? TABLE_PLAIN : TABLE_DIM);
    table_cell(table, "%s%s", label, session_case_is_disturbed(one, condition) ? " *" : "");
    for (unsigned i = 0; i < RESULT_PERCENTILE_COUNT; i++) {
        uint32_t milli_percent = result_percentiles[i].milli_percent;

        table_cell(table, "%s",
                   histogram_resolves(histogram, milli_percent)
                       ? quantity_of_ns(histogram_percentile(histogram, milli_percent)).text
                       : "–");
    }
    table_cell(table, "%s", quantity_of_ns(histogram_max(histogram)).text);
    table_cell(table, "%s", quantity_of_count(histogram_count(histogram)).text);
}

static void disk_note_print(const struct session *session, FILE *out)
{
    const char *directory = session->options->directory;

    if (!session->disk_is_direct)
        fprintf(out, "%s cannot bypass the page cache (O_DIRECT): the file was read through it.\n",
                directory);
    if (session->disk_was_named)
        fprintf(out, "%s has no files without a name (O_TMPFILE): the file had one for a moment.\n",
                directory);
}

static void notes_print(const struct session *session, FILE *out)
{
    uint64_t delay_ns = 0, wall_ns = 0;

    for (unsigned i = 0; i < PROBE_COUNT; i++) {
        const struct session_case *quiet = &session->cases[i][SESSION_QUIET];

        if (!quiet->histogram)
            continue;
        wall_ns += quiet->wall_ns;
        delay_ns += quiet->run_delay_ns;
        if (probes[i].measure == disk_measure)
            disk_note_print(session, out);
    }
    fprintf(out, "Every figure has one read of the clock in it: %.0f ns.\n", session->clock_ns);
    if (session_is_disturbed(session))
        fprintf(out,
                "* The machine was busy: without load of ours the measuring threads waited for a "
                "cpu\n  for %.1f %% of the time. Measure again when it is quiet.\n",
                100 * (double)delay_ns / (double)wall_ns);
}

int result_print(const struct session *session, FILE *out, bool styled)
{
    static const struct table_column columns[] = {{"", TABLE_LEFT},       {"p50", TABLE_RIGHT},
                                                  {"p90", TABLE_RIGHT},   {"p99", TABLE_RIGHT},
                                                  {"p99.9", TABLE_RIGHT}, {"p99.99", TABLE_RIGHT},
                                                  {"max", TABLE_RIGHT},   {"samples", TABLE_RIGHT}};
    const struct latency_options *options = session->options;
    struct result_host host = result_host_get();
    struct table *table;
    int ret = table_create(&table, columns, array_count(columns));

    if (ret)
        return ret;
    for (unsigned i = 0; i < PROBE_COUNT; i++) {
        const struct session_case *cases = session->cases[i];

        if (cases[SESSION_QUIET].histogram)
            row_print(table, probes[i].title, &cases[SESSION_QUIET], SESSION_QUIET);
        if (cases[SESSION_LOADED].histogram)
            row_print(table, "  with load", &cases[SESSION_LOADED], SESSION_LOADED);
    }
    fprintf(out, "%s, %ld cpu%s, %g s each, executors poll for %u µs, seed %" PRIu64 "\n",
            host.kernel, host.cpus, host.cpus == 1 ? "" : "s",
            (double)options->duration_ns / (double)NS_PER_S, options->poll_us, options->seed);
    if (!load_size_is_zero(&options->load))
        fprintf(out, "load: %s\n", result_load_get(&options->load).text);
    fputc('\n', out);
    table_print(table, out, styled);
    fputc('\n', out);
    notes_print(session, out);
    table_destroy(table);
    return 0;
}
