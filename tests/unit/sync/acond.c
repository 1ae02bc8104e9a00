#include "sync/acond.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "rig.h"

/* The clauses of the contract, each with both state words after every step. */

#define SHARED    AMUTEX_SHARED
#define EXCLUSIVE AMUTEX_EXCLUSIVE

static struct amutex mutex;
static struct acond cond;

static unsigned long mutex_state(void)
{
    return atomic_load(&mutex.compact.state);
}

static unsigned long cond_state(void)
{
    return atomic_load(&cond.compact.state);
}

static void assert_idle(void)
{
    cr_assert_eq(mutex_state(), 0, "%#lx", mutex_state());
    cr_assert_eq(cond_state(), 0, "%#lx", cond_state());
    cr_assert(waitlist_is_empty(&cond.compact.waiters));
}

static const struct waiter *waiter_of(const struct acond_wait *wait)
{
    return &wait->lock.waiter;
}

/* Takes the mutex, which is free or shared, and waits. */
static void begin_wait(struct acond_wait *wait, enum amutex_mode mode)
{
    static unsigned next_task;

    cr_assert(amutex_try_lock(&mutex, mode));
    acond_wait_start(wait, rig_task(1 + next_task++ % (RIG_TASKS - 1)), &cond, &mutex, mode);
    cr_assert(is_queued(waiter_of(wait)));
    cr_assert_not(acond_wait_poll(wait));
    cr_assert_eq(mutex_state(), 0);
    cr_assert_eq(cond_state(), STATE_HAS_WAITERS);
}

/* It was notified: has the mutex again at its next poll, and gives it back. */
static void end_wait(struct acond_wait *wait)
{
    enum amutex_mode mode = (enum amutex_mode)wait->lock.mode;

    cr_assert(is_woken(waiter_of(wait)));
    cr_assert(acond_wait_poll(wait));
    cr_assert_eq(wait->result, 0);
    cr_assert_eq(mutex_state(), mode == EXCLUSIVE ? AMUTEX_LOCKED : AMUTEX_READER);
    amutex_unlock(&mutex, mode);
}

#define ClauseTest(name, ...) Test(acond, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

/* ---- 1: wait ---- */

static void *notifier_main(void *arg)
{
    bool *went_ahead = arg;

    amutex_lock_blocking(&mutex, EXCLUSIVE);
    *went_ahead = cond_state() != STATE_HAS_WAITERS;
    acond_notify_one(&cond);
    amutex_unlock(&mutex, EXCLUSIVE);
    return NULL;
}

ClauseTest(clause_1_it_queues_before_the_mutex_is_released)
{
    struct acond_wait wait;
    bool went_ahead = true;
    pthread_t thread;

    cr_assert(amutex_try_lock(&mutex, EXCLUSIVE));
    cr_assert_eq(pthread_create(&thread, NULL, notifier_main, &went_ahead), 0);
    while (!(mutex_state() & AMUTEX_HAS_WAITERS))
        cpu_relax();
    acond_wait_start(&wait, rig_task(0), &cond, &mutex, EXCLUSIVE);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_not(went_ahead, "who gets the mutex then finds the waiter");
    end_wait(&wait);
    assert_idle();
}

ClauseTest(clause_1_it_takes_the_mutex_again_in_the_same_mode)
{
    for (unsigned mode = SHARED; mode <= EXCLUSIVE; mode++) {
        struct acond_wait wait;

        begin_wait(&wait, (enum amutex_mode)mode);
        acond_notify_one(&cond);
        cr_assert_eq(cond_state(), 0);
        cr_assert_eq(mutex_state(), 0);
        end_wait(&wait);
        assert_idle();
    }
}

ClauseTest(clause_1_it_waits_for_the_mutex_when_somebody_has_it)
{
    struct acond_wait wait;

    begin_wait(&wait, EXCLUSIVE);
    cr_assert(amutex_try_lock(&mutex, EXCLUSIVE));
    acond_notify_one(&cond);
    cr_assert_not(acond_wait_poll(&wait));
    cr_assert_eq(mutex_state(), AMUTEX_LOCKED | AMUTEX_HAS_WAITERS | AMUTEX_WRITER_WAITING);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert_eq(mutex_state(), AMUTEX_DESIGNATED_WAKER | AMUTEX_WRITER_WAITING);
    end_wait(&wait);
    assert_idle();
}

/* ---- 2: one mutex at a time ---- */

Test(acond, clause_2_waiting_with_a_second_mutex_is_a_bug, .signal = SIGABRT)
{
    struct acond_wait waits[2];
    struct amutex other = {0};

    rig_start();
    begin_wait(&waits[0], EXCLUSIVE);
    cr_assert(amutex_try_lock(&other, EXCLUSIVE));
    acond_wait_start(&waits[1], rig_task(0), &cond, &other, EXCLUSIVE);
}

