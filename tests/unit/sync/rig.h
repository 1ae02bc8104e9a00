/*
 * What the tests of src/sync share: live tasks on an executor that does not run. The test itself
 * starts, polls and cancels their futures, in the order that it wants; who was woken shows in the
 * future's waiter.
 */
#pragma once
#include <criterion/criterion.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "exec/executor_internal.h"
#include "sync/waiter.h"

enum { RIG_TASKS = 64 };

struct rig {
    struct executor *executor;
    struct task tasks[RIG_TASKS];
    bool finish;
};

static struct rig rig;

static enum task_verdict rig_poll(struct task *task)
{
    (void)task;
    return rig.finish ? TASK_DONE : TASK_PENDING;
}

static inline void rig_start(void)
{
    static const struct task_type type = {.name = "rig", .poll = rig_poll};
    struct err err = {""};

    cr_assert_eq(executor_create(&rig.executor, NULL, &err), 0, "%s", err.text);
    for (unsigned i = 0; i < RIG_TASKS; i++)
        task_spawn(&rig.tasks[i], rig.executor, &type);
}

/* No future may be left: the executor checks that tasks end with nothing in flight. */
static inline void rig_stop(void)
{
    rig.finish = true;
    for (unsigned i = 0; i < RIG_TASKS; i++)
        task_wake(&rig.tasks[i]);
    cr_assert_eq(executor_run(rig.executor), 0);
    executor_destroy(rig.executor);
}

static inline struct task *rig_task(unsigned i)
{
    cr_assert_lt(i, RIG_TASKS);
    return &rig.tasks[i];
}

/* As if every task that was woken had run since. */
static inline void rig_forget_wakes(void)
{
    struct task *chain = inbox_drain(&rig.executor->inbox);

    while (inbox_chain_pop(&chain))
        ;
}

static inline bool is_queued(const struct waiter *waiter)
{
    return waiter_status(waiter) == WAITER_QUEUED;
}

static inline bool is_woken(const struct waiter *waiter)
{
    return waiter_status(waiter) == WAITER_WOKEN;
}

/* From here on the wake-up of a task blocks in its system call, which comes last in it. */
static inline void rig_block_wakes(void)
{
    const uint64_t full = UINT64_MAX - 1;
    struct inbox *inbox = &rig.executor->inbox;
    int fd = eventfd(0, EFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, &full, sizeof(full)), (ssize_t)sizeof(full));
    cr_assert_eq(dup2(fd, inbox->wake_fd), inbox->wake_fd);
    cr_assert_eq(close(fd), 0);
    rig_forget_wakes();
    cr_assert(inbox_prepare_wait(inbox));
}

static inline void rig_unblock_wakes(void)
{
    struct inbox *inbox = &rig.executor->inbox;
    uint64_t count;

    cr_assert_eq(read(inbox->wake_fd, &count, sizeof(count)), (ssize_t)sizeof(count));
    inbox_finish_wait(inbox);
}
