/* The lines of the bench guest: "word name=number name=number", see bench/guest/README.md. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* Whether `line` is of this kind: begins with `word`, and has a blank or nothing behind it. */
bool record_is(const char *line, const char *word);
/* The field's number. -ENOENT: the line does not have it; -EINVAL: it is not a number. */
must_check int record_number(const char *line, const char *name, uint64_t *value);

/* A bucket of a histogram: "h NANOSECONDS COUNT". -EINVAL: it is something else. */
must_check int record_bucket(const char *line, uint64_t *ns, uint64_t *count);
