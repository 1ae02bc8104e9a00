/* All sets of scenarios; each ends with one that has no name. */
#pragma once
#include "model.h"

extern const struct scenario *const scenario_sets[];

extern const struct scenario litmus_scenarios[];
extern const struct scenario inbox_scenarios[];
extern const struct scenario amutex_scenarios[];
extern const struct scenario acond_scenarios[];
extern const struct scenario semaphore_scenarios[];
extern const struct scenario channel_scenarios[];
extern const struct scenario waits_scenarios[];
extern const struct scenario queue_scenarios[];
extern const struct scenario packed_queue_scenarios[];
extern const struct scenario vcpu_scenarios[];
