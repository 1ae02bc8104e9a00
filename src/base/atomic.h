/*
 * C11 atomics, for every source whose memory orders are model-checked. tests/model replaces this
 * header: there each atomic access, fence, spin hint and futex call is a step of the schedule
 * explorer. Always with an explicit order, and a comment that names the site it pairs with.
 */
#pragma once
#include <stdatomic.h>

/* Tells the core that this is a spin loop. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}
