/* What stands in for the kernel: futexes, eventfds, time. */
#pragma once
#include <stdint.h>

void kernel_begin_run(void);
