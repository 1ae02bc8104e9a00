#include "legacy/alarm.h"

static enum task_verdict alarm_poll(struct task *task)
{
    struct alarm *const alarm = container_of(task, struct alarm, task);

    if (timer_has_fired(&alarm->timer)) {
        timer_cancel(&alarm->timer);
        alarm->deadline_ns = 0;
        alarm->ring(alarm);
    }
    return timer_is_armed(&alarm->timer) ? TASK_PENDING : TASK_DONE;
}

static void alarm_done(struct task *task)
{
    struct alarm *alarm = container_of(task, struct alarm, task);

    alarm->is_spawned = false;
    /* Set while the task was on its way out. */
    if (alarm->deadline_ns)
        alarm_set(alarm, alarm->deadline_ns);
}

static const struct task_type alarm_type = {
    .name = "chip timer", .poll = alarm_poll, .done = alarm_done};

void alarm_set(struct alarm *alarm, uint64_t deadline_ns)
{
    alarm->deadline_ns = deadline_ns;
    if (!alarm->is_spawned)
        task_spawn(&alarm->task, alarm->executor, &alarm_type);
    alarm->is_spawned = true;
    if (task_is_live(&alarm->task))
        timer_arm(&alarm->timer, &alarm->task, deadline_ns);
}

void alarm_clear(struct alarm *alarm)
{
    alarm->deadline_ns = 0;
    if (!alarm->is_spawned || !task_is_live(&alarm->task))
        return;
    timer_cancel(&alarm->timer);
    task_wake(&alarm->task);
}
