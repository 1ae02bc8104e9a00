#include "sync/acond.h"

#include <errno.h>

#include "base/check.h"

enum { STAGE_WAIT, STAGE_RELOCK, STAGE_DONE };

static struct waiter *waiter_of(struct acond_wait *wait)
{
    return &wait->lock.waiter;
}

static bool is_exclusive(struct waiter *waiter)
{
    return container_of(waiter, struct amutex_lock, waiter)->mode == AMUTEX_EXCLUSIVE;
}

static void unlock_list(struct acond_compact *cond)
{
    state_unlock(&cond->state, waitlist_is_empty(&cond->waiters) ? 0 : STATE_HAS_WAITERS);
}

/* Whom one notification is for. */
static void take_wave(struct acond_compact *cond, struct wave *wave)
{
    struct waitlist *waiters = &cond->waiters;
    struct waiter *waiter = waiters->first, *next;
    bool took_exclusive = false;

    if (waiter && is_exclusive(waiter)) {
        wave_take(wave, waiters, waiter);
        return;
    }
    for (; waiter; waiter = next) {
        next = waitlist_next(waiters, waiter);
        if (is_exclusive(waiter)) {
            if (took_exclusive)
                continue;
            took_exclusive = true;
        }
        wave_take(wave, waiters, waiter);
    }
}

void acond_notify_one_waiting(struct acond_compact *cond)
{
    struct wave wave = {0};

    state_lock(&cond->state);
    take_wave(cond, &wave);
    unlock_list(cond);
    wave_wake(&wave);
}

void acond_notify_all_waiting(struct acond_compact *cond)
{
    struct wave wave = {0};

    state_lock(&cond->state);
    while (!waitlist_is_empty(&cond->waiters))
        wave_take(&wave, &cond->waiters, cond->waiters.first);
    unlock_list(cond);
    wave_wake(&wave);
}

void acond_wait_start(struct acond_wait *wait, struct task *task, union acond_ref ref,
                      union amutex_ref mutex, enum amutex_mode mode)
{
    struct acond_compact *const cond = ref.compact;
    wait->cond = cond;
    wait->stage = STAGE_WAIT;
    wait->was_notified = false;
    wait->result = 0;
    amutex_lock_start(&wait->lock, task, mutex, mode);
    state_lock(&cond->state);
    if (waitlist_is_empty(&cond->waiters))
        cond->mutex = mutex.compact;
    CHECK(cond->mutex == mutex.compact);
    waitlist_push_back(&cond->waiters, waiter_of(wait));
    unlock_list(cond);
    amutex_unlock(mutex, mode);
}

/* Woken or off the list. The waiter serves the mutex from here on. */
static void start_relock(struct acond_wait *wait)
{
    wait->stage = STAGE_RELOCK;
    amutex_lock_start(&wait->lock, waiter_of(wait)->task,
                      (union amutex_ref){.compact = wait->lock.mutex},
                      (enum amutex_mode)wait->lock.mode);
}

bool acond_wait_poll(struct acond_wait *wait)
{
    if (wait->stage == STAGE_WAIT) {
        if (!waiter_take_wake(waiter_of(wait)))
            return false;
        wait->was_notified = true;
        start_relock(wait);
    }
    if (wait->stage == STAGE_RELOCK && amutex_lock_poll(&wait->lock))
        wait->stage = STAGE_DONE;
    return wait->stage == STAGE_DONE;
}

/* Off the list, if it is still there. Otherwise it was notified, which is true. */
static bool leave_list(struct acond_wait *wait)
{
    struct acond_compact *const cond = wait->cond;
    bool was_notified;

    state_lock(&cond->state);
    was_notified = waiter_status(waiter_of(wait)) != WAITER_QUEUED;
    if (!was_notified)
        waitlist_remove(&cond->waiters, waiter_of(wait));
    unlock_list(cond);
    waiter_leave(waiter_of(wait));
    return was_notified;
}

void acond_wait_cancel(struct acond_wait *wait)
{
    if (wait->stage == STAGE_DONE)
        return;
    if (wait->stage == STAGE_WAIT)
        wait->was_notified = leave_list(wait);
    else
        amutex_lock_cancel(&wait->lock);
    if (wait->was_notified)
        acond_notify_one((union acond_ref){.compact = wait->cond});
    wait->stage = STAGE_DONE;
    wait->result = -ECANCELED;
}

/* The deadline of a wait has passed: true when that ended it, and not a notification before. */
static bool time_out(struct acond_wait *wait)
{
    if (wait->stage != STAGE_WAIT)
        return false;
    wait->was_notified = leave_list(wait);
    start_relock(wait);
    return !wait->was_notified;
}

void acond_wait_timeout_start(struct acond_wait_timeout *timed, struct task *task,
                              union acond_ref cond, union amutex_ref mutex, enum amutex_mode mode,
                              uint64_t deadline_ns)
{
    timed->timer = (struct timer){0};
    timed->result = 0;
    timer_arm(&timed->timer, task, deadline_ns);
    acond_wait_start(&timed->wait, task, cond, mutex, mode);
}

bool acond_wait_timeout_poll(struct acond_wait_timeout *timed)
{
    bool finished = acond_wait_poll(&timed->wait);

    if (!finished && timer_has_fired(&timed->timer)) {
        timer_cancel(&timed->timer);
        if (time_out(&timed->wait))
            timed->result = -ETIMEDOUT;
        finished = acond_wait_poll(&timed->wait);
    }
    if (finished)
        timer_cancel(&timed->timer);
    return finished;
}

void acond_wait_timeout_cancel(struct acond_wait_timeout *timed)
{
    if (timed->wait.stage == STAGE_DONE)
        return;
    acond_wait_cancel(&timed->wait);
    timer_cancel(&timed->timer);
    timed->result = -ECANCELED;
}

int acond_wait_blocking_until(union acond_ref cond, union amutex_ref mutex, enum amutex_mode mode,
                              uint64_t deadline_ns)
{
    struct acond_wait wait;
    int ret = 0;

    acond_wait_start(&wait, NULL, cond, mutex, mode);
    if (!waiter_park(waiter_of(&wait), deadline_ns) && time_out(&wait))
        ret = -ETIMEDOUT;
    /* The rest is the mutex's, and comes to its end without a deadline. */
    CHECK_CMP(
        waiter_block(waiter_of(&wait), acond_wait_future(&wait), &wait.result, FUTEX_NO_DEADLINE),
        ==, 0);
    return ret;
}

void acond_wait_blocking(union acond_ref cond, union amutex_ref mutex, enum amutex_mode mode)
{
    int ret = acond_wait_blocking_until(cond, mutex, mode, FUTEX_NO_DEADLINE);

    CHECK_CMP(ret, ==, 0);
}

DEFINE_FUTURE(acond_wait);
DEFINE_FUTURE(acond_wait_timeout);
