/*
 * Assertions against our own bugs. They stay on in release builds: a monitor that goes on after a
 * broken invariant is a hole in the sandbox. One condition each, no side effects in the condition.
 * What a guest or a user can cause is never checked with these.
 */
#pragma once
#include "base/compiler.h"

#define CHECK(cond)                                  \
    do {                                             \
        if (unlikely(!(cond)))                       \
            check_failed(__FILE__, __LINE__, #cond); \
    } while (0)

/* CHECK_CMP(a, <, b) prints both operands when it fails. */
#define CHECK_CMP(a, op, b)                                                             \
    do {                                                                                \
        __auto_type check_a = (a);                                                      \
        __auto_type check_b = (b);                                                      \
        if (unlikely(!(check_a op check_b)))                                            \
            check_cmp_failed(__FILE__, __LINE__, #a " " #op " " #b, (long long)check_a, \
                             (long long)check_b);                                       \
    } while (0)

noreturn_fn cold_fn void check_failed(const char *file, int line, const char *condition);
noreturn_fn cold_fn void check_cmp_failed(const char *file, int line, const char *condition,
                                          long long left, long long right);
