/* Between the files that set up the processor. */
#pragma once

/* An exception that no table has an entry for, nor for what follows from it: a reset, anywhere. */
void triple_fault(void);

/* Local APIC on, old interrupt controllers off. */
void interrupts_init(void);

/* What the processor says of its clock, for cycles_per_ms. */
void clock_khz_learn(void);
