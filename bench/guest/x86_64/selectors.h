/* Numbers that assembly and C share. */
#pragma once

#define SELECTOR_CODE_0 0x08
#define SELECTOR_DATA_0 0x10
#define SELECTOR_DATA_3 0x1b
#define SELECTOR_CODE_3 0x23
#define SELECTOR_TASK   0x28

#define EXCEPTION_COUNT  32
#define INTERRUPT_VECTOR 0x40
#define TICK_VECTOR      0x41
#define SLEEP_VECTOR     3
