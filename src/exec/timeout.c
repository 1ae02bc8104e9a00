#include "exec/timeout.h"

void timeout_start(struct timeout *timeout, struct task *task, struct future future,
                   uint64_t deadline_ns)
{
    *timeout = (struct timeout){.future = future};
    timer_arm(&timeout->timer, task, deadline_ns);
}

static bool poll_future(struct timeout *timeout)
{
    if (!future_poll(timeout->future))
        return false;
    timer_cancel(&timeout->timer);
    return true;
}

bool timeout_poll(struct timeout *timeout)
{
    if (poll_future(timeout))
        return true;
    if (!timer_has_fired(&timeout->timer) || timeout->expired)
        return false;
    timeout->expired = true;
    future_cancel(timeout->future);
    return poll_future(timeout);
}

/* The timer is not needed any more, but the future may be. */
void timeout_cancel(struct timeout *timeout)
{
    timer_cancel(&timeout->timer);
    future_cancel(timeout->future);
}

DEFINE_FUTURE(timeout);
