#include <errno.h>
#include <pthread.h>

#include "amutex_rig.h"

/* ---- 8: cancel ---- */

ClauseTest(clause_8_cancelled_before_it_was_woken_it_only_leaves_the_list)
{
    struct amutex_lock locks[3];

    hold(EXCLUSIVE);
    for (unsigned i = 0; i < 3; i++)
        queue(&locks[i], EXCLUSIVE);
    amutex_lock_cancel(&locks[1]);
    cr_assert(amutex_lock_poll(&locks[1]));
    cr_assert_eq(locks[1].result, -ECANCELED);
    assert_state(LOCKED | WAITERS | WRITER);
    cr_assert(is_queued(&locks[0].waiter) && is_queued(&locks[2].waiter), "nobody is woken");
    amutex_lock_cancel(&locks[0]);
    assert_state(LOCKED | WAITERS | WRITER);
    amutex_lock_cancel(&locks[2]);
    assert_state(LOCKED);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_8_a_writer_that_leaves_lets_new_readers_in)
{
    struct amutex_lock writer, reader;

    hold(SHARED);
    queue(&writer, EXCLUSIVE);
    queue(&reader, SHARED);
    amutex_lock_cancel(&writer);
    assert_state(READER | WAITERS);
    hold(SHARED);
    assert_state(2 * READER | WAITERS);
    amutex_unlock(&mutex, SHARED);
    amutex_unlock(&mutex, SHARED);
    assert_state(DESIGNATED);
    cr_assert(amutex_lock_poll(&reader));
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}

/* Every mixture of up to five, and each writer of it. */
ClauseTest(clause_8_a_writer_that_leaves_takes_its_bit_along_unless_another_one_waits)
{
    struct amutex_lock locks[5];

    hold(EXCLUSIVE);
    for (unsigned mixture = 0; mixture < 5 << 5; mixture++) {
        unsigned count = 1 + (mixture >> 5), writers = mixture & ((1 << count) - 1);

        for (unsigned leaver = 0; leaver < count; leaver++) {
            if (!(writers & 1 << leaver))
                continue;
            for (unsigned i = 0; i < count; i++)
                queue(&locks[i], writers & 1 << i ? EXCLUSIVE : SHARED);
            amutex_lock_cancel(&locks[leaver]);
            assert_state(LOCKED | (count > 1 ? WAITERS : 0) |
                         (writers & ~(1U << leaver) ? WRITER : 0));
            for (unsigned i = 0; i < count; i++)
                amutex_lock_cancel(&locks[i]);
            assert_state(LOCKED);
        }
    }
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_8_a_writer_that_leaves_while_readers_are_on_their_way_takes_its_bit_along)
{
    struct amutex_lock readers[2], writer;

    hold(EXCLUSIVE);
    queue(&readers[0], SHARED);
    queue(&readers[1], SHARED);
    queue(&writer, EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(WAITERS | DESIGNATED | WRITER);
    amutex_lock_cancel(&writer);
    cr_assert(amutex_lock_poll(&readers[0]));
    assert_state(READER);
    hold(SHARED);
    cr_assert(amutex_lock_poll(&readers[1]));
    for (unsigned i = 0; i < 3; i++)
        amutex_unlock(&mutex, SHARED);
    assert_idle();
}

ClauseTest(clause_8_who_leaves_last_takes_along_the_bit_of_a_writer_that_has_the_lock)
{
    struct amutex_lock writer, reader;

    hold(EXCLUSIVE);
    queue(&writer, EXCLUSIVE);
    queue(&reader, SHARED);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&writer));
    assert_state(LOCKED | WAITERS | WRITER);
    amutex_lock_cancel(&reader);
    assert_state(LOCKED);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_8_who_leaves_leaves_the_bit_of_a_writer_on_its_way)
{
    for (unsigned mode = SHARED; mode <= EXCLUSIVE; mode++) {
        struct amutex_lock writer, other;

        hold(EXCLUSIVE);
        queue(&writer, EXCLUSIVE);
        queue(&other, (enum amutex_mode)mode);
        amutex_unlock(&mutex, EXCLUSIVE);
        assert_state(WAITERS | DESIGNATED | WRITER);
        amutex_lock_cancel(&other);
        assert_state(DESIGNATED | WRITER);
        cr_assert_not(amutex_try_lock(&mutex, SHARED));
        cr_assert(amutex_lock_poll(&writer));
        assert_state(LOCKED);
        amutex_unlock(&mutex, EXCLUSIVE);
        assert_idle();
    }
}

