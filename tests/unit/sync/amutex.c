#include "sync/amutex.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "amutex_rig.h"
#include "base/clock.h"

/* ---- 1: who may have it ---- */

ClauseTest(clause_1_the_bits_that_refuse_each_mode)
{
    static const unsigned long bits[] = {LOCKED, WAITERS, DESIGNATED, AMUTEX_SPINLOCK,
                                         WRITER, LONG,    READER,     3 * READER};

    for (unsigned set = 0; set < 1U << 8; set++) {
        unsigned long word = 0;
        bool held;

        for (unsigned i = 0; i < 8; i++)
            word += set & (1U << i) ? bits[i] : 0;
        held = word & LOCKED || word >= READER;
        atomic_store(&mutex.compact.state, word);
        cr_assert_eq(amutex_try_lock(&mutex, EXCLUSIVE), !held && !(word & LONG));
        assert_state(!held && !(word & LONG) ? word + LOCKED : word);
        atomic_store(&mutex.compact.state, word);
        cr_assert_eq(amutex_try_lock(&mutex, SHARED), !(word & (LOCKED | WRITER | LONG)));
        assert_state(word & (LOCKED | WRITER | LONG) ? word : word + READER);
    }
}

ClauseTest(clause_1_a_waiter_that_was_woken_once_ignores_a_waiting_writer)
{
    struct amutex_lock reader, writer, newcomer;

    hold(EXCLUSIVE);
    queue(&reader, SHARED);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(is_woken(&reader.waiter));
    hold(SHARED);
    queue(&writer, EXCLUSIVE);
    assert_state(READER | WAITERS | DESIGNATED | WRITER);
    queue(&newcomer, SHARED);
    cr_assert(amutex_lock_poll(&reader), "has waited long enough");
    assert_state(2 * READER | WAITERS | WRITER);
    amutex_unlock(&mutex, SHARED);
    assert_state(READER | WAITERS | WRITER);
    amutex_unlock(&mutex, SHARED);
    assert_state(WAITERS | DESIGNATED | WRITER);
    cr_assert(amutex_lock_poll(&writer));
    assert_state(LOCKED | WAITERS | WRITER);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(DESIGNATED);
    cr_assert(amutex_lock_poll(&newcomer));
    assert_state(READER);
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}

ClauseTest(clause_1_a_waiter_ignores_a_waiting_writer_from_then_on)
{
    struct amutex_lock reader, writer;

    hold(EXCLUSIVE);
    queue(&reader, SHARED);
    amutex_unlock(&mutex, EXCLUSIVE);
    hold(EXCLUSIVE);
    cr_assert_not(amutex_lock_poll(&reader), "woken in vain");
    queue(&writer, EXCLUSIVE);
    assert_state(LOCKED | WAITERS | WRITER);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&reader));
    assert_state(READER | WAITERS | WRITER);
    amutex_lock_cancel(&writer);
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}

/* ---- 2: uncontended ---- */

ClauseTest(clause_2_uncontended_needs_neither_spinlock_nor_waiter)
{
    for (unsigned mode = SHARED; mode <= EXCLUSIVE; mode++) {
        struct amutex_lock lock;

        amutex_lock_start(&lock, rig_task(0), &mutex, (enum amutex_mode)mode);
        assert_state(0);
        cr_assert(amutex_lock_poll(&lock));
        cr_assert_eq(lock.result, 0);
        cr_assert_eq(rig_task(0)->in_flight, 0);
        assert_state(mode == EXCLUSIVE ? LOCKED : READER);
        cr_assert(amutex_lock_poll(&lock), "and stays true");
        amutex_unlock(&mutex, (enum amutex_mode)mode);
        assert_state(0);

        /* With the spinlock in other hands for good, whoever wants it would hang. */
        atomic_store(&mutex.compact.state, AMUTEX_SPINLOCK);
        amutex_lock_start(&lock, rig_task(0), &mutex, (enum amutex_mode)mode);
        cr_assert(amutex_lock_poll(&lock));
        amutex_unlock(&mutex, (enum amutex_mode)mode);
        assert_state(AMUTEX_SPINLOCK);
        atomic_store(&mutex.compact.state, 0);
    }
}

ClauseTest(clause_2_readers_share)
{
    for (unsigned i = 1; i <= 100; i++) {
        hold(SHARED);
        assert_state(i * READER);
    }
    cr_assert_not(amutex_try_lock(&mutex, EXCLUSIVE));
    for (unsigned i = 100; i > 0; i--) {
        assert_state(i * READER);
        amutex_unlock(&mutex, SHARED);
    }
    assert_idle();
}

