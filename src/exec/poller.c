#include "exec/poller.h"

#include "base/arith.h"
#include "base/clock.h"

/* A window shorter than a wake-up only adds cost. */
#define WINDOW_MIN_NS (4 * NS_PER_US)
enum {
    FAILURES_MAX = 5, /* as many as it takes the window to grow from its minimum to 64 us */
    PAUSE_MIN = 16,
    PAUSE_MAX = 1024,
};
/* What a sleep adds to the idle time by itself: waking the thread. */
#define WAKE_NS (30 * NS_PER_US)

void poller_init(struct poller *poller, uint64_t max_ns)
{
    *poller = (struct poller){.window_ns = max_ns, .max_ns = max_ns, .pause_again = PAUSE_MIN};
}

void poller_succeeded(struct poller *poller)
{
    poller->failures = 0;
    poller->pause_again = PAUSE_MIN;
}

static void give_up(struct poller *poller)
{
    poller->failures = 0;
    poller->window_ns = 0;
    poller->pause = poller->pause_again;
    poller->pause_again = (uint32_t)u64_min(poller->pause_again * 2ULL, PAUSE_MAX);
}

void poller_slept(struct poller *poller, bool polled, uint64_t idle_ns)
{
    if (poller->pause) {
        poller->pause--;
    } else if (polled && ++poller->failures == FAILURES_MAX) {
        give_up(poller);
    } else if (idle_ns <= poller->max_ns + WAKE_NS) {
        uint64_t grown = u64_max(poller->window_ns * 2, WINDOW_MIN_NS);

        poller->window_ns = u64_min(grown, poller->max_ns);
    } else {
        poller->window_ns /= 2;
        if (poller->window_ns < WINDOW_MIN_NS) {
            poller->window_ns = 0;
            poller->failures = 0;
        }
    }
}