ClauseTest(clause_8_cancelled_after_it_was_woken_it_passes_the_wake_up_on)
{
    struct amutex_lock locks[3];

    hold(EXCLUSIVE);
    for (unsigned i = 0; i < 3; i++)
        queue(&locks[i], EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    amutex_lock_cancel(&locks[0]);
    cr_assert_eq(locks[0].result, -ECANCELED);
    cr_assert(is_woken(&locks[1].waiter));
    cr_assert(is_queued(&locks[2].waiter), "to one wave");
    assert_state(WAITERS | DESIGNATED | WRITER);
    amutex_lock_cancel(&locks[1]);
    cr_assert(is_woken(&locks[2].waiter));
    assert_state(DESIGNATED | WRITER);
    amutex_lock_cancel(&locks[2]);
    assert_idle();
}

ClauseTest(clause_8_one_of_a_wave_that_is_cancelled_wakes_the_next_wave)
{
    struct amutex_lock readers[2], writer;

    hold(EXCLUSIVE);
    queue(&readers[0], SHARED);
    queue(&readers[1], SHARED);
    queue(&writer, EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&readers[0]));
    assert_state(READER | WAITERS | WRITER);
    amutex_lock_cancel(&readers[1]);
    cr_assert(is_woken(&writer.waiter), "too early, but not too late");
    assert_state(READER | DESIGNATED | WRITER);
    cr_assert_not(amutex_lock_poll(&writer));
    assert_state(READER | WAITERS | WRITER);
    amutex_unlock(&mutex, SHARED);
    cr_assert(amutex_lock_poll(&writer));
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_8_a_cancelled_waiter_with_precedence_gives_it_up)
{
    for (unsigned woken = 0; woken < 2; woken++) {
        struct amutex_lock lock, other;

        hold(EXCLUSIVE);
        queue(&lock, EXCLUSIVE);
        frustrate(&lock, 19);
        queue(&other, SHARED);
        assert_state(LOCKED | WAITERS | WRITER | LONG);
        if (woken)
            amutex_unlock(&mutex, EXCLUSIVE);
        amutex_lock_cancel(&lock);
        assert_state(woken ? DESIGNATED : LOCKED | WAITERS);
        if (!woken)
            amutex_unlock(&mutex, EXCLUSIVE);
        cr_assert(amutex_lock_poll(&other));
        amutex_unlock(&mutex, SHARED);
        assert_idle();
    }
}