/* ---- 3: barging, and its bound ---- */

ClauseTest(clause_3_a_newcomer_may_take_the_lock_ahead_of_a_woken_waiter)
{
    struct amutex_lock lock;

    hold(EXCLUSIVE);
    queue(&lock, EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(DESIGNATED | WRITER);
    hold(EXCLUSIVE);
    assert_state(LOCKED | DESIGNATED | WRITER);
    cr_assert_not(amutex_lock_poll(&lock));
    cr_assert(is_queued(&lock.waiter));
    assert_state(LOCKED | WAITERS | WRITER);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&lock));
    assert_state(LOCKED);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_3_after_19_wake_ups_in_vain_it_queues_at_the_front_and_keeps_others_out)
{
    for (unsigned mode = SHARED; mode <= EXCLUSIVE; mode++) {
        unsigned long writer = mode == EXCLUSIVE ? WRITER : 0;
        struct amutex_lock lock, other;

        hold(EXCLUSIVE);
        queue(&lock, (enum amutex_mode)mode);
        frustrate(&lock, 18);
        assert_state(LOCKED | WAITERS | writer);
        amutex_unlock(&mutex, EXCLUSIVE);
        hold(EXCLUSIVE);
        queue(&other, EXCLUSIVE);
        cr_assert_eq(mutex.compact.waiters.first, &other.waiter);
        cr_assert_not(amutex_lock_poll(&lock), "the 19th");
        cr_assert_eq(mutex.compact.waiters.first, &lock.waiter, "at the front");
        assert_state(LOCKED | WAITERS | WRITER | LONG);

        amutex_unlock(&mutex, EXCLUSIVE);
        assert_state(WAITERS | DESIGNATED | WRITER | LONG);
        cr_assert_not(amutex_try_lock(&mutex, EXCLUSIVE));
        cr_assert_not(amutex_try_lock(&mutex, SHARED));
        assert_state(WAITERS | DESIGNATED | WRITER | LONG);
        cr_assert(amutex_lock_poll(&lock));
        assert_state((mode == EXCLUSIVE ? LOCKED : READER) | WAITERS | WRITER);
        amutex_unlock(&mutex, (enum amutex_mode)mode);
        cr_assert(amutex_lock_poll(&other));
        assert_state(LOCKED);
        amutex_unlock(&mutex, EXCLUSIVE);
        assert_idle();
    }
}

ClauseTest(clause_3_only_one_has_precedence_and_the_next_one_follows_it)
{
    struct amutex_lock first, second;

    hold(EXCLUSIVE);
    queue(&first, EXCLUSIVE);
    frustrate(&first, 18);
    amutex_unlock(&mutex, EXCLUSIVE);
    hold(EXCLUSIVE);
    /* While `first` is on its way, `second` has the same misfortune. */
    queue(&second, EXCLUSIVE);
    second.wake_count = AMUTEX_LONG_WAIT_WAKES - 1;
    cr_assert_not(amutex_lock_poll(&first));
    assert_state(LOCKED | WAITERS | WRITER | LONG);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(is_woken(&first.waiter));
    amutex_lock_cancel(&first);
    cr_assert(is_woken(&second.waiter));
    assert_state(DESIGNATED | WRITER);
    hold(EXCLUSIVE);
    cr_assert_not(amutex_lock_poll(&second));
    assert_state(LOCKED | WAITERS | WRITER | LONG);
    cr_assert(second.is_long);

    queue(&first, EXCLUSIVE);
    first.wake_count = AMUTEX_LONG_WAIT_WAKES;
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&second));
    assert_state(LOCKED | WAITERS | WRITER);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&first));
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_3_whoever_is_refused_by_precedence_does_not_queue_ahead_of_it)
{
    struct amutex_lock first, second;

    hold(EXCLUSIVE);
    queue(&first, SHARED);
    queue(&second, SHARED);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(is_woken(&first.waiter) && is_woken(&second.waiter), "one wave");
    hold(EXCLUSIVE);
    first.wake_count = second.wake_count = AMUTEX_LONG_WAIT_WAKES - 1;
    cr_assert_not(amutex_lock_poll(&first));
    cr_assert_not(amutex_lock_poll(&second));
    cr_assert_eq(mutex.compact.waiters.first, &first.waiter);
    cr_assert(first.is_long && !second.is_long);
    assert_state(LOCKED | WAITERS | LONG);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert_not(amutex_lock_poll(&second), "the lock is free, but the other one's");
    assert_state(WAITERS | LONG);
    cr_assert(amutex_lock_poll(&first));
    assert_state(READER | WAITERS);
    amutex_unlock(&mutex, SHARED);
    cr_assert(amutex_lock_poll(&second));
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}

