/*
 * C11 atomics, for every source whose memory orders are model-checked. tests/model replaces this
 * header: there each atomic access, fence, spin hint and futex call is a step of the schedule
 * explorer. Always with an explicit order, and a comment that names the site it pairs with.
 *
 * A store before a look at what another thread stored is an exchange, whose result nobody wants.
 * For the language and for processors a sequentially consistent store would do; but in QEMU's
 * emulation of aarch64 a later load overtakes that. For x86_64 both are the same instruction.
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
