/* Which cpu a thread runs on, for free. */
#pragma once
#include <sys/rseq.h>

/*
 * The cpu of the calling thread, from its restartable-sequences area (two loads), or -1 where the
 * C library registered none. Stale as soon as it is read: for heuristics only.
 */
static inline int cpu_current(void)
{
    const char *thread = __builtin_thread_pointer();
    const struct rseq *area = (const struct rseq *)(const void *)(thread + __rseq_offset);
    int cpu = __rseq_size ? (int)*(const volatile unsigned *)&area->cpu_id : -1;

    return cpu < 0 ? -1 : cpu;
}
