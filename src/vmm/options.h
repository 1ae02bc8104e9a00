/*
 * The command line of `ringvm run`: flags follow crosvm, so that its users need not relearn them.
 */
#pragma once
#include <stdio.h>

#include "base/compiler.h"
#include "base/err.h"
#include "vmm/run_config.h"

/*
 * Parses `argv` (argv[0] is the verb) into `config`, which keeps pointers into it; lists in it are
 * cut up in place. -EINVAL or -ERANGE with a line that names the option. *wants_help is set, and
 * nothing else is checked, when --help is among the arguments.
 */
must_check int options_parse(int argc, char **argv, struct run_config *config, bool *wants_help,
                             struct err *err);

/* Everything `ringvm run` takes. */
void options_print_help(FILE *out);
