/* cycles() as time. */
#pragma once
#include <stdint.h>

void clock_init(void);
uint64_t clock_ns(uint64_t cycle_count);
uint64_t clock_cycles_of_ms(uint64_t ms);