ClauseTest(clause_2_another_mutex_may_be_used_once_nobody_waits)
{
    struct acond_wait wait;
    struct amutex other = {0};

    for (unsigned cancelled = 0; cancelled < 2; cancelled++) {
        begin_wait(&wait, EXCLUSIVE);
        if (cancelled) {
            acond_wait_cancel(&wait);
        } else {
            acond_notify_one(&cond);
            end_wait(&wait);
        }
        cr_assert_eq(cond_state(), 0);
        cr_assert(amutex_try_lock(&other, EXCLUSIVE));
        acond_wait_start(&wait, rig_task(0), &cond, &other, EXCLUSIVE);
        acond_notify_all(&cond);
        cr_assert(acond_wait_poll(&wait));
        amutex_unlock(&other, EXCLUSIVE);
        assert_idle();
    }
}

/* ---- 3: notify one ---- */

ClauseTest(clause_3_an_exclusive_waiter_in_front_is_woken_alone)
{
    struct acond_wait waits[3];

    begin_wait(&waits[0], EXCLUSIVE);
    begin_wait(&waits[1], SHARED);
    begin_wait(&waits[2], EXCLUSIVE);
    acond_notify_one(&cond);
    cr_assert_eq(cond_state(), STATE_HAS_WAITERS);
    cr_assert(is_queued(waiter_of(&waits[1])) && is_queued(waiter_of(&waits[2])));
    end_wait(&waits[0]);
    acond_notify_one(&cond);
    cr_assert_eq(cond_state(), 0, "a shared one takes one exclusive one along");
    end_wait(&waits[1]);
    end_wait(&waits[2]);
    assert_idle();
}

ClauseTest(clause_3_a_shared_waiter_in_front_is_woken_with_all_shared_and_the_first_exclusive)
{
    static const enum amutex_mode modes[] = {SHARED, EXCLUSIVE, SHARED, EXCLUSIVE, SHARED};
    static const bool woken[] = {true, true, true, false, true};
    struct acond_wait waits[5];

    for (unsigned i = 0; i < 5; i++)
        begin_wait(&waits[i], modes[i]);
    acond_notify_one(&cond);
    cr_assert_eq(cond_state(), STATE_HAS_WAITERS);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(is_woken(waiter_of(&waits[i])), woken[i], "%u", i);
        if (woken[i])
            end_wait(&waits[i]);
    }
    acond_notify_one(&cond);
    end_wait(&waits[3]);
    assert_idle();
}

ClauseTest(clause_3_a_notification_without_waiters_is_not_remembered)
{
    struct acond_wait wait;

    acond_notify_one(&cond);
    acond_notify_all(&cond);
    assert_idle();
    begin_wait(&wait, EXCLUSIVE);
    acond_notify_one(&cond);
    end_wait(&wait);
    assert_idle();
}

/* ---- 4: notify all ---- */

ClauseTest(clause_4_all_are_woken_in_order_and_the_state_is_0_at_once)
{
    struct acond_wait waits[6];
    struct task *chain;

    for (unsigned i = 0; i < 6; i++)
        begin_wait(&waits[i], i % 3 ? EXCLUSIVE : SHARED);
    chain = inbox_drain(&rig.executor->inbox);
    while (inbox_chain_pop(&chain))
        ;
    acond_notify_all(&cond);
    cr_assert_eq(cond_state(), 0);
    cr_assert_eq(mutex_state(), 0);
    chain = inbox_drain(&rig.executor->inbox);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(inbox_chain_pop(&chain), waits[i].lock.waiter.task, "%u", i);
    for (unsigned i = 0; i < 6; i++)
        end_wait(&waits[i]);
    assert_idle();
}

/* ---- 5: the mutex is left alone ---- */

ClauseTest(clause_5_notify_touches_no_mutex)
{
    struct acond_wait waits[3];

    for (unsigned i = 0; i < 3; i++)
        begin_wait(&waits[i], EXCLUSIVE);
    cr_assert(amutex_try_lock(&mutex, EXCLUSIVE));
    acond_notify_one(&cond);
    cr_assert_eq(mutex_state(), AMUTEX_LOCKED);
    acond_notify_all(&cond);
    cr_assert_eq(mutex_state(), AMUTEX_LOCKED, "no waiter was transferred");
    cr_assert(waitlist_is_empty(&mutex.compact.waiters));
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(is_woken(waiter_of(&waits[i])));
        cr_assert_not(acond_wait_poll(&waits[i]));
        cr_assert_eq(mutex_state(), AMUTEX_LOCKED | AMUTEX_HAS_WAITERS | AMUTEX_WRITER_WAITING);
    }
    amutex_unlock(&mutex, EXCLUSIVE);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(acond_wait_poll(&waits[i]));
        amutex_unlock(&mutex, EXCLUSIVE);
    }
    assert_idle();
}

