/* In place of src/base/atomic.h: a spin loop goes on when something has changed. */
#pragma once
#include <stdatomic.h>

void model_relax(void);

static inline void cpu_relax(void)
{
    model_relax();
}
