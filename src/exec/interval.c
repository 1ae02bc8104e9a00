#include "exec/interval.h"

#include "base/arith.h"
#include "base/check.h"
#include "base/clock.h"

void interval_start(struct interval *interval, struct task *task, uint64_t period_ns)
{
    CHECK_CMP(period_ns, >, 0U);
    interval->period_ns = period_ns;
    timer_sleep(&interval->timer, task, period_ns);
}

void interval_stop(struct interval *interval)
{
    timer_cancel(&interval->timer);
}

uint64_t interval_take(struct interval *interval)
{
    struct timer *timer = &interval->timer;
    uint64_t ticks;

    if (!interval_is_due(interval))
        return 0;
    ticks = (clock_now_ns() - timer->deadline_ns) / interval->period_ns + 1;
    timer_arm(timer, timer->task, timer->deadline_ns + ticks * interval->period_ns);
    return ticks;
}
