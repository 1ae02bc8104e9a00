/* What an executor says about itself and its tasks. */
#include <stdio.h>

#include "exec/executor_internal.h"

const char *task_name(const struct task *task)
{
    const char *name = task->type->name_of ? task->type->name_of(task) : NULL;

    return name ? name : task->type->name;
}

const char *task_state_name(const struct task *task)
{
    const struct task_type *type = task->type;

    return type->state_names && task->state < type->state_count ? type->state_names[task->state]
                                                                : NULL;
}

void executor_stats_read(const struct executor *executor, struct executor_stats *stats)
{
    *stats = executor->stats;
    stats->enters = executor->ring.enters;
    if (executor->iopoll)
        stats->enters += executor->iopoll->ring.enters;
}

void executor_dump(const struct executor *executor, FILE *out)
{
    struct executor_stats stats;

    executor_stats_read(executor, &stats);
    fprintf(out, "executor: %llu live tasks, %llu timers armed, %u operations not yet submitted\n",
            (unsigned long long)executor->live_count, (unsigned long long)executor->wheel.armed,
            ring_unsubmitted(&executor->ring));
    fprintf(out,
            "executor: %llu turns, %llu enters, %llu submitted, %llu completed, %llu sleeps, "
            "%llu inbox wakes, %llu us polled\n",
            (unsigned long long)stats.turns, (unsigned long long)stats.enters,
            (unsigned long long)stats.submitted, (unsigned long long)stats.completed,
            (unsigned long long)stats.sleeps, (unsigned long long)stats.inbox_wakes,
            (unsigned long long)(stats.poll_ns / NS_PER_US));
    list_for_each (link, &executor->tasks) {
        const struct task *task = container_of(link, struct task, all_link);
        const char *state = task_state_name(task);

        fprintf(out, "%s: ", task_name(task));
        if (state)
            fputs(state, out);
        else
            fprintf(out, "state %u", task->state);
        fprintf(out, ", %s, %u in flight, %u polls", task->ready_next ? "ready" : "waiting",
                task->in_flight, task->poll_count);
        if (executor->trace)
            fprintf(out, ", %u us", task->run_us);
        fputc('\n', out);
    }
}

void executor_describe(const struct executor *executor, FILE *out)
{
    ring_describe(&executor->ring, out);
}