ClauseTest(clause_8_cancelled_before_its_first_poll_and_after_its_end)
{
    struct amutex_lock lock;

    amutex_lock_start(&lock, rig_task(0), &mutex, EXCLUSIVE);
    amutex_lock_cancel(&lock);
    assert_state(0);
    cr_assert(amutex_lock_poll(&lock));
    cr_assert_eq(lock.result, -ECANCELED);

    amutex_lock_start(&lock, rig_task(0), &mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&lock));
    amutex_lock_cancel(&lock);
    assert_state(LOCKED);
    cr_assert_eq(lock.result, 0, "it is ours");
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_8_a_poll_in_the_middle_of_its_wake_up_stays_pending_and_is_polled_again)
{
    struct amutex_lock lock;

    hold(EXCLUSIVE);
    queue(&lock, EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    /* As another thread finds it that is quicker than the waker. */
    atomic_store(&lock.waiter.status, WAITER_WAKING);
    rig_forget_wakes();
    cr_assert_not(amutex_lock_poll(&lock));
    cr_assert(atomic_load(&lock.waiter.task->posted), "woken again");
    assert_state(DESIGNATED | WRITER);
    atomic_store(&lock.waiter.status, WAITER_WOKEN);
    cr_assert(amutex_lock_poll(&lock));
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

static void *canceller_main(void *arg)
{
    amutex_lock_cancel(arg);
    return NULL;
}

ClauseTest(clause_8_a_cancel_in_the_middle_of_its_wake_up_waits_for_the_waker)
{
    struct amutex_lock lock, next;
    pthread_t thread;

    hold(EXCLUSIVE);
    queue(&lock, EXCLUSIVE);
    queue(&next, EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    atomic_store(&lock.waiter.status, WAITER_WAKING);
    cr_assert_eq(pthread_create(&thread, NULL, canceller_main, &lock), 0);
    /* It has done all that it can do without the waker's leave. */
    while (waiter_status(&next.waiter) != WAITER_WOKEN)
        cpu_relax();
    cr_assert_eq(waiter_status(&lock.waiter), WAITER_WAKING);
    cr_assert_eq(lock.waiter.task->in_flight, 1);
    atomic_store(&lock.waiter.status, WAITER_WOKEN);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(waiter_status(&lock.waiter), WAITER_DONE);
    cr_assert(amutex_lock_poll(&next));
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

/* ---- 9: what is left is nothing ---- */

ClauseTest(clause_9_every_order_of_cancels_and_locks_ends_with_a_word_of_zero)
{
    /* Three waiters of each mode, each polled or cancelled, before or after the unlock. */
    for (unsigned modes = 0; modes < 8; modes++)
        for (unsigned fates = 0; fates < 64; fates++) {
            struct amutex_lock locks[3];
            unsigned left = 3;

            hold(EXCLUSIVE);
            for (unsigned i = 0; i < 3; i++)
                queue(&locks[i], modes & (1U << i) ? EXCLUSIVE : SHARED);
            for (unsigned i = 0; i < 3; i++)
                if ((fates >> (2 * i) & 3) == 0) {
                    amutex_lock_cancel(&locks[i]);
                    left--;
                }
            cr_assert_eq(!(atomic_load(&mutex.compact.state) & WAITERS), left == 0);
            amutex_unlock(&mutex, EXCLUSIVE);
            for (unsigned round = 0; left; round++) {
                cr_assert_lt(round, 10, "modes %u fates %u: a lost wake-up", modes, fates);
                for (unsigned i = 0; i < 3; i++) {
                    if (!is_woken(&locks[i].waiter))
                        continue;
                    if ((fates >> (2 * i) & 3) == 1) {
                        amutex_lock_cancel(&locks[i]);
                        left--;
                    } else if (amutex_lock_poll(&locks[i])) {
                        amutex_unlock(&mutex, (enum amutex_mode)locks[i].mode);
                        left--;
                    }
                }
            }
            assert_idle();
        }
}

/* ---- 10: try and timed ---- */

ClauseTest(clause_10_try_lock_never_waits)
{
    hold(EXCLUSIVE);
    cr_assert_not(amutex_try_lock(&mutex, EXCLUSIVE));
    cr_assert_not(amutex_try_lock(&mutex, SHARED));
    assert_state(LOCKED);
    amutex_unlock(&mutex, EXCLUSIVE);
    hold(SHARED);
    cr_assert(amutex_try_lock(&mutex, SHARED));
    cr_assert_not(amutex_try_lock(&mutex, EXCLUSIVE));
    assert_state(2 * READER);
    amutex_unlock(&mutex, SHARED);
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}

ClauseTest(clause_10_try_lock_fails_while_another_has_precedence)
{
    struct amutex_lock lock;

    hold(EXCLUSIVE);
    queue(&lock, EXCLUSIVE);
    frustrate(&lock, 19);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert_not(amutex_try_lock(&mutex, EXCLUSIVE));
    cr_assert_not(amutex_try_lock(&mutex, SHARED));
    cr_assert(amutex_lock_poll(&lock));
    assert_state(LOCKED);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_10_a_timed_lock_that_is_free_is_taken_whatever_the_deadline)
{
    struct amutex_lock_timeout timed;

    amutex_lock_timeout_start(&timed, rig_task(0), &mutex, EXCLUSIVE, 0);
    cr_assert(amutex_lock_timeout_poll(&timed));
    cr_assert_eq(timed.result, 0);
    assert_state(LOCKED);
    cr_assert_eq(rig_task(0)->in_flight, 0, "the timer is off");
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_10_a_timed_lock_that_loses_leaves_like_a_cancelled_one)
{
    for (unsigned woken = 0; woken < 2; woken++) {
        struct amutex_lock_timeout timed;
        struct amutex_lock other;

        hold(EXCLUSIVE);
        amutex_lock_timeout_start(&timed, rig_task(0), &mutex, EXCLUSIVE, UINT64_MAX);
        cr_assert_not(amutex_lock_timeout_poll(&timed));
        queue(&other, EXCLUSIVE);
        if (woken) {
            amutex_unlock(&mutex, EXCLUSIVE);
            hold(EXCLUSIVE);
            assert_state(LOCKED | WAITERS | DESIGNATED | WRITER);
        }
        /* As the executor does it. */
        timer_cancel(&timed.timeout.timer);
        timed.timeout.timer.status = TIMER_FIRED;
        cr_assert(amutex_lock_timeout_poll(&timed));
        cr_assert_eq(timed.result, -ETIMEDOUT);
        cr_assert_eq(rig_task(0)->in_flight, 0);
        assert_state(LOCKED | WAITERS | WRITER);
        amutex_unlock(&mutex, EXCLUSIVE);
        cr_assert(is_woken(&other.waiter));
        cr_assert(amutex_lock_poll(&other));
        amutex_unlock(&mutex, EXCLUSIVE);
        assert_idle();
    }
}

ClauseTest(clause_10_a_timed_lock_is_cancelled_as_a_whole)
{
    struct amutex_lock_timeout timed;

    hold(EXCLUSIVE);
    amutex_lock_timeout_start(&timed, rig_task(0), &mutex, SHARED, UINT64_MAX);
    cr_assert_not(amutex_lock_timeout_poll(&timed));
    cr_assert_eq(rig_task(0)->in_flight, 2, "a waiter and a timer");
    amutex_lock_timeout_cancel(&timed);
    cr_assert(amutex_lock_timeout_poll(&timed));
    cr_assert_eq(timed.result, -ECANCELED);
    cr_assert_eq(rig_task(0)->in_flight, 0);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}
