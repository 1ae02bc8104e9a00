#include "latency/command.h"

#include <string.h>
#include <unistd.h>

#include "latency/options.h"
#include "latency/result.h"
#include "latency/session.h"
#include "report/json_file.h"
#include "report/table.h"

static int results_write(const struct session *session, struct err *err)
{
    const struct latency_options *options = session->options;
    int ret;

    /* JSON on standard output is for programs, which want nothing else there. */
    if (!options->json_path || strcmp(options->json_path, "-") != 0) {
        ret = result_print(session, stdout, table_is_styled(stdout));
        if (ret)
            return err_set(err, ret, "not enough memory for the table");
    }
    if (options->json_path) {
        ret = json_file_write(result_to_json(session), options->json_path, err);
        if (ret)
            return ret;
    }
    return options->svg_path ? result_draw(session, options->svg_path, err) : 0;
}

enum latency_verdict latency_command(int argc, char **argv)
{
    struct latency_options options;
    struct session session;
    bool wants_help = false;
    struct err err = {""};
    int ret;

    if (latency_options_parse(argc, argv, &options, &wants_help, &err)) {
        fprintf(stderr, "ringvm: %s\n", err.text);
        return LATENCY_BAD_ARGUMENTS;
    }
    if (wants_help) {
        latency_options_print_help(stdout);
        return LATENCY_DONE;
    }
    ret = session_run(&session, &options, isatty(STDERR_FILENO) ? stderr : NULL, &err);
    if (!ret) {
        ret = results_write(&session, &err);
        session_destroy(&session);
    }
    if (ret) {
        fprintf(stderr, "ringvm: %s\n", err.text);
        return LATENCY_FAILED;
    }
    return LATENCY_DONE;
}
