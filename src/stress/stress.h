/* The verb `ringvm stress`: the library's primitives under many tasks and threads. */
#pragma once
#include "base/compiler.h"

struct workload;

enum stress_verdict { STRESS_HELD, STRESS_FAILED, STRESS_BAD_ARGUMENTS };

/* argv[0] is the verb. Results on stdout, errors and failures on stderr. Main thread. SIGINT and
 * SIGTERM end it as if its time were up. */
must_check enum stress_verdict stress_command(int argc, char **argv);

/* The same, with primitives of the caller's: a table as in workload.h. */
must_check enum stress_verdict stress_command_of(const struct workload *const *table, int argc,
                                                 char **argv);
