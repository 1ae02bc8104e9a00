/* The verb `ringvm stress`: the library's primitives under many tasks and threads. */
#pragma once
#include "base/compiler.h"

enum stress_verdict { STRESS_HELD, STRESS_FAILED, STRESS_BAD_ARGUMENTS };

/* argv[0] is the verb. Results on stdout, errors and failures on stderr. Main thread. SIGINT and
 * SIGTERM end it as if its time were up. */
must_check enum stress_verdict stress_command(int argc, char **argv);