/* ---- 4: one wave at a time ---- */

ClauseTest(clause_4_an_unlock_wakes_nobody_while_a_wake_up_is_in_flight)
{
    struct amutex_lock first, second;

    hold(EXCLUSIVE);
    queue(&first, EXCLUSIVE);
    queue(&second, EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(WAITERS | DESIGNATED | WRITER);
    for (unsigned i = 0; i < 3; i++) {
        hold(EXCLUSIVE);
        amutex_unlock(&mutex, EXCLUSIVE);
        assert_state(WAITERS | DESIGNATED | WRITER);
        cr_assert(is_queued(&second.waiter));
    }
    cr_assert(amutex_lock_poll(&first));
    assert_state(LOCKED | WAITERS | WRITER);
    cr_assert(is_queued(&second.waiter));
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&second));
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_4_only_the_last_reader_wakes)
{
    struct amutex_lock writer;

    hold(SHARED);
    hold(SHARED);
    queue(&writer, EXCLUSIVE);
    amutex_unlock(&mutex, SHARED);
    assert_state(READER | WAITERS | WRITER);
    cr_assert(is_queued(&writer.waiter));
    amutex_unlock(&mutex, SHARED);
    assert_state(DESIGNATED | WRITER);
    cr_assert(amutex_lock_poll(&writer));
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_4_queueing_again_clears_the_designated_waker)
{
    struct amutex_lock lock;

    hold(EXCLUSIVE);
    queue(&lock, SHARED);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(DESIGNATED);
    hold(EXCLUSIVE);
    assert_state(LOCKED | DESIGNATED);
    cr_assert_not(amutex_lock_poll(&lock));
    assert_state(LOCKED | WAITERS);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(is_woken(&lock.waiter), "or it would sleep for ever");
    cr_assert(amutex_lock_poll(&lock));
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}

/* ---- 5: who is in a wave ---- */

ClauseTest(clause_5_a_writer_in_front_is_woken_alone)
{
    struct amutex_lock locks[3];

    hold(EXCLUSIVE);
    queue(&locks[0], EXCLUSIVE);
    queue(&locks[1], SHARED);
    queue(&locks[2], EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(WAITERS | DESIGNATED | WRITER);
    cr_assert(is_woken(&locks[0].waiter));
    cr_assert(is_queued(&locks[1].waiter) && is_queued(&locks[2].waiter));
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(amutex_lock_poll(&locks[i]));
        amutex_unlock(&mutex, (enum amutex_mode)locks[i].mode);
    }
    assert_idle();
}

ClauseTest(clause_5_a_reader_in_front_is_woken_with_all_readers_anywhere)
{
    static const enum amutex_mode modes[] = {SHARED, EXCLUSIVE, SHARED, SHARED, EXCLUSIVE, SHARED};
    struct amutex_lock locks[6];

    hold(EXCLUSIVE);
    for (unsigned i = 0; i < 6; i++)
        queue(&locks[i], modes[i]);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(WAITERS | DESIGNATED | WRITER);
    for (unsigned i = 0; i < 6; i++)
        cr_assert_eq(is_woken(&locks[i].waiter), modes[i] == SHARED);
    /* Each has the lock together with the others, though a writer waits. */
    for (unsigned i = 0, readers = 0; i < 6; i++)
        if (modes[i] == SHARED) {
            cr_assert(amutex_lock_poll(&locks[i]));
            assert_state(++readers * READER | WAITERS | WRITER);
        }
    for (unsigned i = 0; i < 4; i++)
        amutex_unlock(&mutex, SHARED);
    for (unsigned i = 1; i <= 4; i += 3) {
        cr_assert(amutex_lock_poll(&locks[i]));
        amutex_unlock(&mutex, EXCLUSIVE);
    }
    assert_idle();
}

ClauseTest(clause_5_without_a_writer_passed_over_newcomers_may_read)
{
    struct amutex_lock writer, readers[2];

    hold(EXCLUSIVE);
    queue(&writer, EXCLUSIVE);
    queue(&readers[0], SHARED);
    queue(&readers[1], SHARED);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&writer));
    assert_state(LOCKED | WAITERS | WRITER);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(DESIGNATED);
    hold(SHARED);
    cr_assert(amutex_lock_poll(&readers[0]) && amutex_lock_poll(&readers[1]));
    assert_state(3 * READER);
    for (unsigned i = 0; i < 3; i++)
        amutex_unlock(&mutex, SHARED);
    assert_idle();
}

