#include "bench/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/disk.h"
#include "bench/exits.h"
#include "bench/net.h"
#include "report/json_file.h"
#include "report/table.h"

struct benchmark {
    const char *name;
    const char *help;
    enum bench_verdict (*run)(int argc, char **argv, struct err *err);
};

static bool is_stdout(const char *path)
{
    return path && !strcmp(path, "-");
}

static int table_ended(int ret, struct err *err)
{
    return ret ? err_set(err, ret, "not enough memory for the table") : 0;
}

static int disk_results_write(const struct disk_session *session, struct err *err)
{
    const struct disk_options *options = session->options;
    int ret = 0;

    /* JSON on standard output is for programs, which want nothing else there. */
    if (!is_stdout(options->common.json_path))
        ret = table_ended(disk_result_print(session, stdout, table_is_styled(stdout)), err);
    if (!ret && options->common.json_path)
        ret = json_file_write(disk_result_to_json(session), options->common.json_path, err);
    if (!ret && options->common.svg_path)
        ret = disk_result_draw(session, options->common.svg_path, err);
    if (!ret && options->iops_svg_path)
        ret = disk_result_draw_iops(session, options->iops_svg_path, err);
    return ret;
}

static FILE *progress_terminal(void)
{
    return isatty(STDERR_FILENO) ? stderr : NULL;
}

static enum bench_verdict disk_run(int argc, char **argv, struct err *err)
{
    static struct disk_session session;
    struct disk_options options;
    int ret;

    if (disk_options_parse(argc, argv, &options, err))
        return BENCH_BAD_ARGUMENTS;
    if (options.common.wants_help) {
        disk_options_print_help(stdout);
        return BENCH_DONE;
    }
    ret = disk_session_run(&session, &options, progress_terminal(), err);
    if (!ret) {
        ret = disk_results_write(&session, err);
        disk_session_destroy(&session);
    }
    return ret ? BENCH_FAILED : BENCH_DONE;
}

static int exits_results_write(const struct exits_session *session, struct err *err)
{
    const struct bench_options *options = session->options;
    int ret = 0;

    if (!is_stdout(options->json_path))
        ret = table_ended(exits_result_print(session, stdout, table_is_styled(stdout)), err);
    if (!ret && options->json_path)
        ret = json_file_write(exits_result_to_json(session), options->json_path, err);
    if (!ret && options->svg_path)
        ret = exits_result_draw(session, options->svg_path, err);
    return ret;
}

static enum bench_verdict exits_run(int argc, char **argv, struct err *err)
{
    struct exits_session session;
    struct bench_options options;
    int ret;

    if (exits_options_parse(argc, argv, &options, err))
        return BENCH_BAD_ARGUMENTS;
    if (options.wants_help) {
        exits_options_print_help(stdout);
        return BENCH_DONE;
    }
    ret = exits_session_run(&session, &options, progress_terminal(), err);
    if (!ret) {
        ret = exits_results_write(&session, err);
        exits_session_destroy(&session);
    }
    return ret ? BENCH_FAILED : BENCH_DONE;
}

static int net_results_write(const struct net_session *session, struct err *err)
{
    const struct bench_options *options = &session->options->common;
    int ret = 0;

    if (!is_stdout(options->json_path))
        ret = table_ended(net_result_print(session, stdout, table_is_styled(stdout)), err);
    if (!ret && options->json_path)
        ret = json_file_write(net_result_to_json(session), options->json_path, err);
    if (!ret && options->svg_path)
        ret = net_result_draw(session, options->svg_path, err);
    return ret;
}

static enum bench_verdict net_run(int argc, char **argv, struct err *err)
{
    static struct net_session session;
    struct net_options options;
    int ret;

    if (net_options_parse(argc, argv, &options, err))
        return BENCH_BAD_ARGUMENTS;
    if (options.common.wants_help) {
        net_options_print_help(stdout);
        return BENCH_DONE;
    }
    ret = net_session_run(&session, &options, progress_terminal(), err);
    if (!ret) {
        ret = net_results_write(&session, err);
        net_session_destroy(&session);
    }
    return ret ? BENCH_FAILED : BENCH_DONE;
}

static const struct benchmark benchmarks[] = {
    {"disk", "requests a second and their latency on virtio-blk", disk_run},
    {"net", "frames a second and their round trip on virtio-net", net_run},
    {"exits", "what each way to leave the guest costs", exits_run},
};

static void help_print(FILE *out)
{
    fputs("usage: ringvm bench BENCHMARK [OPTIONS]\n"
          "\n"
          "Starts a guest of its own that does nothing but measure, from inside.\n"
          "\n"
          "benchmarks (each has its --help):\n",
          out);
    for (size_t i = 0; i < array_count(benchmarks); i++)
        fprintf(out, "  %-6s %s\n", benchmarks[i].name, benchmarks[i].help);
}

enum bench_verdict bench_command(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    enum bench_verdict verdict = BENCH_BAD_ARGUMENTS;
    struct err err = {""};

    if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
        help_print(stdout);
        return BENCH_DONE;
    }
    err_set(&err, -EINVAL, "%s is not a benchmark; see ringvm bench --help",
            *name ? name : "nothing");
    for (size_t i = 0; i < array_count(benchmarks); i++)
        if (!strcmp(name, benchmarks[i].name))
            verdict = benchmarks[i].run(argc - 1, argv + 1, &err);
    if (verdict != BENCH_DONE)
        fprintf(stderr, "ringvm: %s\n", err.text);
    return verdict;
}
