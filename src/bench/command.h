/* The verb: `ringvm bench`. */
#pragma once

enum bench_verdict { BENCH_DONE, BENCH_FAILED, BENCH_BAD_ARGUMENTS };

/*
 * Measures what `argv` (argv[0] is the verb, argv[1] the benchmark) asks for, and prints and writes
 * it; see --help. Errors have been told on standard error, in one line.
 */
enum bench_verdict bench_command(int argc, char **argv);
