#include "clock.h"

#include "cmdline.h"
#include "console.h"
#include "guest.h"

enum { NS_PER_MS = 1000000 };

static uint64_t per_ms;

void clock_init(void)
{
    per_ms = cmdline_number("cycles_per_ms", 0);
    if (!per_ms)
        per_ms = cycles_per_ms();
    if (!per_ms)
        guest_fail("nothing here tells how fast the clock runs; add cycles_per_ms=NUMBER");
    console_begin("clock");
    console_field("cycles_per_ms", per_ms);
    console_end();
}

uint64_t clock_ns(uint64_t cycle_count)
{
    return cycle_count / per_ms * NS_PER_MS + cycle_count % per_ms * NS_PER_MS / per_ms;
}

uint64_t clock_cycles_of_ms(uint64_t ms)
{
    return ms * per_ms;
}
