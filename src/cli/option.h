/*
 * Command lines: what a verb takes is a const table, from which it is parsed and its --help is
 * printed. Options are GNU style (-m 512, --mem 512, --mem=512).
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"

enum { OPTIONS_MAX = 32 };

struct option_def {
    char short_name; /* 0: none */
    const char *name;
    const char *metavar; /* NULL: takes no value */
    bool repeats;        /* each one adds something */
    bool may_be_empty;   /* "" is a value */
    const char *help;    /* lines after the first are indented when printed */
    /* `config` is what option_parse was given; `value` may be kept and changed in place, and is
     * NULL when there is none. 0, or -EINVAL or -ERANGE with a line that names the option. */
    int (*apply)(void *config, char *value, struct err *err);
};

struct option_table {
    const char *command; /* "ringvm run" */
    const char *intro;   /* of the help: usage and what it does, lines that end in newlines */
    const struct option_def *options;
    unsigned count;    /* at most OPTIONS_MAX (asserted) */
    const char *outro; /* of the help: what comes after the options */
};

/*
 * Applies the options in `argv`, in their order; argv[0] is the verb. *first is the index of the
 * first argument that is no option: getopt moves those to the end. -EINVAL or -ERANGE with a line
 * that names the option. *wants_help is set, and nothing is checked any more, when --help or -h
 * comes.
 */
must_check int option_parse(const struct option_table *table, int argc, char **argv, void *config,
                            bool *wants_help, int *first, struct err *err);

void option_print_help(const struct option_table *table, FILE *out);
