/* What ends the exploring of a scenario. */
#pragma once
#include "base/compiler.h"

/* The scenario is wrong: says why, with the steps that led to it, as a seed too. Does not return:
 * the run is given up. */
noreturn_fn cold_fn printf_like(1, 2) void fail(const char *format, ...);
/* The explorer cannot go on: its own limits or its own bug. */
noreturn_fn cold_fn void give_up(const char *why);

#define REQUIRE(condition, why)     \
    do {                            \
        if (unlikely(!(condition))) \
            give_up(why);           \
    } while (0)
