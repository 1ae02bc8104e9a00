#include "exec/poller.h"

#include "base/arith.h"
#include "base/clock.h"

/* A window shorter than a wake-up only adds cost. */
#define WINDOW_MIN_NS (4 * NS_PER_US)
/* What a sleep adds to the idle time by itself: waking the thread. */
#define WAKE_NS (30 * NS_PER_US)

void poller_init(struct poller *poller, uint64_t max_ns)
{
    *poller = (struct poller){.window_ns = max_ns, .max_ns = max_ns};
}

void poller_learn(struct poller *poller, uint64_t idle_ns)
{
    if (idle_ns <= poller->window_ns)
        return;
    if (idle_ns <= poller->max_ns + WAKE_NS) {
        uint64_t grown = u64_max(poller->window_ns * 2, WINDOW_MIN_NS);

        poller->window_ns = u64_min(grown, poller->max_ns);
    } else {
        poller->window_ns /= 2;
        if (poller->window_ns < WINDOW_MIN_NS)
            poller->window_ns = 0;
    }
}
