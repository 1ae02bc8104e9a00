#include "tasks.h"

#include "base/check.h"
#include "exec/timer.h"
#include "model.h"

void model_executor_init(struct executor *executor, unsigned thread)
{
    *executor = (struct executor){.owner = thread};
}

static unsigned number_of(const struct executor *executor, const struct task *task)
{
    unsigned i = 0;

    while (executor->tasks[i] != task)
        i++;
    return i;
}

void task_spawn(struct task *task, struct executor *executor, const struct task_type *type)
{
    CHECK(executor->count < MODEL_TASKS_MAX);
    *task = (struct task){.type = type, .executor = executor};
    executor->ready |= 1ULL << executor->count;
    executor->tasks[executor->count++] = task;
    executor->live++;
}

struct executor *task_wake_begin(struct task *task)
{
    struct executor *const executor = task->executor;
    uint64_t bit = 1ULL << number_of(executor, task);

    if (executor->owner == model_self()) {
        executor->ready |= bit;
        return NULL;
    }
    if (atomic_fetch_or_explicit(&executor->posted, bit, memory_order_acq_rel) & bit)
        return NULL;
    model_owe(1);
    return executor;
}

/* Whoever was woken may run already. */
void task_wake_finish(struct executor *executor)
{
    (void)executor;
    model_owe(-1);
}

void task_wake(struct task *task)
{
    struct executor *executor = task_wake_begin(task);

    if (executor)
        task_wake_finish(executor);
}

static void poll_one(struct executor *executor, unsigned number)
{
    struct task *task = executor->tasks[number];

    executor->ready &= ~(1ULL << number);
    /* One that was woken once too often has gone since. */
    if (executor->gone & 1ULL << number || task->type->poll(task) == TASK_PENDING)
        return;
    CHECK_CMP(task->in_flight, ==, 0);
    executor->gone |= 1ULL << number;
    executor->live--;
    if (task->type->done)
        task->type->done(task);
}

static void fire(struct executor *executor)
{
    struct timer *timer = executor->timer;

    executor->timer = NULL;
    timer->status = TIMER_FIRED;
    timer->task->in_flight--;
    task_wake(timer->task);
}

void model_executor_run(struct executor *executor)
{
    while (executor->live) {
        for (unsigned i = 0; i < executor->count; i++)
            if (executor->ready & 1ULL << i)
                poll_one(executor, i);
        /* A task that wakes itself waits for something to change, like a loop that spins. */
        cpu_relax();
        if (executor->ready || !executor->live)
            continue;
        if (executor->timer && model_choose(2))
            fire(executor);
        else
            executor->ready = model_take(&executor->posted, executor->timer);
    }
}

void timer_arm(struct timer *timer, struct task *task, uint64_t deadline_ns)
{
    struct executor *const executor = task->executor;

    CHECK(!executor->timer);
    executor->timer = timer;
    task->in_flight++;
    *timer = (struct timer){.task = task, .deadline_ns = deadline_ns, .status = TIMER_ARMED};
}

void timer_cancel(struct timer *timer)
{
    if (timer->status == TIMER_ARMED) {
        timer->task->in_flight--;
        timer->task->executor->timer = NULL;
    }
    timer->status = TIMER_IDLE;
}

static void give_up_waiting(struct user *user)
{
    user->was_cancelled = true;
    future_cancel(user->future);
    CHECK(future_poll(user->future));
}

static bool is_finished(struct user *user)
{
    if (future_poll(user->future))
        return true;
    if (!user->may_cancel || !model_choose(2))
        return false;
    give_up_waiting(user);
    return true;
}

static enum task_verdict user_poll(struct task *task)
{
    struct user *const user = container_of(task, struct user, task);

    if (task->state) {
        if (user->may_cancel && model_choose(2))
            give_up_waiting(user);
        else if (!is_finished(user))
            return TASK_PENDING;
    }
    task->state = 1;
    for (;;) {
        if (!user->step(user))
            return TASK_DONE;
        user->was_cancelled = false;
        if (!is_finished(user))
            return TASK_PENDING;
    }
}

static void user_done(struct task *task)
{
    struct user *user = container_of(task, struct user, task);

    model_end(user->futures, user->futures_size);
    model_end(user, sizeof(*user));
}

static const struct task_type user_type = {.name = "user", .poll = user_poll, .done = user_done};

void user_spawn(struct user *user, struct executor *executor)
{
    task_spawn(&user->task, executor, &user_type);
}
