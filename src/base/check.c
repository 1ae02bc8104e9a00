#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "ringvm: %s:%d: broken invariant: %s (this is a bug in ringvm)\n", file, line,
            condition);
    abort();
}

void check_cmp_failed(const char *file, int line, const char *condition, long long left,
                      long long right)
{
    fprintf(stderr, "ringvm: %s:%d: broken invariant: %s (%lld, %lld) (this is a bug in ringvm)\n",
            file, line, condition, left, right);
    abort();
}
