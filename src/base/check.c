#include "base/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s: %s:%d: broken invariant: %s (this is a bug in %s)\n",
            program_invocation_short_name, file, line, condition, program_invocation_short_name);
    abort();
}

void check_cmp_failed(const char *file, int line, const char *condition, long long left,
                      long long right)
{
    fprintf(stderr, "%s: %s:%d: broken invariant: %s (%lld, %lld) (this is a bug in %s)\n",
            program_invocation_short_name, file, line, condition, left, right,
            program_invocation_short_name);
    abort();
}