/* ---- 6: writers before new readers ---- */

ClauseTest(clause_6_new_readers_wait_behind_a_queued_writer)
{
    struct amutex_lock writer, reader;

    hold(SHARED);
    queue(&writer, EXCLUSIVE);
    assert_state(READER | WAITERS | WRITER);
    cr_assert_not(amutex_try_lock(&mutex, SHARED));
    queue(&reader, SHARED);
    assert_state(READER | WAITERS | WRITER);
    amutex_unlock(&mutex, SHARED);
    assert_state(WAITERS | DESIGNATED | WRITER);
    cr_assert_not(amutex_try_lock(&mutex, SHARED), "nor while the writer is on its way");
    cr_assert(amutex_lock_poll(&writer));
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(DESIGNATED);
    cr_assert(amutex_lock_poll(&reader));
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}

ClauseTest(clause_6_the_bit_outlives_a_first_writer_when_a_second_one_waits)
{
    struct amutex_lock writers[2];

    hold(EXCLUSIVE);
    queue(&writers[0], EXCLUSIVE);
    queue(&writers[1], EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&writers[0]));
    assert_state(LOCKED | WAITERS | WRITER);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_state(DESIGNATED | WRITER);
    cr_assert_not(amutex_try_lock(&mutex, SHARED));
    cr_assert(amutex_lock_poll(&writers[1]));
    assert_state(LOCKED);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

ClauseTest(clause_6_a_writer_that_barges_leaves_the_bit_of_the_one_on_its_way)
{
    struct amutex_lock writer, newcomer;

    hold(EXCLUSIVE);
    queue(&writer, EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    amutex_lock_start(&newcomer, rig_task(0), &mutex, EXCLUSIVE);
    cr_assert(amutex_lock_poll(&newcomer));
    assert_state(LOCKED | DESIGNATED | WRITER);
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert_not(amutex_try_lock(&mutex, SHARED));
    cr_assert(amutex_lock_poll(&writer));
    assert_state(LOCKED);
    amutex_unlock(&mutex, EXCLUSIVE);
    assert_idle();
}

/* ---- plain threads, forms, bugs ---- */

static void *locker_main(void *arg)
{
    (void)arg;
    amutex_lock_blocking(&mutex, EXCLUSIVE);
    amutex_unlock(&mutex, EXCLUSIVE);
    return NULL;
}

static void await_waiter(void)
{
    while (!(atomic_load(&mutex.compact.state) & WAITERS))
        cpu_relax();
}

Test(amutex, a_plain_thread_waits_its_turn)
{
    pthread_t thread;

    hold(EXCLUSIVE);
    cr_assert_eq(pthread_create(&thread, NULL, locker_main, NULL), 0);
    await_waiter();
    amutex_unlock(&mutex, EXCLUSIVE);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    assert_idle();
}

Test(amutex, a_plain_thread_that_times_out_leaves_the_list)
{
    hold(SHARED);
    cr_assert_eq(amutex_lock_blocking_until(&mutex, EXCLUSIVE, clock_now_ns() + NS_PER_MS),
                 -ETIMEDOUT);
    assert_state(READER);
    cr_assert_eq(amutex_lock_blocking_until(&mutex, SHARED, 0), 0, "free for readers");
    assert_state(2 * READER);
    amutex_unlock(&mutex, SHARED);
    amutex_unlock(&mutex, SHARED);
    assert_idle();
}

Test(amutex, the_compact_form_is_used_the_same_way)
{
    struct amutex_compact compact[2] = {0};

    cr_assert(amutex_try_lock(&compact[1], EXCLUSIVE));
    cr_assert_eq(atomic_load(&compact[0].state), 0);
    cr_assert_not(amutex_try_lock(&compact[1], SHARED));
    amutex_unlock(&compact[1], EXCLUSIVE);
    cr_assert_eq(atomic_load(&compact[1].state), 0);
}

Test(amutex, releasing_what_nobody_holds_is_a_bug, .signal = SIGABRT)
{
    amutex_unlock(&mutex, EXCLUSIVE);
}

Test(amutex, releasing_in_the_wrong_mode_is_a_bug, .signal = SIGABRT)
{
    hold(EXCLUSIVE);
    amutex_unlock(&mutex, SHARED);
}

Test(amutex, ending_a_task_that_still_waits_is_a_bug, .signal = SIGABRT)
{
    struct amutex_lock lock;

    rig_start();
    hold(EXCLUSIVE);
    queue(&lock, EXCLUSIVE);
    rig_stop();
}
