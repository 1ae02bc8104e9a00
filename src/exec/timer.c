#include "exec/timer.h"

#include "base/arith.h"
#include "base/check.h"
#include "exec/executor_internal.h"

void timer_arm(struct timer *timer, struct task *task, uint64_t deadline_ns)
{
    timer_cancel(timer);
    CHECK_CMP(task->in_flight, <, UINT16_MAX);
    task->in_flight++;
    timer->task = task;
    timer->deadline_ns = deadline_ns;
    timer->status = TIMER_ARMED;
    wheel_add(&task->executor->wheel, timer);
}

void timer_sleep(struct timer *timer, struct task *task, uint64_t duration_ns)
{
    uint64_t deadline_ns;

    /* Not the turn's time: that has passed already. */
    if (!u64_add(clock_now_ns(), duration_ns, &deadline_ns))
        deadline_ns = UINT64_MAX;
    timer_arm(timer, task, deadline_ns);
}

void timer_cancel(struct timer *timer)
{
    if (timer->status == TIMER_ARMED) {
        timer->task->in_flight--;
        wheel_remove(&timer->task->executor->wheel, timer);
    }
    timer->status = TIMER_IDLE;
}

static bool poll_timer(void *self)
{
    return !timer_is_armed(self);
}

static void cancel_timer(void *self)
{
    timer_cancel(self);
}

struct future timer_future(struct timer *timer)
{
    static const struct future_type type = {poll_timer, cancel_timer};

    return (struct future){&type, timer};
}