/* ---- 6: cancel ---- */

ClauseTest(clause_6_cancelled_before_a_notification_it_only_leaves)
{
    struct acond_wait waits[3];

    for (unsigned i = 0; i < 3; i++)
        begin_wait(&waits[i], EXCLUSIVE);
    acond_wait_cancel(&waits[1]);
    cr_assert(acond_wait_poll(&waits[1]));
    cr_assert_eq(waits[1].result, -ECANCELED);
    cr_assert_eq(cond_state(), STATE_HAS_WAITERS);
    cr_assert_eq(mutex_state(), 0, "it does not have the mutex");
    cr_assert(is_queued(waiter_of(&waits[0])) && is_queued(waiter_of(&waits[2])));
    acond_wait_cancel(&waits[0]);
    acond_wait_cancel(&waits[2]);
    assert_idle();
}

ClauseTest(clause_6_cancelled_after_a_notification_it_passes_it_on_by_rule_3)
{
    struct acond_wait first, waits[4];

    begin_wait(&first, EXCLUSIVE);
    acond_notify_one(&cond);
    begin_wait(&waits[0], SHARED);
    begin_wait(&waits[1], EXCLUSIVE);
    begin_wait(&waits[2], EXCLUSIVE);
    begin_wait(&waits[3], SHARED);
    acond_wait_cancel(&first);
    cr_assert_eq(first.result, -ECANCELED);
    cr_assert_eq(cond_state(), STATE_HAS_WAITERS);
    cr_assert_eq(mutex_state(), 0);
    cr_assert(is_queued(waiter_of(&waits[2])));
    end_wait(&waits[0]);
    end_wait(&waits[1]);
    end_wait(&waits[3]);
    acond_wait_cancel(&waits[2]);
    assert_idle();
}

ClauseTest(clause_6_the_last_one_notified_leaves_nothing_behind)
{
    struct acond_wait wait;

    begin_wait(&wait, SHARED);
    acond_notify_all(&cond);
    acond_wait_cancel(&wait);
    assert_idle();
    acond_wait_cancel(&wait);
    cr_assert_eq(wait.result, -ECANCELED);
}

/* ---- 7: also while it queues for the mutex ---- */

ClauseTest(clause_7_cancelled_while_it_queues_for_the_mutex_it_passes_the_notification_on)
{
    for (unsigned woken = 0; woken < 2; woken++) {
        struct acond_wait waits[2];

        begin_wait(&waits[0], EXCLUSIVE);
        begin_wait(&waits[1], EXCLUSIVE);
        cr_assert(amutex_try_lock(&mutex, EXCLUSIVE));
        acond_notify_one(&cond);
        cr_assert_not(acond_wait_poll(&waits[0]), "has run");
        cr_assert_eq(mutex_state(), AMUTEX_LOCKED | AMUTEX_HAS_WAITERS | AMUTEX_WRITER_WAITING);
        cr_assert(is_queued(waiter_of(&waits[1])));
        if (woken)
            amutex_unlock(&mutex, EXCLUSIVE);
        acond_wait_cancel(&waits[0]);
        cr_assert_eq(waits[0].result, -ECANCELED);
        cr_assert_eq(cond_state(), 0);
        cr_assert_eq(mutex_state(), woken ? 0 : AMUTEX_LOCKED);
        if (!woken)
            amutex_unlock(&mutex, EXCLUSIVE);
        end_wait(&waits[1]);
        assert_idle();
    }
}

ClauseTest(clause_7_a_wait_that_has_finished_owes_nothing)
{
    struct acond_wait waits[2];

    begin_wait(&waits[0], EXCLUSIVE);
    begin_wait(&waits[1], EXCLUSIVE);
    acond_notify_one(&cond);
    cr_assert(acond_wait_poll(&waits[0]));
    acond_wait_cancel(&waits[0]);
    cr_assert_eq(waits[0].result, 0);
    cr_assert_eq(mutex_state(), AMUTEX_LOCKED, "still ours");
    cr_assert(is_queued(waiter_of(&waits[1])));
    amutex_unlock(&mutex, EXCLUSIVE);
    acond_wait_cancel(&waits[1]);
    assert_idle();
}

/* ---- timed ---- */

