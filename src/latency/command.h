/* The verb: `ringvm latency`. */
#pragma once

enum latency_verdict { LATENCY_DONE, LATENCY_FAILED, LATENCY_BAD_ARGUMENTS };

/*
 * Measures, and prints and writes what `argv` (argv[0] is the verb) asks for; see --help. Errors
 * have been told on standard error, in one line.
 */
enum latency_verdict latency_command(int argc, char **argv);
