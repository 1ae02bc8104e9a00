/* The verb as a user meets it, with what it prints on one of its streams. */
#pragma once
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "stress/stress.h"

struct verb_output {
    enum stress_verdict verdict;
    char text[1 << 16];
};

/* Runs `ringvm stress` with these words on these primitives; output is that of `stream`. Not in two
 * threads at a time. */
static inline const struct verb_output *verb_run(const struct workload *const *table, FILE *stream,
                                                 const char *words)
{
    static struct verb_output output;
    char text[512], *argv[32], *rest;
    int argc = 0, saved;
    FILE *file = tmpfile();
    size_t length;

    cr_assert_not_null(file);
    fflush(stream);
    snprintf(text, sizeof(text), "stress %s", words);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    saved = dup(fileno(stream));
    cr_assert_geq(saved, 0);
    cr_assert_geq(dup2(fileno(file), fileno(stream)), 0);
    output.verdict = stress_command_of(table, argc, argv);
    fflush(stream);
    cr_assert_geq(dup2(saved, fileno(stream)), 0);
    close(saved);
    rewind(file);
    length = fread(output.text, 1, sizeof(output.text) - 1, file);
    output.text[length] = '\0';
    fclose(file);
    return &output;
}