static void begin_timed_wait(struct acond_wait_timeout *timed)
{
    cr_assert(amutex_try_lock(&mutex, EXCLUSIVE));
    acond_wait_timeout_start(timed, rig_task(0), &cond, &mutex, EXCLUSIVE, UINT64_MAX);
    cr_assert_not(acond_wait_timeout_poll(timed));
    cr_assert_eq(rig_task(0)->in_flight, 2, "a waiter and a timer");
}

/* As the executor does it. */
static void fire(struct acond_wait_timeout *timed)
{
    timer_cancel(&timed->timer);
    timed->timer.status = TIMER_FIRED;
}

ClauseTest(a_wait_that_times_out_has_the_mutex_again)
{
    struct acond_wait_timeout timed;

    begin_timed_wait(&timed);
    fire(&timed);
    cr_assert(acond_wait_timeout_poll(&timed));
    cr_assert_eq(timed.result, -ETIMEDOUT);
    cr_assert_eq(cond_state(), 0);
    cr_assert_eq(mutex_state(), AMUTEX_LOCKED);
    cr_assert_eq(rig_task(0)->in_flight, 0);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(a_wait_that_was_notified_in_time_has_not_timed_out)
{
    for (unsigned fires = 0; fires < 2; fires++) {
        struct acond_wait_timeout timed;

        begin_timed_wait(&timed);
        acond_notify_one(&cond);
        if (fires)
            fire(&timed);
        cr_assert(acond_wait_timeout_poll(&timed));
        cr_assert_eq(timed.result, 0);
        cr_assert_eq(rig_task(0)->in_flight, 0);
        amutex_unlock(&mutex, EXCLUSIVE);
        assert_idle();
    }
}

ClauseTest(a_deadline_while_it_queues_for_the_mutex_does_not_end_the_wait)
{
    for (unsigned timed_out = 0; timed_out < 2; timed_out++) {
        struct acond_wait_timeout timed;

        begin_timed_wait(&timed);
        cr_assert(amutex_try_lock(&mutex, EXCLUSIVE));
        if (!timed_out) {
            acond_notify_one(&cond);
            cr_assert_not(acond_wait_timeout_poll(&timed));
        }
        fire(&timed);
        cr_assert_not(acond_wait_timeout_poll(&timed));
        amutex_unlock(&mutex, EXCLUSIVE);
        cr_assert(acond_wait_timeout_poll(&timed));
        cr_assert_eq(timed.result, timed_out ? -ETIMEDOUT : 0);
        amutex_unlock(&mutex, EXCLUSIVE);
        assert_idle();
    }
}

ClauseTest(one_that_timed_out_and_is_cancelled_has_no_notification_to_pass_on)
{
    struct acond_wait_timeout timed;
    struct acond_wait other;

    begin_timed_wait(&timed);
    begin_wait(&other, EXCLUSIVE);
    cr_assert(amutex_try_lock(&mutex, EXCLUSIVE));
    fire(&timed);
    cr_assert_not(acond_wait_timeout_poll(&timed));
    acond_wait_timeout_cancel(&timed);
    cr_assert(acond_wait_timeout_poll(&timed));
    cr_assert_eq(timed.result, -ECANCELED);
    cr_assert_eq(rig_task(0)->in_flight, 0);
    cr_assert(is_queued(waiter_of(&other)));
    amutex_unlock(&mutex, EXCLUSIVE);
    acond_wait_cancel(&other);
    assert_idle();
}

/* ---- plain threads ---- */

static void *blocking_main(void *arg)
{
    unsigned *stage = arg;

    amutex_lock_blocking(&mutex, EXCLUSIVE);
    while (*stage == 0)
        acond_wait_blocking(&cond, &mutex, EXCLUSIVE);
    *stage = 2;
    amutex_unlock(&mutex, EXCLUSIVE);
    return NULL;
}

Test(acond, a_plain_thread_waits)
{
    unsigned stage = 0;
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, blocking_main, &stage), 0);
    while (cond_state() != STATE_HAS_WAITERS)
        cpu_relax();
    amutex_lock_blocking(&mutex, EXCLUSIVE);
    stage = 1;
    acond_notify_one(&cond);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(stage, 2);
    assert_idle();
}

Test(acond, a_plain_thread_that_times_out_has_the_mutex_again)
{
    cr_assert(amutex_try_lock(&mutex, SHARED));
    cr_assert_eq(acond_wait_blocking_until(&cond, &mutex, SHARED, clock_now_ns() + NS_PER_MS),
                 -ETIMEDOUT);
    cr_assert_eq(mutex_state(), AMUTEX_READER);
    cr_assert_eq(cond_state(), 0);
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}
