/* The explorer against the definition of its memory model. */
#pragma once
#include <stdbool.h>

/* Explores `count` random programs and counts their executions by definition as well. False: they
 * differ, which is printed. */
bool self_check(unsigned count);
