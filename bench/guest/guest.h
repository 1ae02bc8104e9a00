/* The payload as a whole: its parameters, its end, its benchmarks. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "arch.h"

/* Ends the run: the line "error WHY". */
__attribute__((noreturn)) void guest_fail(const char *why);

void disk_run(void);
void exits_run(void);
void net_run(void);
void idle_run(void) __attribute__((noreturn));
