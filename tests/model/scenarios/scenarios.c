#include "scenarios/scenarios.h"

#include <stddef.h>

const struct scenario *const scenario_sets[] = {
    litmus_scenarios,
    inbox_scenarios,
    amutex_scenarios,
    acond_scenarios,
    semaphore_scenarios,
    channel_scenarios,
    waits_scenarios,
    queue_scenarios,
    packed_queue_scenarios,
    vcpu_scenarios,
    NULL,
};
