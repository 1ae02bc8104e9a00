#include "sync/amutex.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "rig.h"

/* The clauses of the contract, each with the state word after every step. */

#define SHARED     AMUTEX_SHARED
#define EXCLUSIVE  AMUTEX_EXCLUSIVE
#define LOCKED     AMUTEX_LOCKED
#define WAITERS    AMUTEX_HAS_WAITERS
#define DESIGNATED AMUTEX_DESIGNATED_WAKER
#define WRITER     AMUTEX_WRITER_WAITING
#define LONG       AMUTEX_LONG_WAIT
#define READER     AMUTEX_READER

static struct amutex mutex;

static void assert_state_at(unsigned long expected, int line)
{
    unsigned long state = atomic_load(&mutex.compact.state);

    cr_assert_eq(state, expected, "line %d: state %#lx, expected %#lx", line, state, expected);
}
#define assert_state(expected) assert_state_at(expected, __LINE__)

/* Starts a lock that has to wait, of another task than the first one. */
static void queue(struct amutex_lock *lock, enum amutex_mode mode)
{
    static unsigned next_task;

    amutex_lock_start(lock, rig_task(1 + next_task++ % (RIG_TASKS - 1)), &mutex, mode);
    cr_assert_not(amutex_lock_poll(lock));
    cr_assert(is_queued(&lock->waiter));
}

static void hold(enum amutex_mode mode)
{
    cr_assert(amutex_try_lock(&mutex, mode));
}

static void assert_idle(void)
{
    assert_state(0);
    cr_assert(waitlist_is_empty(&mutex.compact.waiters));
}

#define ClauseTest(name, ...) Test(amutex, name, .init = rig_start, .fini = rig_stop, ##__VA_ARGS__)

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

/* Wakes the first waiter `times` times in vain; the lock is held before and after. */
static void frustrate(struct amutex_lock *lock, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        amutex_unlock(&mutex, EXCLUSIVE);
        cr_assert(is_woken(&lock->waiter));
        hold(EXCLUSIVE);
        cr_assert_not(amutex_lock_poll(lock));
    }
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
