/* How long threads were ready to run but had no cpu: what tells a busy machine from a slow program.
 */
#pragma once
#include <stdint.h>

/* Of the calling thread since it began, in nanoseconds; 0 where the kernel does not count it. */
uint64_t run_delay_ns(void);
