/*
 * In place of src/base/check.c and log.c: a failed CHECK of production code is a failure of the
 * scenario, and what it logs is not shown.
 */
#include "base/check.h"
#include "base/log.h"
#include "failure.h"

void check_failed(const char *file, int line, const char *condition)
{
    fail("%s:%d: CHECK failed: %s", file, line, condition);
}

void check_cmp_failed(const char *file, int line, const char *condition, long long left,
                      long long right)
{
    fail("%s:%d: CHECK failed: %s (%lld and %lld)", file, line, condition, left, right);
}

void log_line(enum log_level level, const char *format, ...)
{
    (void)level;
    (void)format;
}
